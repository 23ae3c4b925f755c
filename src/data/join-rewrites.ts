/**
 * A data set and its rewrites, joined by sample id.
 *
 * Never by line number: a row that is missing on one side would shift all that follow and train every image with another one's text.
 */
import { DataError, log, shortPercent } from "../support/index.ts";
import { imageExtensions } from "./caption-table.ts";
import type { Pairs } from "./pairs.ts";
import { isUsable, openRewritesFolder } from "./rewrites-folder.ts";
import { type CaptionsFingerprint, FingerprintBuilder } from "./captions-fingerprint.ts";
import { RewritesBuilder } from "./rewrites-column.ts";
import { rewriteKey } from "./rewrites-lookup.ts";
import { originalSource } from "./sample.ts";

/** What is taken from a rewrites folder, and how well it must fit. */
export interface JoinRewritesOptions {
  /** Sources to take, in this order. Default: all of the folder. */
  sources?: readonly string[] | undefined;
  /** Share of samples that must have at least one rewrite, 0..1. Default 0.99. */
  minimumMatched?: number | undefined;
  /** Accept ids that are mere numbers (`7`, `0001.jpg`) although the captions are not those that were rewritten. Default false. */
  otherCaptions?: boolean | undefined;
  /** See `openPairs`. */
  workFolder?: string | undefined;
}

/** What came of a join. */
export interface JoinReport {
  folder: string;
  sources: string[];
  /** Samples with at least one rewrite, and without any. */
  matched: number;
  unmatched: number;
  /** Rewrites taken, by source. */
  texts: Record<string, number>;
  /** Of all texts that were taken, with source, id and weight. */
  fingerprint: CaptionsFingerprint;
  /** Rewrites left out: of samples that this data set lacks; rejected by the checks or empty. */
  foreign: number;
  unusable: number;
}

/** Pairs with further captions, and how these were found. */
export interface JoinedPairs extends Pairs {
  rewrites: JoinReport;
}

/**
 * The pairs with the rewrites of a rewrites folder as further captions.
 *
 * Where the captions are not those that were rewritten, ids that are mere numbers are refused, others joined with a warning.
 *
 * @throws DataError when the folder is damaged, lacks a source, or belongs to another data set
 */
export async function joinRewrites(pairs: Pairs, folderPath: string, options: JoinRewritesOptions = {}): Promise<JoinedPairs> {
  const { minimumMatched = 0.99, otherCaptions = false } = options;
  const { samples } = pairs;
  const folder = await openRewritesFolder(folderPath);
  const sources = [...(options.sources ?? folder.sources)];
  const sourceNumbers = new Map(sources.map((source, i) => [source, i]));
  const builder = new RewritesBuilder(sources, { folder: options.workFolder });
  const fingerprint = new FingerprintBuilder();
  const report: Omit<JoinReport, "fingerprint"> = {
    folder: folderPath,
    sources,
    matched: 0,
    unmatched: samples.length,
    texts: Object.fromEntries(sources.map((source) => [source, 0])),
    foreign: 0,
    unusable: 0,
  };
  const foreignIds: string[] = [];
  for await (const batch of folder.read({ sources })) {
    for (const rewrite of batch) {
      const row = pairs.rowOf.get(rewrite.id);
      const { captionWeight } = rewrite;
      // Also beside a text that was rejected.
      if (row !== undefined && captionWeight !== undefined && builder.weighCaption(row, captionWeight)) {
        fingerprint.add(rewriteKey(rewrite.id, originalSource, captionWeight), "");
      }
      if (row === undefined) {
        report.foreign++;
        if (foreignIds.length < 3 && !foreignIds.includes(rewrite.id)) foreignIds.push(rewrite.id);
      } else if (!isUsable(rewrite) || rewrite.text.trim() === "") {
        report.unusable++;
      } else {
        const { id, source, text, weight = 1 } = rewrite;
        builder.add(row, sourceNumbers.get(source)!, text, weight);
        fingerprint.add(rewriteKey(id, source, weight), text);
        report.texts[source]! += 1;
      }
    }
  }
  const table = samples.withRewrites(builder);
  const missing: string[] = [];
  for (let row = 0; row < table.length; row++) {
    if (table.hasRewrites(row)) report.matched++;
    else if (missing.length < 3) missing.push(table.id(row));
  }
  report.unmatched = table.length - report.matched;
  const joined = { ...pairs, samples: table, rewrites: { ...report, fingerprint: fingerprint.finish() } };
  refuseOtherDataset(joined, minimumMatched, missing, foreignIds);

  const { dataset } = folder.manifest;
  if (dataset.hash !== pairs.fingerprint.hash || dataset.count !== pairs.fingerprint.count) {
    const differ = `were made for other captions ("${dataset.name}", ${dataset.count} of them) than those in ${pairs.file} (${pairs.fingerprint.count})`;
    if (!otherCaptions && idsAreNumbers(joined)) {
      throw new DataError(
        `${folderPath}: these rewrites ${differ}. The ids are mere numbers (such as ${JSON.stringify(samples.id(0))}): they fit any data set by accident.`,
        {
          mend: "Give the captions file that was rewritten, or ids that say more than a row's number. If the ids do mean the same, allow it (--other-captions).",
        },
      );
    }
    log.warn(
      `${folderPath}: these rewrites ${differ}. They are joined by id all the same: that is right for a part or another version of one data set, and wrong for two data sets whose ids are alike.`,
    );
  }
  if (report.unmatched > 0)
    log.warn(`${folderPath}: ${report.unmatched} of ${samples.length} samples have no rewrite and keep their caption.`);
  return joined;
}

