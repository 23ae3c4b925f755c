/**
 * A rewrites folder looked at again, with other checks or with an image-text model at hand: what is found goes into a new folder, the
 * old one stays as it is. No language model is needed, and texts do not change.
 */
import { existsSync, realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { HeldImages, RewritesWriter, SkippedImages, isRewritesFolder, isUsable, readManifest } from "../../data/index.ts";
import type { Rewrite, RewriteSource, RewritesFolder } from "../../data/index.ts";
import { DataError, InterruptedError, Progress, UsageError } from "../../support/index.ts";
import { imageOf, meanCaptionCosine } from "./caption-mean.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";
import { CheckSubject } from "./check-subject.ts";
import { rewriteChecks } from "./check-table.ts";
import { checkOfFlag, defaultChecks, flagsOf, normalise, recordChecks } from "./checks.ts";
import type { CheckSettings } from "./checks.ts";
import { ImageTally, applyPolicy, recordPolicy, withCaptionCosine, withCaptionWeight, withFits, withoutPolicy } from "./image-policies.ts";
import type { ImagePolicy, ImageReport, ImageTextScorer } from "./image-policies.ts";
import { knownSources, outputsOf } from "../pairs/pairs.ts";
import type { PairSource } from "../pairs/pairs.ts";
import { promptForms } from "../prompts/prompt-forms.ts";
import { rewritesByCaption } from "./rewrites-by-caption.ts";
import type { RewrittenCaption } from "./rewrites-by-caption.ts";

/** How rewrites are held against their images. */
export interface ImageComparison {
  policy: ImagePolicy;
  /** Default: what an earlier look at the images has measured is used again. */
  scorer?: ImageTextScorer;
  /** Folder that image paths are relative to. Default: that of the captions. */
  images?: string;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
}

/** What is looked at, for what, and where to. */
export interface CheckRewritesOptions {
  folder: RewritesFolder;
  /** The captions that were rewritten. */
  captions: CaptionsInput;
  /** The new rewrites folder; one that an earlier start of the same has begun is gone on with. */
  out: string;
  /** Default: `defaultChecks`. */
  checks?: CheckSettings;
  /** Default: images are not looked at; what an earlier look at them has found stays. */
  comparison?: ImageComparison;
  /** Example pairs of sources that are not built in, for the check that looks for copies of them. */
  pairs?: readonly PairSource[];
  /** Program and version, for the manifest. */
  createdWith: string;
  /** Captions that are in memory at a time, about. Default 20,000. */
  captionsAtOnce?: number;
  /** Stops the work; what is done is kept, and InterruptedError thrown. */
  signal?: AbortSignal;
}

/** What came of it, for all rewrites or one source. */
export interface CheckCounts {
  rewrites: number;
  /** How many could be trained on before and can now. */
  usableBefore: number;
  usable: number;
  flags: Record<string, number>;
}

/** What a check of a folder has found in this run. */
export interface CheckSummary extends CheckCounts {
  out: string;
  /** There already, from an earlier start; not among the counts. */
  kept: number;
  sources: Record<string, CheckCounts>;
  images?: ImageReport;
}

/** Captions whose images are looked at in one go: a thread decodes them while the model works. */
const imagesAtOnce = 1024;

/**
 * Looks at all rewrites of a folder again and writes them, with what was found, to another.
 * @throws DataError for captions of another data set, an `out` that was made otherwise, or too many unreadable images; UsageError
 *   where `out` is the folder itself, an image policy has neither a model nor earlier fits, or second captions are missing
 * @throws InterruptedError when stopped
 */
export async function checkRewrites(options: CheckRewritesOptions): Promise<CheckSummary> {
  const { folder, captions, out, checks = defaultChecks, createdWith, signal } = options;
  const { manifest } = folder;
  if (existsSync(out) && realpathSync(out) === realpathSync(folder.path)) {
    throw new UsageError(`${out} is the folder that is to be checked: it stays as it is.`, { mend: "Name another folder with --out." });
  }
  requireSeconds(manifest.sources, captions);
  const { fingerprint } = await captions.survey(signal);
  folder.assertMadeFor(fingerprint, captions.path);
  const comparison = options.comparison && (await withMean(options, options.comparison, fingerprint.count));
  const sources = Object.fromEntries(
    Object.entries(manifest.sources).map(([name, source]) => [name, newSource(source, checks, comparison)]),
  );
  refuseOtherChecks(out, sources);
  const writer = await RewritesWriter.open(out, {
    dataset: manifest.dataset.name,
    fingerprint,
    shard: manifest.shard,
    sources,
    createdWith,
  });
  const total = manifest.shard ? manifest.shard.to - manifest.shard.from : fingerprint.count;
  const progress = new Progress({ label: "check", total, unit: "captions" });
  try {
    const outputs = new Map(Object.keys(sources).map((name) => [name, knownOutputs(name, options.pairs)]));
    const check = new Check({ ...options, ...(comparison ? { comparison } : {}) }, writer, { outputs, total });
    const working = join(out, "working");
    const { captionsAtOnce } = options;
    const held = comparison?.scorer && captions.rowsWithImages ? new HeldImages(out) : undefined;
    for await (const batch of rewritesByCaption(folder, captions, { held, working, ...(captionsAtOnce ? { captionsAtOnce } : {}) })) {
      for (let at = 0; at < batch.length; at += imagesAtOnce) {
        if (signal?.aborted) {
          throw new InterruptedError(`Stopped. What was looked at is saved in ${out}.`, {
            mend: "Start the same command again: it goes on from there.",
          });
        }
        const some = batch.slice(at, at + imagesAtOnce);
        await check.look(some);
        progress.advance(some.length);
      }
    }
    await writer.finish();
    return check.summary;
  } finally {
    progress.finish();
    writer.close();
  }
}

/** Names and numbers of a second caption would count as made up. */
function requireSeconds(sources: Readonly<Record<string, RewriteSource>>, { secondFrom, path }: CaptionsInput): void {
  if (secondFrom !== undefined) return;
  const merged = Object.keys(sources).find((name) => promptForms.some((form) => form.merges && form.name === sources[name]!.prompt));
  if (merged === undefined) return;
  throw new UsageError(`Rewrites of source "${merged}" were merged of two captions, and ${path} gives one of them.`, {
    mend: "Say where the second captions are, as for `laclip rewrite`: with --second-column, or with --second-from.",
  });
}

/** The comparison with the mean that its policy needs: that of an earlier start, of an earlier look with the same model, or measured. */
async function withMean(
  { folder, captions, out }: CheckRewritesOptions,
  comparison: ImageComparison,
  count: number,
): Promise<ImageComparison> {
  const { policy, scorer } = comparison;
  if (policy.kind !== "weigh-pairs" || policy.mean !== undefined) return comparison;
  const sources = [...(isRewritesFolder(out) ? Object.values(readManifest(out).sources) : []), ...Object.values(folder.manifest.sources)];
  const known = sources.find(({ images }) => typeof images?.["mean"] === "number" && (!scorer || images["modelHash"] === scorer.modelHash));
  const images = imageFolderOf({ captions, comparison });
  const mean = (known?.images?.["mean"] as number | undefined) ?? (await meanCaptionCosine({ folder, captions, count, images, scorer }));
  return { ...comparison, policy: { ...policy, mean } };
}

function imageFolderOf({ captions, comparison }: Pick<CheckRewritesOptions, "captions" | "comparison">): string {
  return resolve(comparison?.images ?? dirname(captions.path));
}

function newSource(
  { images: before, ...source }: RewriteSource,
  checks: CheckSettings,
  comparison: ImageComparison | undefined,
): RewriteSource {
  const images = comparison ? recordPolicy(comparison.policy, measuredBy(comparison, before)) : before;
  return { ...source, checks: recordChecks(checks), ...(images ? { images } : {}) };
}

function measuredBy({ scorer }: ImageComparison, before: RewriteSource["images"]): { model: number | string; modelHash: number | string } {
  if (scorer) return scorer;
  if (before) return { model: before["model"]!, modelHash: before["modelHash"]! };
  throw new UsageError("These rewrites were never held against their images.", { mend: "Give a model folder (--model)." });
}

/** A folder that was begun with other checks would end up with flags of two kinds. */
function refuseOtherChecks(out: string, sources: Readonly<Record<string, RewriteSource>>): void {
  if (!isRewritesFolder(out)) return;
  const before = readManifest(out).sources;
  for (const [name, { checks, images }] of Object.entries(sources)) {
    const there = Object.hasOwn(before, name) ? before[name] : undefined;
    if (JSON.stringify([there?.checks, there?.images]) === JSON.stringify([checks, images])) continue;
    throw new DataError(`${out}: this rewrites folder was made with other checks, or another look at the images, than are asked for now.`, {
      mend: "Name a folder that does not exist yet, or give the same flags as before.",
    });
  }
}

function knownOutputs(name: string, pairs: readonly PairSource[] = []): ReadonlySet<string> {
  const all = [...pairs, ...knownSources];
  // "chatgpt.NAME" was written beside "chatgpt", with the same examples.
  const source = [name, name.replace(/\.[^.]*$/, "")].map((own) => all.find((candidate) => candidate.name === own)).find(Boolean);
  return new Set(source ? outputsOf(source).map(normalise) : []);
}

class Check {
  readonly summary: CheckSummary;
  readonly #options: CheckRewritesOptions;
  readonly #writer: RewritesWriter;
  readonly #outputs: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #tally = new ImageTally();
  readonly #skipped: SkippedImages;
  #unreadable = 0;
  readonly #imageFolder: string;

  /** @param outputs outputs of each source's example pairs, normalised; @param total captions that are expected */
  constructor(
    options: CheckRewritesOptions,
    writer: RewritesWriter,
    { outputs, total }: { outputs: ReadonlyMap<string, ReadonlySet<string>>; total: number },
  ) {
    this.#options = options;
    this.#writer = writer;
    this.#outputs = outputs;
    this.#skipped = new SkippedImages(total, options.comparison?.maximumSkipped ?? 0.01);
    this.#imageFolder = imageFolderOf(options);
    this.summary = { out: options.out, kept: 0, ...noCounts(), sources: {} };
    for (const source of outputs.keys()) this.summary.sources[source] = noCounts();
  }

  /** Looks at some captions and writes down what was found. */
  async look(captions: readonly RewrittenCaption[]): Promise<void> {
    const open = captions.filter(({ id, rewrites }) => {
      const done = rewrites.every(({ source }) => this.#writer.has(source, id));
      if (done) this.summary.kept += rewrites.length;
      return !done;
    });
    const checked = open.map((caption) => ({ caption, rewrites: this.#check(caption) }));
    const { comparison } = this.#options;
    const compared = comparison ? await this.#compare(checked, comparison) : checked;
    for (const { caption, rewrites } of compared) {
      const fresh = rewrites.filter(({ source, id }) => !this.#writer.has(source, id));
      await this.#writer.append(fresh);
      for (const rewrite of fresh) this.#count(rewrite, caption);
    }
    if (this.#options.comparison) this.summary.images = this.#tally.report;
  }

  /** The rewrites with the flags of all checks; flags that no check raises stay. */
  #check({ caption, second, rewrites }: RewrittenCaption): Rewrite[] {
    const { checks = defaultChecks, comparison } = this.#options;
    const said = new Set<string>();
    return rewrites.map((before) => {
      const rewrite = comparison ? withoutPolicy(comparison.scorer ? withoutFit(before) : before) : before;
      const { source, text, finish } = rewrite;
      const earlier = new Set(rewrite.flags.map(checkOfFlag));
      const plain = normalise(text);
      const outputs = this.#outputs.get(source)!;
      // Of what the writer alone could see, the earlier flags are all that is left.
      const subject = new CheckSubject(earlier.has("control-characters") ? `${text}\ufffd` : text, {
        caption,
        second,
        knownOutputs: earlier.has("copies-example") ? new Set([...outputs, plain]) : outputs,
        finish,
        shortened: earlier.has("caption-shortened"),
        duplicate: said.has(plain),
      });
      const own = flagsOf(subject, checks);
      if (isUsable({ flags: own })) said.add(plain);
      return { ...rewrite, flags: [...own, ...rewrite.flags.filter((flag) => !checkNames.has(checkOfFlag(flag)))] };
    });
  }

  async #compare(all: readonly CheckedCaption[], comparison: ImageComparison): Promise<CheckedCaption[]> {
    const measured = comparison.scorer ? await this.#measure(all, comparison.scorer) : all;
    return measured.map(({ caption, rewrites }) => {
      const weighed = rewrites.map((rewrite) => withCaptionWeight(comparison.policy, rewrite));
      const usable = weighed.filter((rewrite) => isUsable(rewrite) && rewrite.fit !== undefined);
      if (usable.length === 0) return { caption, rewrites: weighed };
      const judged = applyPolicy(comparison.policy, usable);
      this.#tally.add(judged);
      const changed = new Map(usable.map((rewrite, i) => [rewrite, judged[i]!]));
      return { caption, rewrites: weighed.map((rewrite) => changed.get(rewrite) ?? rewrite) };
    });
  }

  /** The usable rewrites with their fits, as far as there is an image to look at. */
  async #measure(all: readonly CheckedCaption[], scorer: ImageTextScorer): Promise<CheckedCaption[]> {
    const { policy } = this.#options.comparison!;
    const withImage = all.filter(({ caption, rewrites }) => {
      // Where captions are weighed too, those of which nothing else is left to train on matter most.
      const usable = policy.kind === "weigh-pairs" || rewrites.some(isUsable);
      const found = imageOf(this.#imageFolder, caption) !== undefined;
      if (usable && !found) this.#noImage(`${caption.id}: its row ${"stored" in caption ? "holds" : "names"} no image`);
      return usable && found;
    });
    const scores = await scorer.score(
      withImage.map(({ caption, rewrites }) => ({
        ...imageOf(this.#imageFolder, caption)!,
        texts: [caption.caption, ...rewrites.filter(isUsable).map(({ text }) => text)],
      })),
    );
    const found = new Map(withImage.map((one, i) => [one, scores[i]!]));
    return all.map((one) => {
      const score = found.get(one);
      if (score === undefined) return one;
      if ("unreadable" in score) {
        this.#noImage(score.unreadable);
        return one;
      }
      const usable = one.rewrites.filter(isUsable);
      const measured = withFits(usable, score.cosines);
      const changed = new Map(usable.map((rewrite, i) => [rewrite, measured[i]!]));
      const ofCaption = score.cosines[0]!;
      return { ...one, rewrites: one.rewrites.map((rewrite) => withCaptionCosine(changed.get(rewrite) ?? rewrite, ofCaption)) };
    });
  }

  #noImage(reason: string): void {
    this.#tally.addUnreadable();
    this.#skipped.add([{ row: this.#unreadable++, reason }]);
  }

  #count(rewrite: Rewrite, { rewrites }: RewrittenCaption): void {
    const before = rewrites.find(({ source, text }) => source === rewrite.source && text === rewrite.text);
    for (const counts of [this.summary, this.summary.sources[rewrite.source]!]) {
      counts.rewrites++;
      if (before && isUsable(before)) counts.usableBefore++;
      if (isUsable(rewrite)) counts.usable++;
      for (const flag of rewrite.flags) counts.flags[flag] = (counts.flags[flag] ?? 0) + 1;
    }
  }
}

interface CheckedCaption {
  readonly caption: RewrittenCaption;
  readonly rewrites: readonly Rewrite[];
}

const checkNames: ReadonlySet<string> = new Set(rewriteChecks.map(({ name }) => name));

function withoutFit({ fit: _before, captionCosine: _captionBefore, ...rewrite }: Rewrite): Rewrite {
  return rewrite;
}

function noCounts(): CheckCounts {
  return { rewrites: 0, usableBefore: 0, usable: 0, flags: {} };
}
