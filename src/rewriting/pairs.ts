/**
 * The example pairs that teach a language model, in its prompt, how to rewrite a caption (LaCLIP, section 3.1).
 *
 * A source is a manner of rewriting: 16 pairs of a caption and its rewrite, or 16 groups of captions of one scene, from which a
 * pair is drawn. Three pairs of one source go into each prompt. The four built-in sources were written for this project in the
 * manner of the paper's four; a file can bring others.
 */
import { basename } from "node:path";
import { z } from "zod";
import { Random, UsageError, DataError, invariant, nearest, readJson, sha256 } from "../support/index.ts";
import { bardPairs } from "./pairs/bard.ts";
import { chatgptPairs } from "./pairs/chatgpt.ts";
import { humanPairs } from "./pairs/human.ts";
import { mscocoGroups } from "./pairs/mscoco.ts";

/** A caption and its rewrite. */
export type Pair = readonly [input: string, output: string];

/** A pair as it stands in a prompt, with a name by which it is found again: "bard/7", or "mscoco/3:5>2" for the fifth and second caption of group 3. */
export interface Example {
  readonly id: string;
  readonly input: string;
  readonly output: string;
}

/** A manner of rewriting: pairs, or groups of captions that describe one scene. */
export interface PairSource {
  readonly name: string;
  /** Where the pairs come from, in words; kept in the rewrites folder. */
  readonly provenance: string;
  readonly pairs?: readonly Pair[];
  readonly groups?: readonly (readonly string[])[];
}

/** Examples in a prompt, as in the paper's code. */
export const examplesPerPrompt = 3;

const written = (manner: string): string => `16 example ${manner}, written for laclip`;

/** The paper's four sources, in its order. */
export const builtInSources: readonly PairSource[] = [
  { name: "chatgpt", provenance: written("pairs in the manner of ChatGPT"), pairs: chatgptPairs },
  { name: "bard", provenance: written("pairs in the manner of Bard"), pairs: bardPairs },
  { name: "mscoco", provenance: written("groups of five captions of one scene in the manner of MSCOCO"), groups: mscocoGroups },
  { name: "human", provenance: written("pairs in the manner of a person who looks at the picture"), pairs: humanPairs },
];

/**
 * The sources of these names.
 * @param extra sources of the user's own; they go before built-in ones of the same name
 * @throws UsageError for a name that there is no source for
 */
export function chooseSources(names: readonly string[], extra: readonly PairSource[] = []): PairSource[] {
  const all = [...extra, ...builtInSources];
  const known = [...new Set(all.map(({ name }) => name))];
  return [...new Set(names)].map((name) => {
    const source = all.find((candidate) => candidate.name === name);
    if (source) return source;
    throw new UsageError(`There is no source of example pairs named "${name}". There are: ${known.join(", ")}.`, {
      mend: `Did you mean "${nearest(name, known, 1)[0]}"? Pairs of your own come with --pairs FILE.`,
    });
  });
}

/**
 * Three examples for a caption and a seed for its sampling: the same for the same run seed, caption id, source and attempt, whatever
 * was drawn before it and on whichever machine.
 * @param attempt 0, or the how-manieth time this caption is rewritten anew since what came was rejected
 */
export function drawExamples(
  source: PairSource,
  runSeed: number,
  captionId: string,
  attempt = 0,
): { examples: readonly Example[]; seed: number } {
  const random = Random.of("rewrite", runSeed, source.name, captionId, ...(attempt === 0 ? [] : [attempt]));
  const sets = boundedSets(source, runSeed);
  const examples = sets ? random.choice(sets) : sampleExamples(source, random);
  return { examples, seed: random.bits() >>> 1 };
}

/** Most sets of three examples that a run draws from; 16 pairs give 3,360. */
const mostSets = 4096;

const drawnSets = new WeakMap<PairSource, Map<number, readonly (readonly Example[])[]>>();

/**
 * Sources with very many sets (16 groups of five captions give 27 million) would hardly ever use one twice, and a prompt's beginning
 * could never be computed for several captions at once: a run draws that many sets first, and takes one of these for each caption.
 */
