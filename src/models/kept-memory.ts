/**
 * How much the towers remember of an image or a text until the backward pass: what each operator of a block keeps for its gradient, added up.
 *
 * Which operators there are follows vision-transformer.ts and text-transformer.ts; what they keep depends on the kernels that compute them.
 * What the last blocks need not compute is not kept. All is in bytes; N tokens, W width, H heads.
 */
import type { AttentionKeeps, Workspace } from "../torch/index.ts";
import type { Tower } from "./freeze.ts";
import { towerOf } from "./freeze.ts";
import type { Clip } from "./clip.ts";
import type { ClipConfig } from "./config.ts";

/** How a device computes, as far as it changes what is kept. */
export interface TowerKernels {
  /** Bytes of a number in matrix products: 4, or 2 under autocast. */
  bytes: 2 | 4;
  /** Whether query, key and value are normalised and taken apart in one pass, see `splitHeads`. */
  fused: boolean;
  /** Whether that pass and the activations are kernels for a GPU: what is not normalised stays where it is, and nothing is between. */
  kernels: boolean;
  /** Whether patches are made of bytes in one pass, see `cutPatches`. */
  cuts: boolean;
  /** What attention keeps beside query, key and value, see `attentionKeeps`. */
  attention: AttentionKeeps;
  /** Where attention takes texts end to end: what its backward pass has for itself. Else it fills them up to the longest, see `Ragged`. */
  packed: Workspace | undefined;
}

/** What a tower keeps of some of its inputs. */
export interface TowerMemory {
  /** Until the backward pass comes. */
  kept: number;
  /** The same where blocks are computed again: their inputs. */
  inputs: number;
  /** What one block keeps: the most there is of blocks that are computed again. */
  block: number;
  /** What comes on top while a pass goes through a block: tensors of its own forward pass live to its end. */
  passing: number;
}

const none: TowerMemory = { kept: 0, inputs: 0, block: 0, passing: 0 };

/** Blocks of a tower that learn; those before are frozen, and keep nothing. */
export function learningBlocks(model: Clip, tower: Tower): number {
  const blocks = new Set<string>();
  for (const [name, parameter] of model.namedParameters()) {
    const block = /\b(?:res)?blocks\.(\d+)\./.exec(name)?.[1];
    if (block !== undefined && parameter.requiresGrad && towerOf(name) === tower) blocks.add(block);
  }
  return blocks.size;
}

/**
 * Of one image.
 * @param blocks that learn, the last ones of the tower
 * @param patches that the tower looks at; default all
 */
export function imageMemory(
  { vision }: ClipConfig,
  kernels: TowerKernels,
  blocks: number,
  patches = (vision.imageSize / vision.patchSize) ** 2,
): TowerMemory {
  const { width: W, heads, qkNorm, patchSize, form = "laclip", activation = "gelu" } = vision;
  const { bytes: e, fused, kernels: own, cuts, attention } = kernels;
  const N = patches + 1;
  const pixels = 3 * patches * patchSize ** 2;
  const images = 3 * vision.imageSize ** 2; // bytes
  const normalised = cuts ? 0 : 16 * images; // as a number, without its mean, and once more in planes
  let parts = 3 * e; // query, key and value, or what they are views of
  if (qkNorm) parts += fused ? (own ? 2 : 3) * e : e === 4 ? 8 : 8 + 2 * e;
  const scores = { scores: e * heads * N * N, sums: 4 * heads * N, nothing: 0 }[attention];
  const block = N * W * (8 + (2 + 1 + 8) * e + parts) + scores;
  // The change that the block before has left to add lies there to the end of the block.
  const unkept =
    N * W * (4 + 4 * e + (attention === "scores" && fused && !own && !qkNorm ? 3 * e : 0) + (own || activation === "gelu" ? 0 : 8 * e)) +
    scores;
  const passing = images + Math.max(normalised, blocks === 1 ? N * W * (4 + 5 * e) : Math.max(unkept, N * W * (8 + 5 * e)));
  if (blocks === 0) return { ...none, passing: images + Math.max(normalised, block + unkept) };
  // Its one query, and what follows, is nothing beside the keys and values of all.
  const last = N * W * (4 + e + 2 * e + (qkNorm ? (e === 4 ? 4 : 8 + e) + (attention === "scores" ? e : 0) : 0));
  const embedded = blocks === vision.depth ? pixels * e + (form === "open-clip" ? 4 * N * W : 0) : 0;
  return {
    kept: embedded + (blocks - 1) * block + last,
    inputs: embedded + blocks * 4 * N * W,
    block: blocks === 1 ? last : block,
    passing,
  };
}

/**
 * Of some texts.
 * @param blocks that learn, the last ones of the tower
 * @param tokens of all texts, their ends included
 * @param texts how many there are
 * @param longest tokens of the longest of them
 */
export function textMemory(
  { text: { width: W, heads, activation = "quick-gelu" } }: ClipConfig,
  kernels: TowerKernels,
  blocks: number,
  { tokens, texts, longest }: { tokens: number; texts: number; longest: number },
): TowerMemory {
  const { bytes: e, fused, kernels: own, attention, packed } = kernels;
  const padded = packed ? 0 : texts * longest;
  const parts = padded * W * e * { scores: fused && !own ? 5 : 4, sums: 5, nothing: 3 }[attention];
  const ofScores = 4 * padded * heads * longest;
  const ofAttention = { scores: e === 4 ? ofScores : 1.5 * ofScores, sums: 4 * padded * heads, nothing: 0 };
  const scores = packed ? 4 * tokens * heads : ofAttention[attention];
  // As of an image; query, key and value are there before they are filled up.
  const block = tokens * W * (8 + (2 + 1 + 8 + 3) * e) + parts + scores;
  const unkept =
    tokens * W * (4 + 3 * e + (own || activation === "gelu" ? 0 : 8 * e)) +
    padded * W * (fused && !own ? 5 : 2) * e +
    (attention === "scores" ? 2 * ofScores : 0);
  const atAttention = packed === undefined ? 0 : W * (tokens * (4 + 4 * e + packed.token) + texts * packed.row);
  const passing = blocks === 1 ? tokens * W * (4 + 5 * e) : Math.max(unkept, atAttention, tokens * W * (8 + 5 * e) + padded * W * 4 * e);
  if (blocks === 0) return { ...none, passing: block + unkept };
  const last = tokens * W * (4 + e) + (packed ? tokens : padded) * W * 2 * e + texts * W * (8 + 12 * e);
  return { kept: (blocks - 1) * block + last, inputs: blocks * 4 * tokens * W, block: blocks === 1 ? last : block, passing };
}
