/**
 * What a pool of machines is to write, in a form that travels: everything that decides a text, and nothing that belongs to one machine.
 *
 * The plan lies once beside the queue, and each job names it and a shard. A worker trusts none of it: the captions that it finds
 * must have the plan's fingerprint, and what it writes is held against the shards that are there.
 */
import { z } from "zod";
import type { CaptionsFingerprint } from "../../data/index.ts";
import { DataError, sha256 } from "../../support/index.ts";
import type { CaptionsOptions } from "../captions/captions-input.ts";
import type { PairSource } from "../pairs/pairs.ts";
import { findPromptForm } from "../prompts/prompt-forms.ts";
import type { RewriteOptions } from "../rewrite.ts";

/** The settings of a run that are the same on all machines. */
export type SharedSettings = Omit<RewriteOptions, "captions" | "out" | "engine" | "sources" | "shard" | "createdWith" | "signal">;

/** What is to be written. */
export interface RewritePlan {
  /** Path of the captions, as enqueued; a worker may see them elsewhere. */
  readonly captions: string;
  /** Which column is which. */
  readonly columns: CaptionsOptions;
  /** A rewrites folder and one of its sources with second captions, for forms of the prompt that merge two. */
  readonly second?: { readonly folder: string; readonly source: string } | undefined;
  readonly fingerprint: CaptionsFingerprint;
  /** The folder of the shards, as enqueued. */
  readonly out: string;
  /** Number of shards. */
  readonly shards: number;
  /** With all their example pairs, for engines that use examples. */
  readonly sources: readonly PairSource[];
  /** The flag that made these sources others than the usual ones, such as "--sources human": an engine that uses no examples would not heed it. */
  readonly exampleFlag?: string | undefined;
  /** Languages to translate into and back, in place of the sources. */
  readonly backTranslate?: readonly string[] | undefined;
  readonly settings: SharedSettings;
  /** Who is to write, where a worker does not say: a value of `--llm`, and which of a server's models. */
  readonly llm?: string | undefined;
  readonly model?: string | undefined;
}

const storedSchema = z.object({
  version: z.literal(1),
  captions: z.string(),
  columns: z.record(z.string(), z.string()),
  second: z.object({ folder: z.string(), source: z.string() }).optional(),
  fingerprint: z.object({ count: z.number(), hash: z.string() }),
  out: z.string(),
  shards: z.number().int().positive(),
  sources: z.array(z.looseObject({ name: z.string(), provenance: z.string() })),
  exampleFlag: z.string().optional(),
  backTranslate: z.array(z.string()).optional(),
  settings: z.looseObject({
    seed: z.number().int(),
    form: z.string().optional(),
    checks: z.array(z.tuple([z.string(), z.looseObject({ verdict: z.enum(["reject", "flag", "off"]) })])).optional(),
  }),
  llm: z.string().optional(),
  model: z.string().optional(),
});

/**
 * The plan as text, and a name that is the same for the same plan. Who writes is no part of the name: that may be put right later. Nor is
 * by which flag the sources came.
 */
export function storePlan(plan: RewritePlan): { id: string; text: string } {
  const { llm, model, exampleFlag, ...decisive } = plan;
  const { form, checks } = plan.settings;
  const settings = { ...plan.settings, form: form?.name, checks: checks && [...checks] };
  return {
    id: sha256(JSON.stringify({ ...decisive, settings })).slice(0, 16),
    text: JSON.stringify({ version: 1, ...decisive, settings, exampleFlag, llm, model }),
  };
}

/**
 * The plan back from its text.
 * @throws DataError when it is damaged, or was stored by another version of this program
 */
export function readPlan(text: string | null, name: string): RewritePlan {
  if (text === null) {
    throw new DataError(`the plan ${name} of this shard is gone from the queue.`, {
      mend: "Enqueue the captions again: what is written is kept.",
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const found = storedSchema.safeParse(value);
  if (!found.success) {
    throw new DataError(`the plan ${name} in the queue is not one that this version of the program knows.`, {
      mend: "Use the same version of laclip on all machines, and enqueue the captions again.",
    });
  }
  const { version: _version, settings, ...plan } = found.data;
  const { form, checks, ...others } = settings;
  return {
    ...plan,
    settings: {
      ...others,
      ...(form === undefined ? {} : { form: findPromptForm(form) }),
      ...(checks ? { checks: new Map(checks) } : {}),
    },
  };
}
