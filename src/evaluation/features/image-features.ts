/**
 * The features of a list of images, made by a model once and kept in a feature store where there is one.
 *
 * A pass gives both kinds: the class token that probes and few-shot episodes read, and its projection into the space that images share
 * with texts.
 *
 * Shapes: N images that could be read, W width of the image tower, D joint width.
 */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { type EvaluationItem, SkippedImages, evaluationBatches } from "../../data/index.ts";
import { type LoadedModel, byteImages } from "../../models/index.ts";
import { DataError, InterruptedError, Progress } from "../../support/index.ts";
import { Tensor, empty, noGrad, scope } from "../../torch/index.ts";
import { firstNotFinite, notFinite } from "../class-vectors.ts";
import { type FeatureChunk, type FeatureKey, FeatureStore, type MakeFeatures } from "./feature-store.ts";

/** "joint": `[N, D]`, not normalised. "class-token": `[N, W]`, before the projection. */
export type ImageFeatureKind = "joint" | "class-token";

export const imageFeatureKinds: readonly ImageFeatureKind[] = ["joint", "class-token"];

/** A model and what it is called in a store: an `EvaluatedModel` is one. */
export interface FeatureModel extends LoadedModel {
  /** SHA-256 of its weights file. Without it, nothing is kept. */
  readonly hash?: string | undefined;
}

/** How features are made, and where they are kept. */
export interface ImageFeatureOptions {
  /** Default "class-token". */
  kind?: ImageFeatureKind;
  /** Images a batch. Default 64. */
  batchSize?: number;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
  device?: string;
  /** Where they are kept; default nowhere. */
  store?: FeatureStore | undefined;
  /** What the images are called, for people: "food101 test". Default "images". */
  name?: string;
  /** Whether progress is shown. Default true. */
  progress?: boolean;
  /** Images whose features are written at once. Default 1024. */
  chunk?: number;
  /** Stops between two batches; what was made stays in the store. */
  signal?: AbortSignal | undefined;
}

/** Features of the images that could be read. */
export interface ImageFeatures {
  /** `[N, width]` float32. The caller disposes of it. */
  readonly features: Tensor;
  /** `[N]` index of each in the list of images. */
  readonly rows: Int32Array;
  /** `[N]` label of each. */
  readonly labels: Int32Array;
  /** Images left out, and why the first 20 of them. */
  readonly skipped: number;
  readonly reasons: string[];
}

/**
 * Hash of a list of images: their paths below the folder that holds them all, sizes and times of change; of images that a table holds, their
 * own hashes. The images are not read; whoever changes one and sets its time back gets features of the old one.
 */
export function imagesHash(items: readonly EvaluationItem[]): string {
  const hash = createHash("sha256");
  const root = commonFolder(items);
  const stats = new Map<string, string>();
  const stat = (path: string): string => {
    let known = stats.get(path);
    if (known === undefined) {
      const found = statSync(path, { throwIfNoEntry: false });
      stats.set(path, (known = found === undefined ? "none" : `${found.size} ${found.mtimeMs}`));
    }
    return known;
  };
  for (const { path, source } of items) {
    const name = relative(root, resolve(path));
    if (source === undefined) hash.update(`${JSON.stringify([name, stat(path)])}\n`);
    else if (source instanceof Uint8Array) hash.update(`${JSON.stringify([name])}\n`).update(source);
    else if (source.hash !== undefined) hash.update(`${JSON.stringify([name, source.hash])}\n`);
    else hash.update(`${JSON.stringify([name, stat(source.file), { ...source, file: relative(root, resolve(source.file)) }])}\n`);
  }
  return hash.digest("hex");
}

/**
 * Features of all images of a list that can be read, in its order.
 * @throws DataError when more images than allowed can't be read, or none can, or a feature is not finite, naming the image; InterruptedError
 *   when stopped
 */
export async function imageFeatures(
  model: FeatureModel,
  items: readonly EvaluationItem[],
  options: ImageFeatureOptions = {},
): Promise<ImageFeatures> {
  const { kind = "class-token", maximumSkipped = 0.01, store, name = "images", device = "cpu" } = options;
  const width = kind === "joint" ? model.model.config.jointWidth : model.model.config.vision.width;
  const make = featureMaker(model, items, options);
  const chunks =
    store === undefined || model.hash === undefined
      ? make(0, items.length)
      : store.chunks({ key: imageKey(model, items), items: items.length, name, make });
  const features_NW = empty([items.length, width], { device }).keep();
  const rows = new Int32Array(items.length);
  const unreadable = new SkippedImages(items.length, maximumSkipped);
  let read = 0;
  try {
    for await (const chunk of chunks) {
      const count = chunk.rows.length;
      if (count > 0) {
        scope(() => features_NW.slice(0, read, read + count).copy_(Tensor.from(chunk.features[kind]!, [count, width])));
        rows.set(chunk.rows, read);
        read += count;
      }
      unreadable.add(chunk.unreadable);
    }
    unreadable.report("they are left out of the evaluation");
    if (read === 0) throw noneReadable(items.length, [...unreadable.reasons.values()]);
    const own = rows.slice(0, read);
    const features = read === items.length ? features_NW : scope(() => features_NW.slice(0, 0, read).clone().keep());
    if (features !== features_NW) features_NW.dispose();
    return {
      features,
      rows: own,
      labels: own.map((row) => items[row]!.label),
      skipped: unreadable.count,
      reasons: [...unreadable.reasons.values()].slice(0, 20),
    };
  } catch (error) {
    features_NW.dispose();
    throw error;
  }
}

