/** The weights that a run begins with, when they are those of another model. */
import { type Clip, type Preprocessing, type Tower, beginWith, weightsOf } from "../models/index.ts";
import { log, sha256File } from "../support/index.ts";

/** The model whose weights a run begins with, and how much of it. */
export interface InitialModel {
  /** A model folder. */
  folder: string;
  /** Take this tower alone. */
  only?: Tower | undefined;
}

/**
 * Puts the weights into the model, and says what was taken and what does not go together.
 * @returns what the run folder records: enough to notice other weights, nothing that differs between machines
 * @throws see `beginWith`
 */
export async function beginRun({ folder, only }: InitialModel, model: Clip, preprocessing: Preprocessing): Promise<object> {
  const { fresh, resizedFrom, preprocessing: before } = beginWith(model, folder, { only });
  const kept = fresh.length === 0 ? "" : `; drawn anew: ${shortened(fresh)}`;
  log.info(`The ${only === undefined ? "model" : `${only} tower`} begins with the weights of ${folder}${kept}.`);
  if (resizedFrom !== undefined) {
    log.info(`Its positions were learnt for images of ${resizedFrom} pixels, and are resized for ${model.config.vision.imageSize}.`);
  }
  const differing = (["mean", "std", "interpolation"] as const).filter((key) => String(before[key]) !== String(preprocessing[key]));
  if (only !== "text" && differing.length > 0) {
    log.warn(
      `${folder} was trained with other images than this recipe's: ` +
        differing.map((key) => `${key} ${JSON.stringify(before[key])}, now ${JSON.stringify(preprocessing[key])}`).join("; ") +
        `. To keep the former: ${differing.map((key) => `--set images.${key}=${JSON.stringify(before[key])}`).join(" ")}`,
    );
  }
  return { sha256: await sha256File(weightsOf(folder)), ...(only && { only }) };
}

/** "image_mlp (10), logit_bias": by the first part of the name. */
function shortened(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) {
    const part = name.split(".")[0]!;
    counts.set(part, (counts.get(part) ?? 0) + 1);
  }
  return [...counts].map(([part, count]) => (count === 1 ? part : `${part} (${count})`)).join(", ");
}