function refuseOtherDataset({ samples, file, rewrites }: JoinedPairs, minimum: number, missing: string[], foreign: string[]): void {
  const { matched, folder, sources } = rewrites;
  if (matched >= samples.length * minimum) return;
  const others =
    rewrites.foreign > 0 ? ` The folder has rewrites of other ids, such as ${foreign.map((id) => JSON.stringify(id)).join(", ")}.` : "";
  const { unusable } = rewrites;
  const other = rewrites.foreign > matched || (matched === 0 && unusable === 0);
  const rejected = !other && unusable > 0;
  const verdict = other
    ? " They belong to another data set."
    : rejected
      ? ` ${unusable} rewrites were rejected as not fit for training.`
      : "";
  throw new DataError(
    `${folder}: ${matched} of ${samples.length} samples of ${file} have a rewrite there (${shortPercent(matched / samples.length, 3)}), expected at least ${shortPercent(minimum)}.${verdict}\n` +
      `  First ids without one: ${missing.map((id) => JSON.stringify(id)).join(", ")}.${others}`,
    {
      mend: other
        ? `Name the folder with the rewrites of this data set, or make one: \`laclip rewrite ${file} --out ANOTHER_FOLDER ...\`.`
        : rejected
          ? `Look at them with \`laclip rewrites stats ${folder}\`; rewrite with another model, or with --retries, into a new folder, or allow gaps (--min-matched).`
          : `Finish the job with \`laclip rewrite ${file} --out ${folder} --sources ${sources.join(",")}\`, or allow gaps (--min-matched).`,
    },
  );
}

/** Digits with what may stand between them, and the extension of an image file. */
const mereNumber = /^[\s._-]*\d[\d\s._-]*(?:\.([a-z]+))?$/i;
/** Ids looked at, from all over the table: one sorted by folder begins with many of the same folder. */
const looked = 100;

/**
 * Whether most ids say nothing but a number, as `7`, `000000001.jpg` and `images/0001.png` do: then rewrites of any data set would
 * seem to fit. Folders count where they tell samples apart.
 */
function idsAreNumbers({ samples }: Pairs): boolean {
  const count = Math.min(samples.length, looked);
  const names = new Set<string>();
  let numbers = 0;
  for (let i = 0; i < count; i++) {
    const parts = samples.id(Math.floor((i * samples.length) / count)).split(/[/\\]/);
    const found = mereNumber.exec(parts.pop()!);
    if (found && (found[1] === undefined || imageExtensions.has(`.${found[1].toLowerCase()}`))) numbers++;
    names.add(parts.filter((part) => !mereNumber.test(part)).join("/"));
  }
  return numbers * 2 > count && names.size === 1;
}
