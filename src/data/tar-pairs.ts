/**
 * Image-text pairs from tars on this machine that are not compressed, as a table: what they say is read once, where their images lie is
 * noted, and then each sample can be had at any time. So they are trained on in the same order as a table with the same samples.
 *
 * Other tars, and those too many for that, are read from front to back: shards/.
 */
import { basename } from "node:path";
import { DataError } from "../support/index.ts";
import { FingerprintBuilder } from "./captions-fingerprint.ts";
import { HashedKeys } from "./hashed-keys.ts";
import type { JoinReport, JoinedPairs } from "./join-rewrites.ts";
import { type MemberTextOptions, MemberTexts } from "./member-texts.ts";
import { type NotedSample, noteSamples } from "./note-samples.ts";
import { type Pairs, checkSkipped } from "./pairs.ts";
import { type Caption, originalSource } from "./sample.ts";
import { RewritesBuilder, mostRewriteSources } from "./rewrites-column.ts";
import { rewriteKey } from "./rewrites-lookup.ts";
import { SampleTableBuilder } from "./sample-table.ts";
import { SharedNumbers } from "./shared-numbers.ts";

/** What `openTarPairs` takes from the members of tars. */
export interface OpenTarPairsOptions extends MemberTextOptions {
  /** What the tars are called in messages. */
  name: string;
  /** Sources of rewrites to take, in this order. Default: all that there are. */
  sources?: readonly string[] | undefined;
  /** Share of samples without a caption or an image that is still accepted, 0..1. Default 0.01. */
  maximumSkipped?: number | undefined;
  /** See `openPairs`. */
  workFolder?: string | undefined;
}

/**
 * Reads what tars say.
 * @param tars paths of archives that are not compressed, see `isPlainTar`
 * @throws DataError when one is missing, damaged or cut off, an id comes twice, or too many samples lack a caption or an image
 */
export async function openTarPairs(tars: readonly string[], options: OpenTarPairsOptions): Promise<Pairs | JoinedPairs> {
  const { maximumSkipped = 0.01, name } = options;
  const builder = new SampleTableBuilder("", { folder: options.workFolder });
  const rewrites = new SourcedRewrites(options.workFolder);
  const rowOf = new HashedKeys();
  const fingerprint = new FingerprintBuilder();
  const skipped = { emptyCaptions: 0, missingImages: 0, examples: [] as string[] };
  const repeated: string[] = [];
  let [rows, repeats] = [0, 0];
  // Tars that `laclip data pack` has mixed say where each sample stood: in that order, they are trained on as what was packed would be.
  const packedRows = new SharedNumbers();
  let allPacked = true;

  const add = (tar: string, { key, image, texts }: NotedSample): void => {
    rows++;
    const where = `${basename(tar)}, sample ${key}`;
    const skip = (what: "emptyCaptions" | "missingImages", reason: string): void => {
      skipped[what]++;
      if (skipped.examples.length < 5) skipped.examples.push(reason);
    };
    const members = new MemberTexts(tar, key, texts);
    const said = saidOf(members, options);
    if (typeof said === "string") {
      // Rewriting reads a caption in a .txt whatever the .json beside it is like, and the fingerprint is of the captions that it sees.
      const rewritten = rewrittenOf(members, options);
      if (rewritten) fingerprint.add(rewritten.id, rewritten.caption);
      return skip("emptyCaptions", said);
    }
    const { id, row: packed } = said;
    const [original, ...others] = said.captions;
    if (original !== undefined && id !== "") fingerprint.add(id, original.text);
    if (original === undefined) return skip("emptyCaptions", `${where}: no caption`);
    if (image === undefined) return skip("missingImages", `${where}: no image`);
    if (id === "") throw new DataError(`${where}: no id ("${options.idColumn}" of the .json).`);
    const row = builder.add(id, image, original.text);
    const known = rowOf.size;
    rowOf.intern(id);
    if (rowOf.size === known) {
      repeats++;
      if (repeated.length < 3) repeated.push(id);
    }
    if (typeof packed === "number" && Number.isSafeInteger(packed) && packed >= 0) packedRows.set(row, packed);
    else allPacked = false;
    if (original.weight !== undefined) rewrites.weigh(row, id, original.weight);
    for (const caption of ofSources(others, options.sources)) rewrites.add(row, id, caption);
  };

  for (const tar of tars) for await (const sample of noteSamples(tar)) add(tar, sample);
  if (repeats > 0) {
    throw new DataError(
      `${name}: ${repeats} of ${builder.length} ids were there before. First: ${repeated.map((id) => JSON.stringify(id)).join(", ")}.`,
      { mend: "Name the key of the .json that tells samples apart (--id-column), for instance `hash:url`." },
    );
  }
  checkSkipped(name, { rows, skipped, maximum: maximumSkipped, what: "samples", image: "an image" }, noCaptionHint);
  const samples = allPacked ? builder.finish().sortedBy(packedRows) : builder.finish();
  const pairs: Pairs = { file: name, rows, skipped, fingerprint: fingerprint.finish(), samples, rowOf };
  // Captions may have weights of their own where their rewrites are left out.
  if (!rewrites.any) return rewrites.weighed ? { ...pairs, samples: samples.withRewrites(rewrites.builder) } : pairs;
  const report = rewrites.report(name);
  const table = samples.withRewrites(rewrites.builder);
  for (let row = 0; row < table.length; row++) if (table.hasRewrites(row)) report.matched++;
  report.unmatched = table.length - report.matched;
  return { ...pairs, samples: table, rewrites: report };
}

