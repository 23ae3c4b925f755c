/**
 * A recipe: every number that the result of a run depends on, as one value.
 *
 * Recipes are TypeScript values derived from each other, or JSON files of the same form; `--set training.steps=100` changes single
 * numbers. The resolved recipe is written into the run folder.
 */
import { z } from "zod";
import { activationSchema, frozenSchema } from "../models/index.ts";
import { objectiveSchema } from "../objectives/index.ts";
import { UsageError, isRecord, nearest } from "../support/index.ts";
import { trainSettingsSchema } from "../training/index.ts";

const positive = z.number().positive();
const count = z.number().int().positive();
const share = z.number().min(0).max(1);
/** A factor of a running mean: 1 would never take anything new in. */
const memory = z.number().min(0).lt(1);
const sourceWeights = z.record(z.string(), z.number().nonnegative());

/** The settings that training follows. Its train-settings.ts says what they mean, and their defaults. */
const { shape: ofRun } = trainSettingsSchema;

/** A setting with a default, as recipes have it: what they don't say is not written into run folders either. */
function leftOpen<T extends z.ZodType>(setting: z.ZodDefault<T>): z.ZodOptional<T> {
  return setting.unwrap().optional();
}

/** Checks a recipe, and that it names nothing unknown. */
export const recipeSchema = z.strictObject({
  /** What it is, in a sentence. */
  description: z.string(),
  model: z.strictObject({
    /** A name of `src/models/presets.ts`. */
    preset: z.string(),
    /** Pixels; default the preset's. */
    imageSize: count.optional(),
    patchSize: count.optional(),
    /** Of both towers; default the preset's. */
    activation: activationSchema.optional(),
    /** Where the factor on similarities starts; default CLIP's 1 / 0.07. */
    logitScale: z.number().min(1).max(100).optional(),
    /** With it, what is added to every similarity is learned from this value on: the sigmoid objective needs it. */
    logitBias: z.number().optional(),
    /** Widths of the head over the image tower that the objective "slip" needs. */
    viewHead: z.strictObject({ hidden: count, width: count }).optional(),
    /** What stays as it is, of a model that begins with another's weights: "image", "text", or how far: { image: 8 }. Default nothing. */
    freeze: frozenSchema.optional(),
  }),
  /** The loss and its settings; default `{ name: "clip" }`. */
  objective: objectiveSchema.optional(),
  captions: z.strictObject({
    /** "original" is CLIP; "uniform" is LaCLIP: original and rewrites, each with the same chance; "weighted" draws by `weights`. */
    choose: z.enum(["original", "uniform", "weighted"]),
    /** For "weighted": a weight for each source, "original" being one; or a list of such, each from an epoch on. */
    weights: z
      .union([sourceWeights, z.array(z.strictObject({ fromEpoch: z.number().int().nonnegative(), weights: sourceWeights }))])
      .optional(),
    /** For "weighted": sources tried in this order where the one that was drawn has no text. */
    fallback: z.array(z.string()).optional(),
    /** Rewrite sources to use; default all that the rewrites folder has. */
    sources: z.array(z.string()).optional(),
    /** Texts of each image at once; default 1. More need an objective for several texts. */
    textsPerImage: count.optional(),
    /** Whether the original is the first of several texts; default false. */
    alwaysOriginal: z.boolean().optional(),
    /** What weights of rewrites change: how often they are drawn, or how much they count in the loss. Default "draw". */
    weighing: z.enum(["draw", "loss"]).optional(),
  }),
  /** How tars are read; for tables, nothing here matters. */
  data: z
    .strictObject({
      /** "table": all samples at random. "shards": from front to back, mixed in blocks. Default "auto": "table" where that is possible. */
      order: z.enum(["auto", "table", "shards"]).optional(),
      /** Samples of a block. Default 2,048. */
      shuffle: count.optional(),
      /** Tars that are read side by side. Default 4. */
      interleave: count.optional(),
      /** Draw tars with replacement, and call so many samples an epoch. Default: every tar once an epoch. */
      samplesPerEpoch: count.optional(),
    })
    .optional(),
  images: z.strictObject({
    /** Range of the random crop's share of the image's area. */
    scale: z.tuple([share, share]),
    interpolation: z.enum(["bilinear", "bicubic"]),
    /** Decode large JPEGs whole: slower, and the very pixels of Pillow's crop. Default false. */
    exact: z.boolean().optional(),
    mean: z.tuple([z.number(), z.number(), z.number()]),
    std: z.tuple([positive, positive, positive]),
  }),
  optimizer: z.strictObject({
    /** Learning rate after the warm-up, at its start, and at the end of the cosine. */
    peakLr: positive,
    startLr: z.number().nonnegative(),
    endLr: z.number().nonnegative(),
    weightDecay: z.number().nonnegative(),
    betas: z.tuple([memory, memory]),
    eps: positive,
  }),
  training: z.strictObject({
    /** Passes over the data; or say `steps`. */
    epochs: positive.optional(),
    steps: count.optional(),
    /** Samples a step, of all processes together. */
    batchSize: z.number().int().min(2, { error: "expected at least 2: with one pair there is nothing to tell apart" }),
    microBatch: ofRun.microBatch,
    /**
     * Where the colours of SLIP's views are changed: "loader", "device", or "auto": the device where it works aside from the processor. The
     * same bytes either way. Default "auto".
     */
    viewsOn: z.enum(["auto", "device", "loader"]).optional(),
    /** Share of the patches of each image that the image tower does not look at in training. Default 0. */
    patchDropout: z.number().min(0).lt(1).optional(),
    recomputeBlocks: ofRun.recomputeBlocks,
    warmupSteps: z.number().int().nonnegative(),
    precision: ofRun.precision,
    /** What the loss is multiplied with where gradients are taken, at first. Default 65,536 for fp16, else nothing is scaled. */
    lossScale: positive.optional(),
    /** Products of float32 in TF32 on a GPU. Default: what libtorch does by itself. */
    tf32: z.boolean().optional(),
    /** Where to train: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1". Default "auto". A run may go on elsewhere. */
    device: z.string().optional(),
    /** Compute the same bits every time, also on a GPU, where that can be slower. Default false. */
    deterministic: z.boolean().optional(),
    cudaGraphs: leftOpen(ofRun.cudaGraphs),
    peakTflops: ofRun.peakTflops,
    /** Decides initial weights, order, crops and captions. */
    seed: z.number().int().nonnegative(),
    checkpointEvery: ofRun.checkpointEvery,
    keepCheckpoints: ofRun.keepCheckpoints,
    logEvery: ofRun.logEvery,
    checkpointMinutes: ofRun.checkpointMinutes,
    /** Also keep the checkpoint with the best measure of this name, such as "val/zero-shot-top1"; and what is best. Default "higher". */
    keepBest: z.string().optional(),
    bestIs: z.enum(["higher", "lower"]).optional(),
    nonFinite: leftOpen(ofRun.nonFinite),
    rollbacks: leftOpen(ofRun.rollbacks),
    spikeGuard: ofRun.spikeGuard,
    skipSteps: ofRun.skipSteps,
  }),
});

