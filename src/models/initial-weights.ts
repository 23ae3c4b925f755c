/**
 * A model that begins with the weights of another: for fine-tuning, for going on with another image size, for an image tower that stays as it
 * is (LiT).
 *
 * Weights only: optimiser and schedule begin anew. Towers must fit in everything that their weights depend on, also in what shapes don't show
 * (heads, activation); only the image size may differ, and positions are resized then. Scale, bias and head are taken where both have them.
 */
import { ModelFormatError } from "../support/index.ts";
import { scope } from "../torch/index.ts";
import type { Clip } from "./clip.ts";
import type { ClipConfig } from "./config.ts";
import { type Tower, towerOf } from "./freeze.ts";
import { readModelFolder } from "./model-folder.ts";
import type { Preprocessing } from "./preprocessing.ts";
import { resizePositions } from "./resize-positions.ts";
import { positionsName } from "./vision-transformer.ts";

/** What of a model began anew, and what was resized, when it took another's weights. */
export interface InitialWeights {
  /** Parameters that keep what they were drawn with. */
  fresh: string[];
  /** The side in pixels that the positions were learnt for, where it is another. */
  resizedFrom: number | undefined;
  /** How images were made ready for these weights. */
  preprocessing: Preprocessing;
}

/**
 * Copies the weights of a model folder into `model`.
 * @param only takes just this tower; the rest keeps what it was drawn with
 * @throws DataError when there is no model folder; ModelFormatError naming what does not fit; nothing is changed then
 */
export function beginWith(model: Clip, folder: string, { only }: { only?: Tower | undefined } = {}): InitialWeights {
  const { config, preprocessing, tensors, weights } = readModelFolder(folder);
  try {
    const differences = misfits(config, model.config, only);
    if (differences.length > 0) {
      throw new ModelFormatError(`${folder}: its weights do not fit this model.\n  ${differences.join("\n  ")}`, {
        mend: "Give a recipe with the preset that the weights were trained with; only the image size may differ.",
      });
    }
    const [before, now] = [config.vision, model.config.vision];
    const positions = positionsName(now);
    const resized = before.imageSize !== now.imageSize && only !== "text";
    const fresh: string[] = [];
    scope(() => {
      const state = model.stateDict();
      for (const [name, own] of model.namedParameters()) {
        const tower = towerOf(name);
        const given = only === undefined || tower === only ? tensors.get(name) : undefined;
        const mayLack = tower === undefined || (only !== undefined && tower !== only);
        if (mayLack && (given === undefined || !sameShape(given, own))) fresh.push(name);
        else if (given === undefined) state.delete(name); // loading says what is missing
        else state.set(name, resized && name === positions ? resizePositions(given, now.imageSize / now.patchSize) : given);
      }
      model.loadStateDict(state, weights);
    });
    return { fresh, resizedFrom: resized ? before.imageSize : undefined, preprocessing };
  } finally {
    for (const tensor of tensors.values()) tensor.dispose();
  }
}

const sameShape = (a: { shape: number[] }, b: { shape: number[] }): boolean => a.shape.join() === b.shape.join();

/** "vision.heads: 12 there, 6 here" for what differs and must not. */
function misfits(there: ClipConfig, here: ClipConfig, only: Tower | undefined): string[] {
  const comparable = ({ jointWidth, vision, text }: ClipConfig): Record<string, unknown> => ({
    jointWidth,
    ...(only === "text" ? {} : prefixed("vision", { form: "laclip", activation: "gelu", ...vision, imageSize: undefined })),
    ...(only === "image" ? {} : prefixed("text", { activation: "quick-gelu", ...text })),
  });
  const [theirs, own] = [comparable(there), comparable(here)];
  return Object.keys(own).flatMap((key) =>
    theirs[key] === own[key] ? [] : [`${key}: ${String(theirs[key])} there, ${String(own[key])} here`],
  );
}

function prefixed(prefix: string, values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${prefix}.${key}`, value as unknown]));
}
