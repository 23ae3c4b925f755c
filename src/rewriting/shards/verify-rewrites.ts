/**
 * Whether a rewrites folder, or a folder of shards, is what it should be: every part is read to its end, every rewrite counted.
 *
 * Nothing is thrown for what is wrong with the folder's contents. It is listed, so that one look tells all of it.
 */
import { existsSync } from "node:fs";
import {
  BitSet,
  HashedKeys,
  RewritesFolder,
  isRewritesFolder,
  isUsable,
  logPath,
  partPath,
  readManifest,
  readSegment,
  segments,
} from "../../data/index.ts";
import type { Rewrite, RewritesManifest } from "../../data/index.ts";
import { LaclipError } from "../../support/index.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";
import { isEmpty } from "../captions/captions-survey.ts";
import { mergesCaptions } from "./merge-shards.ts";
import { datasetOfMost, faultsOf, isOfSameCaptions, openShards } from "./shard-set.ts";

/** What a folder is held against. */
export interface VerifyOptions {
  /** The captions that were rewritten. With them, missing and foreign rewrites are found by their ids. */
  captions?: CaptionsInput;
}

/** What was found in one source. */
export interface VerifiedSource {
  rewrites: number;
  /** Of those: fit for training. */
  usable: number;
  /** Captions that should have a rewrite and have none. */
  missing: number;
}

/** What a look at a folder has shown. */
export interface VerifyReport {
  readonly folder: string;
  readonly dataset: string;
  /** Shards that were looked at; 0 for a folder that is not cut into shards. */
  readonly shards: number;
  readonly parts: number;
  readonly rewrites: number;
  readonly sources: Readonly<Record<string, VerifiedSource>>;
  /** What is wrong, in sentences. Empty: all is well. */
  readonly faults: readonly string[];
  /** What to do about it, in sentences. */
  readonly mends: readonly string[];
}

type FaultKind = keyof typeof mends;

/** What to do about faults, by their kind; of damaged and doubled parts it is said with the part's name. */
const mends = {
  unreadable: "Check the files that can't be read, and whether they may be read.",
  twice: "Delete the part that is there twice.",
  missing: "What is missing is written by starting the same `laclip rewrite` again.",
  "missing shard": "Shards that are missing are written by starting the same `laclip rewrite --shard` again.",
  mismatch: "Keep only shards of one run in the folder: move the others to a folder of their own, or delete them if nobody needs them.",
  "other shard": "Move parts that hold nothing but rewrites of another shard to its folder, or delete them.",
  // A manifest that was lost and written anew names the sources of one command, and a part can hold those of several.
  "unknown source":
    "Start the commands that wrote the sources that the manifest does not name again, with the same captions and settings: then it names them, and " +
    "what they wrote stays. Parts that hold nothing but sources of another folder can be moved there; delete none that holds anything else.",
  foreign: "Move parts that hold nothing but rewrites that the captions lack to the folder that they come from, or delete them.",
  "too many": "Verify with --captions, which says what rewrites these are.",
} as const satisfies Record<string, string>;

/** Faults of one kind that are told one by one; of the others only their number. */
const toldOfAKind = 5;

/**
 * Reads everything in a folder and says what is wrong with it.
 * @param path a rewrites folder, or a folder of shards
 * @throws DataError when it is neither, or the captions can't be read or are those of no part of it
 */