/** Every number that the result of a run depends on. */
export type Recipe = z.infer<typeof recipeSchema>;

type Changes<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: Changes<T[K]> } : T;

/** A recipe that is like `base` but for `changes`. */
export function derive(base: Recipe, changes: Changes<Recipe>): Recipe {
  return recipeSchema.parse(merge(base, changes));
}

function merge(base: unknown, changes: unknown): unknown {
  if (!isRecord(base) || !isRecord(changes)) return changes;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(changes)) merged[key] = key in merged ? merge(merged[key], value) : value;
  return merged;
}

/**
 * Checks a recipe from a file.
 * @param origin its file, for messages
 * @throws UsageError naming every wrong, missing or unknown key
 */
export function parseRecipe(value: unknown, origin: string): Recipe {
  const parsed = recipeSchema.safeParse(value);
  if (!parsed.success) throw new UsageError(`${origin}: not a recipe.\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/**
 * Applies settings of the form `training.steps=100`; the value is JSON, or text where it is no JSON.
 * @throws UsageError for unknown keys and values of a wrong kind
 */
export function applySettings(recipe: Recipe, settings: readonly string[]): Recipe {
  const changed = structuredClone(recipe) as Record<string, unknown>;
  for (const setting of settings) {
    const [, path, text] = /^([\w.]+)=(.*)$/s.exec(setting) ?? [];
    if (path === undefined || text === undefined) throw new UsageError(`--set ${setting}: expected the form training.steps=100.`);
    if (!keyPaths.includes(path)) {
      throw new UsageError(`--set ${setting}: there is no setting "${path}".`, { mend: `Near: ${nearest(path, keyPaths).join(", ")}.` });
    }
    const keys = path.split(".");
    const last = keys.pop()!;
    const parent = keys.reduce((node, key) => (node[key] ??= {}) as Record<string, unknown>, changed);
    parent[last] = jsonOrText(text);
    // A run is as long as its epochs or its steps say: naming one takes the other back.
    if (path === "training.steps") delete parent["epochs"];
    if (path === "training.epochs") delete parent["steps"];
  }
  refuseNameless(changed["objective"], settings);
  const parsed = recipeSchema.safeParse(changed);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path }) => path.join("."));
  const atFault = settings.filter((setting) => faults.some((fault) => `${fault}.`.startsWith(`${setting.split("=")[0]}.`)));
  const shown = atFault.length > 0 ? atFault : settings;
  throw new UsageError(`--set ${shown.join(" --set ")}: ${z.prettifyError(parsed.error)}`);
}

/** @throws UsageError for settings of an objective that nobody has named, which then is CLIP's and knows few of them */
function refuseNameless(objective: unknown, settings: readonly string[]): void {
  if (!isRecord(objective) || objective["name"] !== undefined) return;
  const given = Object.keys(objective);
  const fitting = objectiveSchema.options.filter(({ shape }) => given.every((key) => key in shape)).map(({ shape }) => shape.name.value);
  throw new UsageError(
    `--set ${settings.filter((setting) => setting.startsWith("objective")).join(" --set ")}: the recipe names no objective whose setting that could be.`,
    {
      mend:
        fitting.length > 0
          ? `Name it too: ${fitting.map((name) => `--set objective.name=${name}`).join(" or ")}.`
          : "None has all of these. docs/training.md lists them with their settings.",
    },
  );
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Every setting by its path, from the schema. */
const keyPaths: readonly string[] = Object.entries(recipeSchema.shape).flatMap(([key, schema]) => {
  const section = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  if (section instanceof z.ZodObject) return Object.keys(section.shape).map((inner) => `${key}.${inner}`);
  if (!(section instanceof z.ZodDiscriminatedUnion)) return [key];
  const kinds = section.options as readonly z.ZodObject[];
  return [key, ...new Set(kinds.flatMap(({ shape }) => Object.keys(shape).map((inner) => `${key}.${inner}`)))];
});