/** However large a share may be left out: a score of no image is none. @param reasons why each can't be read */
export function noneReadable(images: number, reasons: readonly string[]): DataError {
  return new DataError(
    `None of ${images} images can be read, so there is nothing to look at. The first: ${reasons[0] ?? "there is none"}`,
    {
      mend: "Fetch the images again.",
    },
  );
}

function imageKey({ model, preprocessing, hash }: FeatureModel, items: readonly EvaluationItem[]): FeatureKey {
  return {
    model: hash!,
    data: imagesHash(items),
    transform: { view: "centre", ...preprocessing, config: model.config },
  };
}

/** @throws DataError naming the first image whose features are not finite */
function featureMaker(
  { model, preprocessing }: FeatureModel,
  items: readonly EvaluationItem[],
  options: ImageFeatureOptions,
): MakeFeatures {
  const { batchSize = 64, device = "cpu", name = "images", chunk: chunkItems = 1024, signal } = options;
  const size = model.config.vision.imageSize;
  return async function* make(from, to) {
    const batches = evaluationBatches(items.slice(from, to), {
      size,
      interpolation: preprocessing.interpolation,
      batchSize,
      maximumSkipped: 1,
      report: false,
    });
    const progress =
      options.progress === false ? undefined : new Progress({ label: name, total: items.length, unit: "images", start: from });
    let chunk = new ChunkInMaking(from);
    try {
      for await (const { images, labels, paths, rows } of batches) {
        if (signal?.aborted) {
          const mend = options.store === undefined ? "Nothing was kept: give a feature store." : "Start the same command again.";
          throw new InterruptedError(`Stopped after ${from + rows[0]!} of ${items.length} images.`, { mend });
        }
        // A batch belongs to one chunk: a full one ends before it.
        if (from + rows[0]! - chunk.from >= chunkItems) {
          const end = from + rows[0]!;
          yield chunk.finish(end, unreadableIn(chunk.from, end));
          chunk = new ChunkInMaking(end);
        }
        const features = noGrad(() =>
          scope(() => {
            const token_NW = model.imageFeatures(byteImages(images, labels.length, size, preprocessing, device));
            const joint_ND = model.projectImages(token_NW);
            const broken = firstNotFinite(token_NW) ?? firstNotFinite(joint_ND);
            if (broken !== undefined) throw notFinite(paths[broken]!);
            return { "class-token": token_NW.toFloat32Array(), joint: joint_ND.toFloat32Array() };
          }),
        );
        chunk.add(
          Int32Array.from(rows, (row) => from + row),
          features,
        );
        progress?.advance(labels.length);
      }
      if (to > chunk.from) yield chunk.finish(to, unreadableIn(chunk.from, to));
    } finally {
      progress?.finish();
      await batches.close();
    }

    function unreadableIn(start: number, end: number): FeatureChunk["unreadable"] {
      return [...batches.skipped.reasons]
        .map(([row, reason]) => ({ row: from + row, reason }))
        .filter(({ row }) => row >= start && row < end);
    }
  };
}

class ChunkInMaking {
  readonly from: number;
  readonly #rows: number[] = [];
  readonly #features = new Map<string, Float32Array[]>();

  constructor(from: number) {
    this.from = from;
  }

  add(rows: Int32Array, features: Record<string, Float32Array>): void {
    this.#rows.push(...rows);
    for (const [name, values] of Object.entries(features)) {
      const parts = this.#features.get(name) ?? [];
      this.#features.set(name, parts);
      parts.push(values);
    }
  }

  finish(to: number, unreadable: FeatureChunk["unreadable"]): FeatureChunk {
    const joined = [...this.#features].map(([name, parts]) => [name, joinArrays(parts)] as const);
    return { from: this.from, to, rows: Int32Array.from(this.#rows), features: Object.fromEntries(joined), unreadable };
  }
}

function joinArrays(parts: readonly Float32Array[]): Float32Array {
  const joined = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function commonFolder(items: readonly EvaluationItem[]): string {
  let common: string | undefined;
  for (const { path } of items) {
    const folder = dirname(resolve(path));
    common ??= folder;
    while (folder !== common && !folder.startsWith(common === "/" ? "/" : `${common}/`)) common = dirname(common);
  }
  return common ?? "";
}
