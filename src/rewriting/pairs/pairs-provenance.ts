/**
 * Where example pairs come from: who wrote them, from which captions, when. Kept in the pairs file, and in words in every rewrites
 * folder that was written with them, since what a model imitates decides what it writes.
 */
import { z } from "zod";

const text = z.string().trim().min(1);

/** Which captions the inputs of the pairs were taken from. */
const captionsSchema = z.strictObject({
  /** Name of the file. */
  name: text,
  /** Captions in it. */
  count: z.number().int().nonnegative(),
  /** Fingerprint of its captions, as in a rewrites folder; of an annotation file, the SHA-256 of its bytes. */
  hash: text,
});

const common = {
  captions: captionsSchema.optional(),
  /** When, as an ISO date. */
  created: z.iso.datetime({ offset: true }).or(z.iso.date()).optional(),
  /** Program and version. */
  createdWith: text.optional(),
};

/** Origin of a source, by who wrote its pairs. */
export const provenanceSchema = z.discriminatedUnion("by", [
  z.strictObject({ by: z.literal("people"), author: text, ...common }),
  z.strictObject({
    by: z.literal("model"),
    /** Name under which the server or file offers the model. */
    model: text,
    /** Hash of the model's file; "" for a server's. */
    modelHash: z.string().optional(),
    /** "chatgpt", "bard" or "own". */
    style: text,
    /** What the model was told, word for word. */
    instruction: text,
    sampling: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
    seed: z.number().int().nonnegative(),
    ...common,
  }),
  z.strictObject({
    by: z.literal("annotations"),
    /** Name of the data set as the file says it. */
    dataset: text,
    seed: z.number().int().nonnegative(),
    ...common,
  }),
]);

/** Origin of a source, by who wrote its pairs: people, a model, or the annotators of a data set. */
export type PairsProvenance = z.infer<typeof provenanceSchema>;

/** An origin in words: "16 example pairs written by the model qwen (chatgpt style, ...) from captions of cc3m.csv, 2026-11-21". */
export function describeProvenance(provenance: PairsProvenance, what: string): string {
  const { captions, created } = provenance;
  const from = captions && `from ${captions.name} (${captions.count} captions, ${captions.hash.slice(0, 12)})`;
  return [`${what} ${writtenBy(provenance)}`, from, created && `on ${created.slice(0, 10)}`]
    .filter((part) => part !== undefined)
    .join(", ");
}

function writtenBy(provenance: PairsProvenance): string {
  if (provenance.by === "people") return `written by ${provenance.author}`;
  if (provenance.by === "annotations") return `of ${provenance.dataset}, drawn with seed ${provenance.seed}`;
  const { model, style, instruction, sampling, seed } = provenance;
  const settings = Object.entries({ ...sampling, seed }).map(([name, value]) => `${name} ${value}`);
  return `written by the model ${model} (${settings.join(", ")}), told in ${style === "own" ? "words of the user's own" : `the ${style} style`}: "${instruction}"`;
}
