/**
 * A run over the captions in two halves, for models that answer in batches: the requests into files, and hours later the answers
 * from files into the rewrites folder.
 *
 * The rewrites folder is begun with the first half, so that its manifest says how every text will have been made, and the second half
 * is refused if that has changed. What was not answered is in the next batch.
 */
import { basename, join } from "node:path";
import { z } from "zod";
import { readManifest } from "../../data/index.ts";
import { DataError, readJson, writeFileAtomic } from "../../support/index.ts";
import { BatchResults } from "../engines/batch-results.ts";
import { BatchAnswers, BatchRequests, batchRecord, isBatch } from "../engines/openai-batch.ts";
import type { BatchEngineOptions } from "../engines/openai-batch.ts";
import { defaultForm } from "../prompts/prompt-forms.ts";
import { rewriteCaptions } from "../rewrite.ts";
import type { RewriteOptions, RewriteSummary } from "../rewrite.ts";

/** A run without its engine: each caption is asked for once. */
export type BatchRunOptions = Omit<RewriteOptions, "engine" | "retries" | "maximumFailed">;

const recordSchema = z.object({
  format: z.literal("laclip-batch"),
  version: z.literal(1),
  createdWith: z.string(),
  /** The rewrites folder that the answers are for. */
  out: z.string(),
  model: z.string(),
  prompt: z.string(),
  seed: z.number().int(),
  /** Per source, the hash of the prompt's form and all its example pairs. */
  promptHashes: z.record(z.string(), z.string()),
  sampling: z.record(z.string(), z.unknown()),
  requests: z.number().int().nonnegative(),
  files: z.array(z.string()),
  /** Whatever else the second half needs to know; its caller's business. */
  settings: z.record(z.string(), z.unknown()),
});

/** What a batch was made for; `batch.json` in its folder. */
export type BatchRecord = z.infer<typeof recordSchema>;

/**
 * Writes the requests of a run into files: those that its rewrites folder has no answer for.
 * @param batch.folder where the files go; new, or left by a start that was stopped
 * @param batch.settings kept in the record, for `readBatch`'s caller
 * @throws InterruptedError when stopped; the same command begins anew
 */
export async function writeBatch(
  run: BatchRunOptions,
  { folder, settings = {}, ...engineOptions }: BatchEngineOptions & { folder: string; settings?: Readonly<Record<string, unknown>> },
): Promise<{ record: BatchRecord; summary: RewriteSummary }> {
  const engine = new BatchRequests(folder, engineOptions);
  try {
    const summary = await rewriteCaptions({ ...run, engine });
    await engine.finish();
    const { sources } = readManifest(run.out);
    const record: BatchRecord = {
      format: "laclip-batch",
      version: 1,
      createdWith: run.createdWith,
      out: run.out,
      model: engineOptions.model,
      prompt: (run.form ?? defaultForm).name,
      seed: run.seed,
      promptHashes: Object.fromEntries(summary.sources.map((name) => [name, sources[name]!.promptHash])),
      sampling: (await engine.describe()).sampling,
      requests: engine.count,
      files: engine.files.map((file) => basename(file)),
      settings,
    };
    writeFileAtomic(join(folder, batchRecord), `${JSON.stringify(record, undefined, 2)}\n`);
    return { record, summary };
  } finally {
    await engine.close();
  }
}

/** The record of a folder of requests. @throws DataError when there is none */
export function readBatchRecord(folder: string): BatchRecord {
  if (!isBatch(folder)) {
    throw new DataError(`${folder}: there is no ${batchRecord} in this folder.`, {
      mend: "Name the folder that `laclip batch write` has written to its end.",
    });
  }
  const file = join(folder, batchRecord);
  const found = recordSchema.safeParse(readJson(file, "record of a batch"));
  if (found.success) return found.data;
  const issue = found.error.issues[0]!;
  throw new DataError(`${file}: this is no record of a batch: ${issue.path.join(".") || "top level"}: ${issue.message}.`);
}

/** What came of the answers, beside what a run says of itself. */
export interface BatchReport extends RewriteSummary {
  /** Requests that were answered with an error or with no completion; `failures` says what the first few were. */
  failed: number;
  failures: string[];
  /** Requests without any result. */
  missing: number;
  /** Results that answer none of the open requests: of another batch, or brought in before. */
  unused: number;
}

/**
 * Brings answers into the rewrites folder, through the same checks as those of a server.
 * @param run the same as for `writeBatch`
 * @param batch.results files of results, and of errors if there are any
 * @throws DataError when a file is damaged, when nothing in it answers this run, or when the run is not the one of the requests
 * @throws InterruptedError when stopped; the same command goes on
 */
export async function readBatch(
  run: BatchRunOptions,
  { results: paths, ...engineOptions }: BatchEngineOptions & { results: readonly string[] },
): Promise<BatchReport> {
  const results = await BatchResults.open(paths);
  const engine = new BatchAnswers(results, engineOptions);
  try {
    const summary = await rewriteCaptions({ ...run, engine });
    const { answered, failed, failures, missing } = engine;
    const used = answered + failed;
    if (used === 0 && summary.kept === 0)
      throw new DataError(`${paths.join(", ")}: none of the ${results.count} results answers a request of this batch.`, {
        mend: "Give the results of this batch's requests.",
      });
    return { ...summary, failed, failures, missing, unused: results.count - used };
  } finally {
    await engine.close();
  }
}
