/** Objectives by name, with their settings as a recipe states them. A new one is a file beside this and a line in each of the two lists. */
import { z } from "zod";
import type { FeatureGroup } from "../nn/index.ts";
import { ClipLoss } from "./clip-loss.ts";
import { MultiTextLoss } from "./multi-text-loss.ts";
import type { Objective } from "./objective.ts";
import { SigmoidLoss } from "./sigmoid-loss.ts";
import { SlipLoss } from "./slip-loss.ts";
import { SoftTargetLoss } from "./soft-target-loss.ts";

const positive = z.number().positive();
const denominator = z.enum(["slot", "joint"]);
/** A text that is an image's caption too, though it is another's, is no negative. Default false. */
const maskDuplicates = z.boolean().optional();

/** Pairs that fit worse than the batch's mean count less: by exp(this x how far they are below). Default: all count alike. */
const fitSharpness = positive.optional();
/** Samples whose texts agree less with each other than the batch's mean count less, likewise. Default: all count alike. */
const agreementSharpness = positive.optional();

/** Checks an objective's name and settings. */
export const objectiveSchema = z.discriminatedUnion("name", [
  z.strictObject({ name: z.literal("clip"), maskDuplicates, fitSharpness }),
  z.strictObject({ name: z.literal("multi-text"), denominator, maskDuplicates, fitSharpness, agreementSharpness }),
  z.strictObject({
    name: z.literal("slip"),
    /** Factor on SimCLR's loss, and its temperature. */
    scale: positive,
    temperature: positive,
    denominator: denominator.optional(),
    maskDuplicates,
  }),
  z.strictObject({ name: z.literal("sigmoid"), maskDuplicates }),
  z.strictObject({ name: z.literal("soft-targets"), share: z.number().min(0).max(1), temperature: positive }),
]);

/** An objective as a recipe states it. */
export type ObjectiveSettings = z.infer<typeof objectiveSchema>;

/** @param group those whose features are in the same batch; default this process alone */
export function makeObjective(settings: ObjectiveSettings, group?: FeatureGroup): Objective {
  switch (settings.name) {
    case "clip":
      return new ClipLoss(settings, group);
    case "multi-text":
      return new MultiTextLoss(settings, group);
    case "slip":
      return new SlipLoss(settings, group);
    case "sigmoid":
      return new SigmoidLoss(settings, group);
    case "soft-targets":
      return new SoftTargetLoss(settings, group);
  }
}
