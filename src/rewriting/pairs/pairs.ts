/**
 * The example pairs that teach a language model, in its prompt, how to rewrite a caption (LaCLIP, section 3.1).
 *
 * A source is a manner of rewriting: 16 pairs of a caption and its rewrite, or 16 groups of captions of one scene, from which a
 * pair is drawn, or 16 triples that show how two captions of one image are merged. Three examples of one source go into each
 * prompt. The built-in sources were written for this project, four of them in the manner of the paper's four; a file can bring
 * others (pairs-file.ts).
 */
import { Random, UsageError, invariant, nearest, sha256 } from "../../support/index.ts";
import { bardPairs } from "./built-in/bard.ts";
import { chatgptPairs } from "./built-in/chatgpt.ts";
import { fusionTriples } from "./built-in/fusion.ts";
import { humanPairs } from "./built-in/human.ts";
import { mscocoGroups } from "./built-in/mscoco.ts";

/** A caption and its rewrite. */
export type Pair = readonly [input: string, output: string];

/** A caption, another caption of the same image, and both merged into one. */
export type Triple = readonly [input: string, second: string, output: string];

/** A pair as it stands in a prompt, with a name by which it is found again: "bard/7", or "mscoco/3:5>2" for the fifth and second caption of group 3. */
export interface Example {
  readonly id: string;
  readonly input: string;
  readonly output: string;
  /** Another caption of the same image, in examples of merging. */
  readonly second?: string | undefined;
}

/** A manner of rewriting: pairs, groups of captions that describe one scene, or triples; one of the three is there. */
export interface PairSource {
  readonly name: string;
  /** Where the pairs come from, in words; kept in the rewrites folder. */
  readonly provenance: string;
  readonly pairs?: readonly Pair[];
  readonly groups?: readonly (readonly string[])[];
  readonly triples?: readonly Triple[];
}

/** Examples in a prompt, as in the paper's code. */
export const examplesPerPrompt = 3;

const written = (manner: string): string => `16 example ${manner}, written for laclip`;

/** The paper's four sources, in its order: those that are used where none is named. */
export const builtInSources: readonly PairSource[] = [
  { name: "chatgpt", provenance: written("pairs in the manner of ChatGPT"), pairs: chatgptPairs },
  { name: "bard", provenance: written("pairs in the manner of Bard"), pairs: bardPairs },
  { name: "mscoco", provenance: written("groups of five captions of one scene in the manner of MSCOCO"), groups: mscocoGroups },
  { name: "human", provenance: written("pairs in the manner of a person who looks at the picture"), pairs: humanPairs },
];

/** Merges an alt-text with the caption that a captioning model gave its image, as VeCLIP and CapsFusion do. */
export const fusionSource: PairSource = {
  name: "fusion",
  provenance: written("triples of an alt-text, a machine's caption and both in one"),
  triples: fusionTriples,
};

/** All sources that need no file. */
export const knownSources: readonly PairSource[] = [...builtInSources, fusionSource];

/** Whether a source shows how two captions are merged, and so needs a form of the prompt that merges. */
export function merges(source: PairSource): boolean {
  return source.triples !== undefined;
}

/**
 * The sources of these names.
 * @param extra sources of the user's own; they go before built-in ones of the same name
 * @throws UsageError for a name that there is no source for
 */
export function chooseSources(names: readonly string[], extra: readonly PairSource[] = []): PairSource[] {
  const all = [...extra, ...knownSources];
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
 * was drawn before it and on whichever machine. The same examples come as the same list.
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
  const choices = source.groups?.map((group) => group.length * (group.length - 1)) ?? (source.triples ?? source.pairs)!.map(() => 1);
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

/** The sets of examples that were drawn from a source, each once, by the places of their parts. */
interface DrawnExamples {
  /** 0, 1, 2 ...: a number for each pair, group or triple. */
  readonly numbers: readonly number[];
  readonly sets: Map<string, readonly Example[]>;
}

const drawnExamples = new WeakMap<PairSource, DrawnExamples>();

function sampleExamples(source: PairSource, random: Random): readonly Example[] {
  let drawn = drawnExamples.get(source);
  if (!drawn) {
    const items = source.groups ?? source.triples ?? source.pairs;
    invariant(items, `source ${source.name} has no examples`);
    drawnExamples.set(source, (drawn = { numbers: Array.from(items.keys()), sets: new Map() }));
  }
  const chosen = random.sample(drawn.numbers, examplesPerPrompt);
  const places = source.groups ? chosen.map((g) => [g, ...random.sample(Array.from(source.groups![g]!.keys()), 2)]) : chosen;
  const key = places.join(";");
  let set = drawn.sets.get(key);
  if (!set) drawn.sets.set(key, (set = chosen.map((item, i) => example(source, item, places[i]))));
  return set;
}

function example({ name, groups, triples, pairs }: PairSource, item: number, place: number | readonly number[] | undefined): Example {
  if (groups) {
    const [from, to] = (place as readonly number[]).slice(1) as [number, number];
    return { id: `${name}/${item + 1}:${from + 1}>${to + 1}`, input: groups[item]![from]!, output: groups[item]![to]! };
  }
  const id = `${name}/${item + 1}`;
  if (triples) {
    const [input, second, output] = triples[item]!;
    return { id, input, second, output };
  }
  const [input, output] = pairs![item]!;
  return { id, input, output };
}

/** Every text that a source may put behind an arrow: what a model may not simply repeat. */
export function outputsOf(source: PairSource): readonly string[] {
  return source.groups ? source.groups.flat() : (source.triples ?? source.pairs)!.map((example) => example.at(-1)!);
}

/** A hash of all a source can put into a prompt. */
export function hashOfPairs(source: PairSource): string {
  const { pairs = null, groups = null, triples } = source;
  return sha256(JSON.stringify([pairs, groups, ...(triples ? [triples] : [])]));
}