/** Id and caption of a sample as rewriting reads them; undefined where it finds none. */
function rewrittenOf(members: MemberTexts, { idColumn, captionColumn }: OpenTarPairsOptions): { id: string; caption: string } | undefined {
  try {
    const [id, caption] = [members.id(idColumn), members.caption(captionColumn)];
    return id === "" || caption.trim() === "" ? undefined : { id, caption };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return undefined;
  }
}

/** What a sample says of itself; or why that can't be read. */
function saidOf(members: MemberTexts, options: OpenTarPairsOptions): { id: string; captions: Caption[]; row: unknown } | string {
  try {
    return { id: members.id(options.idColumn), captions: members.captions(options), row: members.json["row"] };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return error.message;
  }
}

const noCaptionHint = "Name the key of the .json that holds the caption (--caption-column), or allow a larger share (--max-skipped).";

/** The rewrites of the sources that are wanted, in their order. */
export function ofSources(rewrites: readonly Caption[], sources: readonly string[] | undefined): readonly Caption[] {
  if (!sources) return rewrites;
  return sources.filter((source) => source !== originalSource).flatMap((wanted) => rewrites.filter(({ source }) => source === wanted));
}

/** Rewrites whose sources show one after the other. */
class SourcedRewrites {
  readonly builder: RewritesBuilder;
  /** Whether some captions have a weight of their own. */
  weighed = false;
  readonly #numbers = new Map<string, number>();
  readonly #sources: string[] = [];
  readonly #texts: Record<string, number> = {};
  readonly #fingerprint = new FingerprintBuilder();

  constructor(folder: string | undefined) {
    // As they stand in the .json: not every sample has all sources, so that the first of these say nothing of the sources' order.
    this.builder = new RewritesBuilder(this.#sources, { folder, asAdded: true });
  }

  get any(): boolean {
    return this.#sources.length > 0;
  }

  /** @throws DataError when there are more sources than can be told apart */
  add(row: number, id: string, { source, text, weight = 1 }: Caption): void {
    let number = this.#numbers.get(source);
    if (number === undefined) {
      if (this.#sources.length === mostRewriteSources) {
        throw new DataError(
          `There are more than ${mostRewriteSources} sources of rewrites in the .json, such as ${JSON.stringify(source)}.`,
          {
            mend: "Name those that are meant: --set 'captions.sources=[\"...\"]', or the keys with --json-text-key.",
          },
        );
      }
      this.#numbers.set(source, (number = this.#sources.length));
      this.#sources.push(source);
    }
    this.builder.add(row, number, text, weight);
    this.#fingerprint.add(rewriteKey(id, source, weight), text);
    this.#texts[source] = (this.#texts[source] ?? 0) + 1;
  }

  /** Says how much a sample's own caption counts. */
  weigh(row: number, id: string, weight: number): void {
    this.weighed = true;
    if (this.builder.weighCaption(row, weight)) this.#fingerprint.add(rewriteKey(id, originalSource, weight), "");
  }

  report(folder: string): JoinReport {
    const none = { matched: 0, unmatched: 0, foreign: 0, unusable: 0 };
    return { folder, sources: this.#sources, texts: this.#texts, fingerprint: this.#fingerprint.finish(), ...none };
  }
}
