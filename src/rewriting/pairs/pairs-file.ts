/**
 * Example pairs on disk: a JSON file with one source or a list of them.
 *
 *   [{ "name": "mine", "provenance": { "by": "people", "author": "..." }, "pairs": [{ "input": "...", "output": "..." }] },
 *    { "name": "scenes", "label": "free words", "groups": [["a caption", "another of the same image"]] },
 *    { "name": "merged", "pairs": [{ "input": "an alt-text", "second": "a machine's caption", "output": "..." }] }]
 *
 * A file is made to be edited by hand, so that every fault is told with its place; what is in it already is never lost.
 */
import { accessSync, constants, existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { z } from "zod";
import { DataError, UsageError, explainWriteFailure, readJson, writeFileAtomic } from "../../support/index.ts";
import { describeProvenance, provenanceSchema } from "./pairs-provenance.ts";
import type { PairsProvenance } from "./pairs-provenance.ts";
import { examplesPerPrompt } from "./pairs.ts";
import type { PairSource } from "./pairs.ts";
import { exampleFault } from "../prompts/prompt.ts";

/** What a source may be called: it names files and columns, too. */
const sourceName = /^[a-z0-9][a-z0-9._-]*$/i;

const text = z.string().superRefine((value, context) => {
  const fault = exampleFault(value.trim());
  if (fault !== undefined) context.addIssue({ code: "custom", message: `this text ${fault}: ${JSON.stringify(value.slice(0, 80))}` });
});

const sourceSchema = z
  .strictObject({
    name: z.string().regex(sourceName, "expected letters, digits, dots and dashes"),
    label: z.string().optional(),
    provenance: provenanceSchema.optional(),
    pairs: z
      .array(z.strictObject({ input: text, second: text.optional(), output: text }))
      .min(examplesPerPrompt)
      .optional(),
    groups: z.array(z.array(text).min(2)).min(examplesPerPrompt).optional(),
  })
  .refine(({ pairs, groups }) => (pairs === undefined) !== (groups === undefined), "expected either pairs or groups")
  .refine(({ pairs = [] }) => new Set(pairs.map(({ second }) => second === undefined)).size < 2, {
    path: ["pairs"],
    message: "some pairs have a second caption and some have none; expected all or none",
  });

type FileSource = z.infer<typeof sourceSchema>;

/** A source of example pairs with the record of where it comes from, where its file has one. */
export interface RecordedSource extends PairSource {
  readonly record?: PairsProvenance;
}

/**
 * Reads the sources of a pairs file.
 * @throws DataError naming the source and the field when the file is not of that form, a text could not stand in a prompt, two
 *   sources have one name, or there is none
 */
export function readPairsFile(path: string): RecordedSource[] {
  const entries = readEntries(path);
  if (entries.length === 0) throw new DataError(`${path}: there is no source of example pairs in this file.`);
  return entries.map(({ entry }) => toSource(entry, path));
}

/** What `writeSource` does with a source of the same name. */
export interface WriteSourceOptions {
  /** Put the new one in its place instead of refusing. Default false. */
  replace?: boolean;
}

/**
 * Refuses a name or a file that `writeSource` would refuse, before work is spent on it.
 * @throws UsageError for a name that is taken or not allowed; DataError for a file that is no pairs file; LaclipError where nothing
 *   can be written
 */
export function requireWritable(path: string, name: string, { replace = false }: WriteSourceOptions = {}): void {
  if (!sourceName.test(name)) {
    throw new UsageError(`A source of example pairs can't be named ${JSON.stringify(name)}.`, {
      mend: "Use letters, digits, dots and dashes, beginning with a letter or digit.",
    });
  }
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch (error) {
    throw explainWriteFailure(error, path);
  }
  if (existsSync(path) && readEntries(path).some(({ entry }) => entry.name === name) && !replace) {
    throw new UsageError(`${path} has a source named "${name}" already.`, {
      mend: "Choose another --name, or put the new pairs in its place with --replace.",
    });
  }
}

/**
 * Adds a source to a pairs file, or makes the file; the other sources in it stay as they are.
 * @throws UsageError, DataError as `requireWritable`; DataError also for pairs that could not be read back
 */
export function writeSource(path: string, source: Omit<RecordedSource, "provenance">, options: WriteSourceOptions = {}): void {
  requireWritable(path, source.name, options);
  const { name, record, pairs, groups, triples } = source;
  const entry = {
    name,
    ...(record ? { provenance: record } : {}),
    ...(pairs ? { pairs: pairs.map(([input, output]) => ({ input, output })) } : {}),
    ...(triples ? { pairs: triples.map(([input, second, output]) => ({ input, second, output })) } : {}),
    ...(groups ? { groups } : {}),
  };
  checkEntry(entry, path, 0);
  const others = existsSync(path) ? readEntries(path) : [];
  const at = others.findIndex((other) => other.entry.name === name);
  const entries = others.map(({ raw }) => raw);
  entries.splice(at < 0 ? entries.length : at, at < 0 ? 0 : 1, entry);
  writeFileAtomic(path, `${JSON.stringify(entries, undefined, 2)}\n`);
}

/** The entries of a file, checked, and as they stand there. */
function readEntries(path: string): { entry: FileSource; raw: unknown }[] {
  const value = readJson(path, "pairs file");
  const entries = (Array.isArray(value) ? value : [value]).map((raw: unknown, i) => ({ entry: checkEntry(raw, path, i), raw }));
  const seen = new Set<string>();
  for (const { entry } of entries) {
    if (seen.has(entry.name)) throw new DataError(`${path}: two sources are named "${entry.name}".`, { mend: "Give one another name." });
    seen.add(entry.name);
  }
  return entries;
}

function checkEntry(raw: unknown, path: string, index: number): FileSource {
  const checked = sourceSchema.safeParse(raw);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  const { name } = (typeof raw === "object" && raw !== null ? raw : {}) as { name?: unknown };
  const where = typeof name === "string" ? `source "${name}"` : `source ${index + 1}`;
  const field = issue!.path.length > 0 ? `, field ${issue!.path.join(".")}` : "";
  throw new DataError(`${path}: ${where}${field}: ${issue!.message}.`, {
    mend: `Expected {"name": "...", "pairs": [{"input": "...", "output": "..."}]} with at least ${examplesPerPrompt} pairs, or "groups": [["...", "..."]]. See docs/pairs.md.`,
  });
}

function toSource({ name, label, provenance: record, pairs, groups }: FileSource, path: string): RecordedSource {
  const merging = pairs?.[0]?.second !== undefined;
  const what = groups ? `${groups.length} groups of captions` : `${pairs!.length} example ${merging ? "triples" : "pairs"}`;
  const trimmed = (value: string): string => value.trim();
  return {
    name,
    provenance: label ?? (record ? describeProvenance(record, what) : `example pairs from ${basename(path)}`),
    ...(record ? { record } : {}),
    ...(groups ? { groups: groups.map((group) => group.map(trimmed)) } : {}),
    ...(pairs && !merging ? { pairs: pairs.map(({ input, output }) => [trimmed(input), trimmed(output)] as const) } : {}),
    ...(pairs && merging
      ? { triples: pairs.map(({ input, second, output }) => [trimmed(input), trimmed(second!), trimmed(output)] as const) }
      : {}),
  };
}
