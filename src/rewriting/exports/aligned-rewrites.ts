/**
 * A data set's captions in file order, each with its rewrites: what all exports start from that go by the captions' own order.
 *
 * Captions and rewrites are joined on disk (formats/text-join.ts), so that memory does not grow with the data set.
 */
import { isUsable } from "../../data/index.ts";
import type { Rewrite, RewritesFolder } from "../../data/index.ts";
import { TextJoin } from "../../formats/index.ts";
import { InterruptedError, log } from "../../support/index.ts";
import { datasetName } from "../captions/captions-input.ts";
import type { CaptionRow, CaptionsInput } from "../captions/captions-input.ts";
import { surveyCaptions } from "../captions/captions-survey.ts";
import { repeatsOf } from "../statistics/complaints.ts";

/** What is put beside what, and where the work is done. */
export interface AlignOptions {
  captions: CaptionsInput;
  /** Whose rewrites stand beside each caption, in this order. Default: all sources of the folder. */
  sources?: readonly string[];
  /** Stops the work; nothing is left behind, and InterruptedError thrown. */
  signal?: AbortSignal | undefined;
}

/** A caption and what stands beside it. */
export interface AlignedRow {
  readonly id: string;
  readonly caption: string;
  /** For each source its usable rewrite, or undefined where there is none. */
  readonly texts: readonly (string | undefined)[];
}

/** Captions and rewrites that were put together. */
export interface AlignedRewrites {
  readonly sources: readonly string[];
  /** Per source, how many usable rewrites the folder has. */
  readonly usable: Readonly<Record<string, number>>;
  /** All rows of the captions file in its order, also those without a caption. To be asked for once. */
  readonly rows: () => AsyncGenerator<readonly AlignedRow[]>;
  /** Writes the same as parquet: `id`, `caption`, and a column of this name for each source. Returns the number of rows. */
  readonly writeParquet: (path: string, columnOf: (source: string) => string) => Promise<number>;
}

/**
 * Puts rewrites beside their captions, for as long as `use` runs.
 * @param scratch a folder that there is, with room for captions and rewrites
 * @throws DataError when the captions are not those that the rewrites were made for
 * @throws InterruptedError when stopped
 */
export async function withAlignedRewrites<T>(
  folder: RewritesFolder,
  scratch: string,
  { captions, sources = folder.sources, signal }: AlignOptions,
  use: (aligned: AlignedRewrites) => Promise<T>,
): Promise<T> {
  const join = await TextJoin.create(scratch, sources.length);
  try {
    // Captions are looked at on their way: reading those of a webdataset twice would mean to read all its images twice.
    const { fingerprint } = await surveyCaptions(captions.path, passing(captions.rows(), join, signal));
    folder.assertMadeFor(fingerprint, datasetName(captions.path));
    const columns = new Map(sources.map((source, i) => [source, i]));
    const usable = sources.map(() => 0);
    const counts = new Map<string, number>();
    for await (const batch of folder.read({ sources })) {
      refuseStopped(signal);
      countSources(batch, counts);
      for (const rewrite of batch) {
        if (!isUsable(rewrite)) continue;
        const column = columns.get(rewrite.source)!;
        join.addText(column, { key: rewrite.id, text: rewrite.text });
        usable[column]! += 1;
      }
    }
    warnOfRepeats(folder, counts);
    return await use({
      sources,
      usable: Object.fromEntries(sources.map((source, i) => [source, usable[i]!])),
      async *rows() {
        for await (const rows of join.rows()) {
          refuseStopped(signal);
          yield rows.map(({ key, text, texts }) => ({ id: key, caption: text, texts }));
        }
      },
      writeParquet: async (path, columnOf) =>
        await join.writeParquet(path, ["id", "caption", ...sources.map((source) => columnOf(source))]),
    });
  } finally {
    join.close();
  }
}

/** Counts rewrites by source. */
export function countSources(rewrites: readonly Pick<Rewrite, "source">[], counts: Map<string, number>): void {
  for (const { source } of rewrites) counts.set(source, (counts.get(source) ?? 0) + 1);
}

/** Warns where there are more rewrites than captions. */
export function warnOfRepeats({ path, manifest }: RewritesFolder, counts: ReadonlyMap<string, number>): void {
  for (const [source, count] of counts) {
    const repeats = repeatsOf(manifest, source, count);
    if (repeats !== undefined) log.warn(`${path}: ${repeats}`);
  }
}

async function* passing(
  batches: AsyncIterable<readonly CaptionRow[]>,
  join: TextJoin,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly CaptionRow[]> {
  for await (const batch of batches) {
    refuseStopped(signal);
    join.addRows(batch.map(({ id, caption }) => ({ key: id, text: caption })));
    yield batch;
  }
}

/** @throws InterruptedError when the work was asked to stop */
export function refuseStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new InterruptedError("Stopped.", { mend: "Start the same command again." });
}
