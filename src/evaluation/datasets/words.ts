/**
 * What the classes of a published set are called in prompts, and the prompts: by a protocol, from the published lists (`classList`).
 *
 * LaCLIP tells of its models of CC3M, CC12M and RedCaps by SLIP's protocol, of those of LAION-400M by OpenAI's (eval_zeroshot_imagenet.py of
 * LijieFan/LaCLIP). A protocol also says how pixels are normalised; a model knows that of itself, see `protocolOf`.
 */
import { isDeepStrictEqual } from "node:util";
import { type ProtocolName, areWordNetNumbers, classList, classListNames } from "../../data/index.ts";
import type { Preprocessing } from "../../models/index.ts";
import type { DatasetDefinition, OpenedLayout } from "./dataset.ts";

/** Words of a set under one protocol. */
export interface DatasetWords {
  /** Whose names and templates these are. */
  source: string;
  /** Names of each class, in the order of the set's labels. */
  names: string[][];
  /** Prompts with `{}` for the name. */
  templates: string[];
  /** See `ZeroShotClasses`. */
  several?: "mean" | "best";
}

/** Prompts where nobody says otherwise. */
export const plainTemplates: readonly string[] = ["a photo of a {}."];

/** The protocol where none is asked for and no model says more. */
export const defaultProtocol: ProtocolName = "openai";

/**
 * The words of a published set.
 * @param layout its classes, as the set itself calls them, in the order of its labels
 * @throws DataError when classes are none of the published list, naming them
 */
export function datasetWords(
  { name, title, aliases = [] }: Pick<DatasetDefinition, "name" | "title" | "aliases">,
  { classes, wordNet }: Pick<OpenedLayout, "classes" | "wordNet">,
  protocol: ProtocolName = defaultProtocol,
): DatasetWords {
  const imagenet = classList("imagenet1k");
  if (wordNet !== undefined) {
    const templates = imagenet.templates(protocol);
    // CLIP_benchmark calls these classes what the set calls them; the set's own protocol predicts classes of ImageNet.
    if (protocol === "clip-benchmark") return { source: protocol, names: classes.map((own) => [own.toLowerCase()]), templates };
    return { source: protocol, names: wordNet.map((own) => imagenet.namesOf(own, protocol, title).flat()), templates, several: "best" };
  }
  const listed = [name, ...aliases].find((known) => classListNames.includes(known));
  const list = listed === undefined ? (areWordNetNumbers(classes) ? imagenet : undefined) : classList(listed);
  if (list === undefined) return ownWords(classes);
  return { source: protocol, names: list.namesOf(classes, protocol, title), templates: list.templates(protocol) };
}

/**
 * The words of a set of one's own: names and prompts as given, else the classes with spaces. Folders of ImageNet get ImageNet's prompts where
 * a protocol is asked for.
 */
export function ownWords(
  classes: readonly string[],
  names?: string[][],
  templates?: string[],
  protocol?: ProtocolName,
): Pick<DatasetWords, "names" | "templates"> & { words: string; source: string } {
  const imagenet = classList("imagenet1k");
  const fits = protocol !== undefined && areWordNetNumbers(classes) && classes.every((name) => imagenet.find(name) !== undefined);
  const known = fits ? imagenet : undefined;
  const called = names ?? classes.map((name) => [name.replaceAll("_", " ")]);
  const listed = known !== undefined && isDeepStrictEqual(called, known.namesOf(classes, protocol!, "these folders"));
  // Words of one's own with published prompts, or the other way round, are nobody's protocol.
  const source = listed && templates === undefined ? protocol! : "own";
  return { names: called, templates: templates ?? known?.templates(protocol!) ?? [...plainTemplates], words: source, source };
}

/** Channel means of the protocols' normalisation: SLIP's is ImageNet's, the others have OpenAI's. */
const slipMean = [0.485, 0.456, 0.406];

/** The protocol under which a model of this image preparation is told of: SLIP's for ImageNet's normalisation, else OpenAI's. */
export function protocolOf({ mean }: Pick<Preprocessing, "mean">): ProtocolName {
  return normalisationFits({ mean }, "slip") ? "slip" : "openai";
}

const openaiMean = [0.48145466, 0.4578275, 0.40821073];

/** Whether a model normalises pixels as the protocol says. */
export function normalisationFits({ mean }: Pick<Preprocessing, "mean">, protocol: ProtocolName): boolean {
  const expected = protocol === "slip" ? slipMean : openaiMean;
  return mean.every((value, i) => Math.abs(value - expected[i]!) < 1e-3);
}
