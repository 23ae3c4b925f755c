/**
 * Model shapes by name: LaCLIP's (models.py of LijieFan/LaCLIP), open_clip's (its ViT-B-32, ViT-B-16 and ViT-L-14), and tiny ones for the
 * demo and tests.
 *
 * All of LaCLIP's have the same text tower; S/16 has 12 heads as in MoCo v3, not timm's 6, and L/16 the text tower of B/16, unlike
 * OpenAI's L/14. open_clip's have exact GELU in both towers; with `activation: "quick-gelu"` they are its ViT-B-32-quickgelu and so on.
 */
import { contextLength, vocabularySize } from "../text/index.ts";
import { UsageError, nearest } from "../support/index.ts";
import type { ClipConfig, TextConfig } from "./config.ts";

const text: TextConfig = { contextLength, vocabularySize, width: 512, depth: 12, heads: 8 };
const image = { imageSize: 224, qkNorm: true };

const openClipImage = { form: "open-clip", imageSize: 224, qkNorm: false, activation: "gelu" } as const;
const openClipText = { ...text, activation: "gelu" } as const;

/** Shapes of models by name; `preset` gives one with changes. */
export const presets = {
  "vit-s-16": { jointWidth: 512, vision: { ...image, patchSize: 16, width: 384, depth: 12, heads: 12 }, text },
  "vit-b-16": { jointWidth: 512, vision: { ...image, patchSize: 16, width: 768, depth: 12, heads: 12 }, text },
  "vit-b-32": { jointWidth: 512, vision: { ...image, patchSize: 32, width: 768, depth: 12, heads: 12 }, text },
  "vit-l-16": { jointWidth: 512, vision: { ...image, patchSize: 16, width: 1024, depth: 24, heads: 16 }, text },
  "open-clip-vit-b-32": {
    jointWidth: 512,
    vision: { ...openClipImage, patchSize: 32, width: 768, depth: 12, heads: 12 },
    text: openClipText,
  },
  "open-clip-vit-b-16": {
    jointWidth: 512,
    vision: { ...openClipImage, patchSize: 16, width: 768, depth: 12, heads: 12 },
    text: openClipText,
  },
  "open-clip-vit-l-14": {
    jointWidth: 768,
    vision: { ...openClipImage, patchSize: 14, width: 1024, depth: 24, heads: 16 },
    text: { ...openClipText, width: 768, heads: 12 },
  },
  /** About 9 million parameters, most of them token embeddings: trains in minutes on two cores without bfloat16. */
  tiny: {
    jointWidth: 128,
    vision: { imageSize: 32, patchSize: 8, width: 192, depth: 3, heads: 6, qkNorm: true },
    text: { contextLength, vocabularySize, width: 128, depth: 2, heads: 4 },
  },
  /** Too small to learn anything: for trying out data and settings in seconds. */
  nano: {
    jointWidth: 16,
    vision: { imageSize: 16, patchSize: 8, width: 16, depth: 1, heads: 2, qkNorm: true },
    text: { contextLength, vocabularySize, width: 16, depth: 1, heads: 2 },
  },
  /** The same in open_clip's form. */
  "open-clip-nano": {
    jointWidth: 16,
    vision: { ...openClipImage, imageSize: 16, patchSize: 8, width: 16, depth: 1, heads: 2 },
    text: { ...openClipText, width: 16, depth: 1, heads: 2 },
  },
} as const satisfies Record<string, ClipConfig>;

/** Names of the presets. */
export type PresetName = keyof typeof presets;

/** Settings that may differ from the preset: `{ vision: { imageSize: 288 } }`. */
export interface PresetChanges {
  jointWidth?: number;
  vision?: Partial<ClipConfig["vision"]>;
  text?: Partial<ClipConfig["text"]>;
}

/** The preset's shape with changes. @throws UsageError for an unknown name */
export function preset(name: string, changes: PresetChanges = {}): ClipConfig {
  if (!Object.hasOwn(presets, name)) {
    throw new UsageError(`There is no model "${name}".`, { mend: `Models: ${nearest(name, Object.keys(presets), Infinity).join(", ")}.` });
  }
  const base: ClipConfig = presets[name as PresetName];
  return {
    jointWidth: changes.jointWidth ?? base.jointWidth,
    vision: { ...base.vision, ...changes.vision },
    text: { ...base.text, ...changes.text },
  };
}
