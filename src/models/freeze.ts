/**
 * Towers, or their beginnings, that stay as they are while the rest trains: as open_clip's `--lock-image` and `--lock-text`, and as LiT
 * (Zhai et al. 2022, "LiT: Zero-Shot Transfer with Locked-image text Tuning") locks the image tower and trains the text tower to fit it.
 *
 * What is frozen gets no gradient, and so no update, no decay and no moments; nothing is computed for it in the backward pass. Scale, bias and
 * head belong to no tower.
 */
import { z } from "zod";
import { UsageError } from "../support/index.ts";
import type { Clip } from "./clip.ts";

/** All of a tower with its projection; or its embeddings and so many of its blocks, from the first on. */
const partSchema = z.union([z.literal(true), z.number().int().nonnegative()]);

/** "image" and "text" are short for `{ image: true }` and `{ text: true }`. */
export const frozenSchema = z.union([
  z.enum(["image", "text"]),
  z.strictObject({ image: partSchema.optional(), text: partSchema.optional() }),
]);

/** Which towers, or how much of them, stay as they are. */
export type Frozen = z.infer<typeof frozenSchema>;

/** One of the two towers. */
export type Tower = "image" | "text";

/** The tower that a parameter belongs to, by its full name; undefined for scale, bias and head. */
export function towerOf(name: string): Tower | undefined {
  if (/^(visual\.|image_projection$)/.test(name)) return "image";
  return /^(transformer\.|token_embedding\.|positional_embedding$|ln_final\.|text_projection$)/.test(name) ? "text" : undefined;
}

/** The place of a parameter in its tower: -1 embeddings, 0 and up a block, infinity what comes after the blocks. */
function placeOf(name: string): number {
  const block = /\b(?:res)?blocks\.(\d+)\./.exec(name);
  if (block) return Number(block[1]);
  return /projection$|^visual\.proj$|^ln_final\.|\.(norm|ln_post)\./.test(name) ? Infinity : -1;
}

/**
 * Freezes parts of a model, and thaws the rest.
 * @throws UsageError when a tower has not so many blocks, or no tower would learn
 */
export function freeze(model: Clip, frozen: Frozen): void {
  const parts = typeof frozen === "string" ? { [frozen]: true as const } : frozen;
  const depths = { image: model.config.vision.depth, text: model.config.text.depth };
  for (const tower of ["image", "text"] as const) {
    const part = parts[tower];
    if (typeof part === "number" && part > depths[tower]) {
      throw new UsageError(`The ${tower} tower has ${depths[tower]} blocks: ${part} can't be frozen.`, {
        mend: `true freezes all of it: {"${tower}": true}.`,
      });
    }
  }
  if (parts.image === true && parts.text === true) throw new UsageError("Both towers are frozen: nothing is left to learn.");
  for (const [name, parameter] of model.namedParameters()) {
    const tower = towerOf(name);
    const part = tower && parts[tower];
    parameter.setRequiresGrad(!(part === true || (part !== undefined && placeOf(name) < part)));
  }
}

/** Whether a tower has anything to learn. */
export function learns(model: Clip, tower: Tower): boolean {
  for (const [name, parameter] of model.namedParameters()) {
    if (towerOf(name) === tower && parameter.requiresGrad) return true;
  }
  return false;
}