function boundedSets(source: PairSource, runSeed: number): readonly (readonly Example[])[] | undefined {
  const choices = source.groups?.map((group) => group.length * (group.length - 1)) ?? source.pairs!.map(() => 1);
  if (orderedSets(choices) <= mostSets) return undefined;
  let bySeed = drawnSets.get(source);
  if (!bySeed) drawnSets.set(source, (bySeed = new Map()));
  let sets = bySeed.get(runSeed);
  if (!sets) {
    const random = Random.of("example sets", runSeed, source.name);
    bySeed.set(runSeed, (sets = Array.from({ length: mostSets }, () => sampleExamples(source, random))));
  }
  return sets;
}

/** Number of ordered triples of different items, where item i can be used in `choices[i]` ways. */
function orderedSets(choices: readonly number[]): number {
  const sum = (power: number): number => choices.reduce((total, count) => total + count ** power, 0);
  return sum(1) ** 3 - 3 * sum(1) * sum(2) + 2 * sum(3);
}

function sampleExamples(source: PairSource, random: Random): Example[] {
  const indices = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  if (source.groups) {
    return random.sample(indices(source.groups.length), examplesPerPrompt).map((g) => {
      const group = source.groups![g]!;
      const [from, to] = random.sample(indices(group.length), 2) as [number, number];
      return { id: `${source.name}/${g + 1}:${from + 1}>${to + 1}`, input: group[from]!, output: group[to]! };
    });
  }
  invariant(source.pairs, `source ${source.name} has neither pairs nor groups`);
  return random.sample(indices(source.pairs.length), examplesPerPrompt).map((p) => {
    const [input, output] = source.pairs![p]!;
    return { id: `${source.name}/${p + 1}`, input, output };
  });
}

/** Every text that a source may put behind an arrow: what a model may not simply repeat. */
export function outputsOf(source: PairSource): readonly string[] {
  return source.groups ? source.groups.flat() : source.pairs!.map(([, output]) => output);
}

/** A hash of all a source can put into a prompt. */
export function hashOfPairs(source: PairSource): string {
  return sha256(JSON.stringify([source.pairs ?? null, source.groups ?? null]));
}

const text = z.string().trim().min(1);
const fileSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]*$/i, "expected letters, digits, dots and dashes"),
    label: z.string().optional(),
    pairs: z
      .array(z.strictObject({ input: text, output: text }))
      .min(examplesPerPrompt)
      .optional(),
    groups: z.array(z.array(text).min(2)).min(examplesPerPrompt).optional(),
  })
  .refine(({ pairs, groups }) => (pairs === undefined) !== (groups === undefined), "expected either pairs or groups");

/**
 * Reads a source, or a list of them, from a JSON file:
 * `{"name": "mine", "label": "written by ...", "pairs": [{"input": "...", "output": "..."}, ...]}`
 * or, with captions of one scene, `{"name": "scenes", "groups": [["...", "..."], ...]}`.
 * @throws DataError when the file is not of that form, or a text holds a line break or an arrow
 */
export function readPairsFile(path: string): PairSource[] {
  const value = readJson(path, "pairs file");
  return (Array.isArray(value) ? value : [value]).map((entry) => {
    const found = fileSchema.safeParse(entry);
    if (!found.success) {
      const issue = found.error.issues[0]!;
      throw new DataError(`${path}: this is no file of example pairs: ${issue.path.join(".") || "top level"}: ${issue.message}.`, {
        mend: `Expected {"name": "...", "pairs": [{"input": "...", "output": "..."}]} with at least ${examplesPerPrompt} pairs, or "groups": [["...", "..."]].`,
      });
    }
    const { name, label, pairs, groups } = found.data;
    for (const line of [...(pairs ?? []).flatMap(({ input, output }) => [input, output]), ...(groups ?? []).flat()]) {
      if (/[\r\n\v\f\u0085\u2028\u2029]|=>/.test(line))
        throw new DataError(
          `${path}: a pair of "${name}" holds a line break or "=>", which the prompt uses itself: ${JSON.stringify(line.slice(0, 80))}.`,
        );
    }
    const provenance = label ?? `example pairs from ${basename(path)}`;
    return {
      name,
      provenance,
      ...(pairs ? { pairs: pairs.map(({ input, output }) => [input, output] as const) } : {}),
      ...(groups ? { groups } : {}),
    };
  });
}
