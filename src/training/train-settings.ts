/**
 * What a recipe says of how a run is trained and saved, in the words of this room: form, meaning and default of each setting stand here and
 * nowhere else. Recipes take the forms over, and a run takes its settings from the recipe by `trainSettings`.
 */
import { z } from "zod";

const count = z.number().int().positive();
const positive = z.number().positive();

/** Checks the settings of a run, and fills in what is left open. */
export const trainSettingsSchema = z.object({
  /**
   * Images that pass through the towers of each process at once, see cached-gradients.ts: less memory for one more forward pass, the same
   * gradients. Default "auto": all that it has, or as many as fit into memory, see `StepSplits`.
   */
  microBatch: z.union([count, z.literal("auto")], { error: 'expected a whole number of images, at least 1, or "auto"' }).optional(),
  /**
   * Compute the blocks of both towers again in the backward pass, see `Clip.recomputesBlocks`: less memory, more time, the same gradients.
   * Default "auto": where steps would not fit into memory otherwise, or only by more time.
   */
  recomputeBlocks: z.union([z.boolean(), z.literal("auto")], { error: 'expected true, false or "auto"' }).optional(),
  /** "fp32", or matrix products in bfloat16 or float16. */
  precision: z.enum(["fp32", "bf16", "fp16"]),
  /**
   * Record the work of a step once and give it to a GPU by one call from then on, see `StepGraphs`; where steps can't be recorded, that is
   * said.
   */
  cudaGraphs: z.boolean().default(false),
  /** TFLOP/s that the device can do at most, for the share of them that is reached. Default: the data sheet's, of GPUs that are known. */
  peakTflops: positive.optional(),
  /** Steps between checkpoints; there is always one at the end and one when interrupted. */
  checkpointEvery: count,
  /** Checkpoints to keep. */
  keepCheckpoints: count,
  /** Steps between lines in the log of events. */
  logEvery: count,
  /** Minutes between further checkpoints. Default none. */
  checkpointMinutes: positive.optional(),
  /** Steps in a row with a loss or gradient that is not finite, after which the run rolls back. */
  nonFinite: count.default(5),
  /** Roll-backs after which the run ends. */
  rollbacks: z.number().int().nonnegative().default(3),
  /** Leave out steps whose loss or gradient norm jumps, see `StepGuard`. Default: in long runs, see `RunCourse`. */
  spikeGuard: z.boolean().optional(),
  /** Steps to leave out with their data, as in the `skipped.json` of another run: from one step, counted from 0, to before another. */
  skipSteps: z
    .array(z.strictObject({ from: z.number().int().nonnegative(), to: count }).refine(({ from, to }) => from < to, "from must be below to"))
    .optional(),
});

/** The settings of a run, defaults filled in. */
export type TrainSettings = z.infer<typeof trainSettingsSchema>;

/** Takes the settings out of what may say more, such as a section of a recipe, and fills in what it leaves open. */
export function trainSettings(said: z.input<typeof trainSettingsSchema>): TrainSettings {
  return trainSettingsSchema.parse(said);
}
