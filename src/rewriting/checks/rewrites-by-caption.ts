/**
 * A rewrites folder caption by caption: each with all its rewrites, in memory that does not grow with the folder.
 *
 * On disk a caption's rewrites lie wherever they were finished, and captions lie in another file. Where there are many, both are first
 * dealt into small files by the hash of the id, so that what belongs together lies in the same one; then one after the other is read
 * (a grace join).
 */
import { appendFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { HeldImages, Rewrite, RewritesFolder } from "../../data/index.ts";
import { explainWriteFailure, makeFolder, streamJsonLines } from "../../support/index.ts";
import { placeOf } from "./caption-sample.ts";
import type { CaptionRow, CaptionsInput } from "../captions/captions-input.ts";
import { isEmpty } from "../captions/captions-survey.ts";

/** A caption and what was written in its place. */
export interface RewrittenCaption extends CaptionRow {
  /** In the order of the folder's sources; several of one source in the order of their texts. */
  readonly rewrites: readonly Rewrite[];
}

/** How the work is cut up. */
export interface ByCaptionOptions {
  /** Captions that are in memory at a time, about. Default 20,000. */
  captionsAtOnce?: number;
  /** Takes images that lie with the captions; given, captions come with theirs. Default: nobody looks at images. */
  held?: HeldImages | undefined;
  /** Folder for the small files; made when it is needed, and removed at the end. */
  working: string;
}

/** Bytes collected for each small file before they are written. */
const bufferSize = 1 << 16;

/**
 * Captions that have rewrites, some thousand at a time, in an order that follows from the ids where there are many, else in file order.
 * Rewrites without a caption are left out.
 */
export async function* rewritesByCaption(
  folder: RewritesFolder,
  captions: CaptionsInput,
  { captionsAtOnce = 20_000, held, working }: ByCaptionOptions,
): AsyncGenerator<RewrittenCaption[]> {
  const { dataset, shard } = folder.manifest;
  const expected = shard ? shard.to - shard.from : dataset.count;
  const parts = Math.ceil(expected / captionsAtOnce);
  const rows = (held && captions.rowsWithImages?.(held)) ?? captions.rows();
  if (parts <= 1) {
    yield* together(folder, rows, folder.read());
    return;
  }
  try {
    rmSync(working, { recursive: true, force: true });
    makeFolder(working);
    await deal(working, "rewrites", parts, folder.read());
    await deal(working, "captions", parts, rows);
    for (let part = 0; part < parts; part++)
      yield* together(folder, dealt<CaptionRow>(working, "captions", part), dealt<Rewrite>(working, "rewrites", part));
  } finally {
    rmSync(working, { recursive: true, force: true });
  }
}

async function* together(
  { sources }: RewritesFolder,
  captions: AsyncIterable<readonly CaptionRow[]>,
  rewrites: AsyncIterable<readonly Rewrite[]>,
): AsyncGenerator<RewrittenCaption[]> {
  const order = new Map(sources.map((source, i) => [source, i]));
  const byId = new Map<string, Rewrite[]>();
  for await (const batch of rewrites) {
    for (const rewrite of batch) {
      const known = byId.get(rewrite.id);
      if (known) known.push(rewrite);
      else byId.set(rewrite.id, [rewrite]);
    }
  }
  for await (const batch of captions) {
    const found: RewrittenCaption[] = [];
    for (const row of batch) {
      const own = isEmpty(row.caption) ? undefined : byId.get(row.id);
      if (!own) continue;
      // A row that repeats an id must not bring its rewrites again.
      byId.delete(row.id);
      own.sort((a, b) => order.get(a.source)! - order.get(b.source)! || (a.text < b.text ? -1 : 1));
      found.push({ ...row, rewrites: own });
    }
    if (found.length > 0) yield found;
  }
}

function pathOf(working: string, name: string, part: number): string {
  return join(working, `${name}-${part}.jsonl`);
}

async function deal(
  working: string,
  name: string,
  parts: number,
  batches: AsyncIterable<readonly { readonly id: string }[]>,
): Promise<void> {
  const buffers = Array.from({ length: parts }, () => [] as string[]);
  const sizes = new Float64Array(parts);
  const write = (part: number): void => {
    if (buffers[part]!.length === 0) return;
    const path = pathOf(working, name, part);
    try {
      appendFileSync(path, buffers[part]!.join(""));
    } catch (error) {
      throw explainWriteFailure(error, path);
    }
    buffers[part] = [];
    sizes[part] = 0;
  };
  for await (const batch of batches) {
    for (const row of batch) {
      const part = Math.floor((placeOf(row.id, 0) / 2 ** 32) * parts);
      const line = `${JSON.stringify(row)}\n`;
      buffers[part]!.push(line);
      sizes[part]! += line.length;
      if (sizes[part]! > bufferSize) write(part);
    }
  }
  for (let part = 0; part < parts; part++) {
    write(part);
    // Every small file is there, also that of a part without any.
    appendFileSync(pathOf(working, name, part), "");
  }
}

async function* dealt<T>(working: string, name: string, part: number): AsyncGenerator<T[]> {
  const mend = "Start the same command again: it makes this file anew.";
  for await (const lines of streamJsonLines(pathOf(working, name, part), { mend })) yield lines.map(({ value }) => value as T);
}