export async function verifyRewrites(path: string, { captions }: VerifyOptions = {}): Promise<VerifyReport> {
  const shards = isRewritesFolder(path) ? undefined : openShards([path]);
  const all: readonly Looked[] = shards ?? [{ path, manifest: readManifest(path) }];
  const survey = await captions?.survey();
  const wanted = survey?.fingerprint ?? datasetOfMost(all);
  // A shard of other captions is named, and not read: its rewrites would be taken for those of captions that have the same ids here.
  const folders = all.filter(({ manifest }) => isOfSameCaptions(manifest.dataset, wanted));
  // Held against other captions, rewrites that are there would be called missing.
  if (survey && folders.length === 0) new RewritesFolder(path, all[0]!.manifest).assertMadeFor(survey.fingerprint, captions!.path);
  const look = new Look(folders, survey?.numbers);
  const { dataset } = folders[0]!.manifest;
  if (shards) {
    const { mismatches, missing } = faultsOf(shards, wanted);
    for (const fault of mismatches) look.fault("mismatch", fault);
    for (const fault of missing) look.fault("missing shard", fault);
  }
  for (const folder of folders) await look.read(folder);
  await look.findMissing(captions);
  return {
    folder: path,
    dataset: dataset.name,
    shards: shards?.length ?? 0,
    parts: look.parts,
    rewrites: Object.values(look.sources).reduce((sum, { rewrites }) => sum + rewrites, 0),
    sources: look.sources,
    faults: look.faults(),
    mends: look.mends(),
  };
}

interface Looked {
  readonly path: string;
  readonly manifest: RewritesManifest;
}

/** What a part, or a log, holds that was found before. */
interface Repeats {
  rows: number;
  repeated: number;
  first?: Rewrite;
  /** Whether it was read to its end. */
  whole: boolean;
}

class Look {
  parts = 0;
  readonly sources: Record<string, VerifiedSource> = {};
  readonly #folders: readonly Looked[];
  readonly #numbers: HashedKeys;
  /** Whether the numbers are those of the captions, in file order; else ids are numbered as they come. */
  readonly #known: boolean;
  readonly #done = new Map<string, BitSet>();
  readonly #faults = new Map<FaultKind, { count: number; told: string[]; mends: Set<string> }>();

  constructor(folders: readonly Looked[], numbers: HashedKeys | undefined) {
    this.#folders = folders;
    this.#numbers = numbers ?? new HashedKeys();
    this.#known = numbers !== undefined;
    for (const source of folders.flatMap(({ manifest }) => Object.keys(manifest.sources))) {
      this.sources[source] ??= { rewrites: 0, usable: 0, missing: 0 };
      this.#done.set(source, new BitSet());
    }
  }

  fault(kind: FaultKind, sentence: string, mend: string = mends[kind]): void {
    const found = this.#faults.get(kind) ?? { count: 0, told: [], mends: new Set() };
    this.#faults.set(kind, found);
    if (++found.count <= toldOfAKind) found.told.push(sentence);
    if (found.mends.size < toldOfAKind) found.mends.add(mend);
  }

