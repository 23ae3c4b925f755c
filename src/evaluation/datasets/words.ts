/**
 * What the classes of a published set are called in prompts, and the prompts: by a protocol, from the published lists (`classList`).
 *
 * LaCLIP tells of its models of CC3M, CC12M and RedCaps by SLIP's protocol, of those of LAION-400M by OpenAI's (eval_zeroshot_imagenet.py of
 * LijieFan/LaCLIP). A protocol also says how pixels are normalised; a model knows that of itself, see `protocolOf`.
 */
import { isDeepStrictEqual } from "node:util";
import { type ProtocolName, areWordNetNumbers, classList, classListNames } from "../../data/index.ts";
import { type Preprocessing, imagenetPreprocessing, openaiPreprocessing } from "../../models/index.ts";
import type { DatasetDefinition, OpenedLayout } from "./dataset.ts";

/** Words of a set. */
export interface DatasetWords {
  /** Whose names and prompts these are: a protocol's, or "own". */
  words: string;
  /** Names of each class, in the order of the set's labels. */
  names: string[][];
  /** Prompts with `{}` for the name. */
  templates: string[];
  /** See `ZeroShotClasses`. */
  several?: "mean" | "best";
}

/** Names and prompts that take the place of the published ones. */
export interface GivenWords {
  names?: string[][] | undefined;
  templates?: string[] | undefined;
}

/** Prompts where nobody says otherwise. */
const plainTemplates: readonly string[] = ["a photo of a {}."];

/** The protocol where none is asked for and no model says more. */
const defaultProtocol: ProtocolName = "openai";

/**
 * The words of a published set.
 * @param layout its classes, as the set itself calls them, in the order of its labels
 * @param given takes the place of the published ones, which then are not looked for
 * @throws DataError when classes are none of the published list, naming them
 */
export function datasetWords(
  { name, title, aliases = [] }: Pick<DatasetDefinition, "name" | "title" | "aliases">,
  { classes, wordNet }: Pick<OpenedLayout, "classes" | "wordNet">,
  protocol: ProtocolName = defaultProtocol,
  given: GivenWords = {},
): DatasetWords {
  const listed =
    [name, ...aliases].find((known) => classListNames.includes(known)) ??
    (wordNet || areWordNetNumbers(classes) ? "imagenet1k" : undefined);
  if (listed === undefined) return ownWords(classes, given);
  const list = classList(listed);
  const templates = given.templates ?? list.templates(protocol);
  // Words of one's own with published prompts, or the other way round, are nobody's protocol.
  const words = given.names === undefined && given.templates === undefined ? protocol : "own";
  if (given.names !== undefined) return { words, names: given.names, templates };
  if (wordNet === undefined) return { words, names: list.namesOf(classes, protocol, title), templates };
  // CLIP_benchmark calls these classes what the set calls them; the set's own protocol predicts classes of ImageNet.
  if (protocol === "clip-benchmark") return { words, names: classes.map((own) => [own.toLowerCase()]), templates };
  return { words, names: wordNet.map((own) => list.namesOf(own, protocol, title).flat()), templates, several: "best" };
}

/**
 * The words of a set of one's own: names and prompts as given, else the classes with spaces and a plain prompt. Classes of ImageNet get
 * ImageNet's prompts where a protocol is asked for.
 */
export function ownWords(classes: readonly string[], { names, templates }: GivenWords = {}, protocol?: ProtocolName): DatasetWords {
  const imagenet = classList("imagenet1k");
  const fits = protocol !== undefined && areWordNetNumbers(classes) && classes.every((name) => imagenet.find(name) !== undefined);
  const called = names ?? classes.map((name) => [name.replaceAll("_", " ")]);
  const listed = fits && templates === undefined && isDeepStrictEqual(called, imagenet.namesOf(classes, protocol, "these folders"));
  return {
    words: listed ? protocol : "own",
    names: called,
    templates: templates ?? (fits ? imagenet.templates(protocol) : [...plainTemplates]),
  };
}

/** The protocol under which a model of this image preparation is told of: SLIP's for ImageNet's normalisation, else OpenAI's. */
export function protocolOf({ mean }: Pick<Preprocessing, "mean">): ProtocolName {
  return normalisationFits({ mean }, "slip") ? "slip" : "openai";
}

/** Whether a model normalises pixels as the protocol says: as SLIP does, or as OpenAI. */
export function normalisationFits({ mean }: Pick<Preprocessing, "mean">, protocol: ProtocolName): boolean {
  const expected = (protocol === "slip" ? imagenetPreprocessing : openaiPreprocessing).mean;
  return mean.every((value, i) => Math.abs(value - expected[i]!) < 1e-3);
}