  /** What is missing comes last: what is deleted before is missing then. */
  mends(): string[] {
    return [...this.#faults].sort(([a], [b]) => Number(a === "missing") - Number(b === "missing")).flatMap(([, found]) => [...found.mends]);
  }

  faults(): string[] {
    return [...this.#faults].flatMap(([kind, { count, told }]) =>
      count > told.length ? [...told, `and ${count - told.length} more of the same kind (${kind}).`] : told,
    );
  }

  /** Reads a folder to its end; what can't be read is a fault, and the rest is read all the same. */
  async read({ path, manifest }: Looked): Promise<void> {
    const counts = new Map(Object.keys(manifest.sources).map((source) => [source, 0]));
    for (const segment of segments(path)) {
      this.parts++;
      const repeats: Repeats = { rows: 0, repeated: 0, whole: true };
      try {
        for await (const batch of readSegment(path, segment)) {
          repeats.rows += batch.length;
          for (const rewrite of batch) this.#count({ path, manifest }, rewrite, counts, repeats);
        }
      } catch (error) {
        if (!LaclipError.is(error)) throw error;
        repeats.whole = false;
        this.fault("unreadable", error.message, error.mend);
      }
      this.#tellRepeats(path, segment, repeats);
    }
    if (this.#known) return;
    const expected = manifest.captions ?? manifest.dataset.count;
    for (const [source, count] of counts) {
      if (count > expected) this.fault("too many", `${path}: ${count} rewrites from ${source} of ${expected} captions.`);
      if (count >= expected || mergesCaptions(manifest.sources[source]!)) continue;
      this.sources[source]!.missing += expected - count;
      this.fault("missing", `${path}: ${expected - count} of ${expected} captions have no rewrite from ${source}.`);
    }
  }

  /** With the captions at hand: which of them have no rewrite. */
  async findMissing(captions: CaptionsInput | undefined): Promise<void> {
    if (!captions) return;
    const shards = this.#folders.flatMap(({ manifest: { shard } }) => shard ?? []);
    const end = shards.length > 0 ? Math.max(...shards.map(({ to }) => to)) : (this.#folders[0]!.manifest.captions ?? this.#numbers.size);
    const open = new Map<string, string[]>();
    for (const [source, done] of this.#done) {
      if (this.#folders.some(({ manifest }) => Object.hasOwn(manifest.sources, source) && mergesCaptions(manifest.sources[source]!)))
        continue;
      this.sources[source]!.missing = end - done.count(0, end);
      if (this.sources[source]!.missing > 0) open.set(source, []);
    }
    if (open.size === 0) return;
    for await (const batch of captions.rows()) {
      for (const { id, caption } of batch) {
        if (isEmpty(caption)) continue;
        const number = this.#numbers.get(id)!;
        for (const [source, ids] of open)
          if (ids.length < 3 && number < end && !this.#done.get(source)!.has(number) && !ids.includes(id)) ids.push(id);
      }
      if ([...open].every(([source, ids]) => ids.length >= Math.min(3, this.sources[source]!.missing))) break;
    }
    for (const [source, ids] of open) {
      const named = ids.map((id) => JSON.stringify(id)).join(", ");
      this.fault("missing", `${this.sources[source]!.missing} of ${end} captions have no rewrite from ${source}, such as ${named}.`);
    }
  }

  /** Only a part that holds nothing new is a copy; in any other, rewrites would be deleted that are nowhere else. */
  #tellRepeats(path: string, segment: string, { rows, repeated, first, whole }: Repeats): void {
    if (first === undefined) return;
    const file = existsSync(partPath(path, segment)) ? partPath(path, segment) : logPath(path, segment);
    this.fault(
      "twice",
      `${file}: ${repeated} of its ${rows} rewrites are there twice, such as that of ${JSON.stringify(first.id)} from ${first.source}.`,
      whole && repeated === rows
        ? `Delete ${file}, a copy of rewrites that are there already.`
        : `Keep ${file}: not all of it is there twice. \`laclip rewrites check ${path} --captions CAPTIONS --out FOLDER\` writes a folder that holds each rewrite once.`,
    );
  }

  #count({ path, manifest: { sources, shard } }: Looked, rewrite: Rewrite, counts: Map<string, number>, repeats: Repeats): void {
    const { id, source } = rewrite;
    if (!Object.hasOwn(sources, source)) {
      return this.fault(
        "unknown source",
        `${path}: a rewrite of ${JSON.stringify(id)} from "${source}", which the manifest does not name.`,
      );
    }
    const number = this.#known ? this.#numbers.get(id) : this.#numbers.intern(id);
    if (number === undefined) return this.fault("foreign", `${path}: a rewrite of ${JSON.stringify(id)}, which the captions lack.`);
    if (this.#known && shard && (number < shard.from || number >= shard.to)) {
      return this.fault("other shard", `${path}: a rewrite of ${JSON.stringify(id)}, which belongs to another shard.`);
    }
    if (!this.#done.get(source)!.add(number)) {
      repeats.first ??= rewrite;
      repeats.repeated++;
      return;
    }
    counts.set(source, counts.get(source)! + 1);
    this.sources[source]!.rewrites++;
    if (isUsable(rewrite)) this.sources[source]!.usable++;
  }
}
