/**
 * What the classes of ImageNet and of CLIP's fifteen other sets are called in prompts, and the prompts: the published lists.
 *
 * They lie in classes/, a file for each set, with their sources. A class has a key, which is what the set's own files call it (a folder, a
 * line of a list, a number), so that names are joined to classes by what they are and never by their place in a list: SLIP, OpenAI and
 * CLIP_benchmark put the classes of Pets and EuroSAT into three different orders.
 *
 * Names and prompts are the same under all protocols, with these exceptions:
 * - ImageNet: SLIP, and so LaCLIP's models of CC3M, CC12M and RedCaps, takes 7 of OpenAI's 80 prompts.
 * - Pets: CLIP_benchmark writes dogs with capitals, and the model's tokenizer reads both alike.
 * - RESISC45: CLIP_benchmark has four prompts of its own, "sattelite" among them.
 * CLIP_benchmark publishes names for seven of these sets; for the others it takes the labels of the loader, and here the names are OpenAI's.
 */
import { readFileSync } from "node:fs";
import { DataError, UsageError, invariant, nearest } from "../support/index.ts";
import { firstFew } from "./class-names.ts";

/** Whose prompts (and names) are meant. */
export type ProtocolName = "slip" | "openai" | "clip-benchmark";

/** Whose names and prompts can be asked for. */
export const protocolNames: readonly ProtocolName[] = ["slip", "openai", "clip-benchmark"];

/** A set's metric: the share of right images, or the mean over classes of that share. */
export type ClassMetric = "acc1" | "mean_per_class_recall";

/** The file of a set, as it lies in classes/. */
interface ClassFile {
  dataset: string;
  metric: ClassMetric;
  /** Where names and prompts come from, in words. */
  source: string;
  /** What the keys are, in words. */
  keys: string;
  templates: { protocols: ProtocolName[]; lines: string[] }[];
  /** Key, then names. */
  classes: [string, ...string[]][];
  otherNames?: Partial<Record<ProtocolName, Record<string, string[]>>>;
}

const listNames = [
  "imagenet1k",
  "food101",
  "cifar10",
  "cifar100",
  "sun397",
  "cars",
  "fgvc_aircraft",
  "dtd",
  "pets",
  "caltech101",
  "flowers",
  "stl10",
  "eurosat",
  "resisc45",
  "gtsrb",
  "country211",
] as const;

/** The sets that have a list, by CLIP_benchmark's names. */
export const classListNames: readonly string[] = listNames;

/** Names and prompts of one set. */
export class ClassList {
  readonly #file: ClassFile;
  readonly #byKey: ReadonlyMap<string, number>;
  readonly #byName: ReadonlyMap<string, number>;

  constructor(file: ClassFile) {
    this.#file = file;
    this.#byKey = new Map(file.classes.map(([key], i) => [normal(key), i]));
    const named = file.classes.flatMap(([, ...names], i) => names.map((name) => [normal(name), i] as const));
    // A name that two classes share says nothing about which of them is meant.
    const repeated = new Set(named.map(([name]) => name).filter((name, i, all) => all.indexOf(name) !== i));
    this.#byName = new Map(named.filter(([name]) => !repeated.has(name)));
  }

  /** By CLIP_benchmark's name. */
  get dataset(): string {
    return this.#file.dataset;
  }

  /** The score by which the paper tells of the set. */
  get metric(): ClassMetric {
    return this.#file.metric;
  }

  /** Where names and prompts come from, in words. */
  get source(): string {
    return this.#file.source;
  }

  /** What the set's own files call each class, in the order of its labels. */
  get keys(): string[] {
    return this.#file.classes.map(([key]) => key);
  }

  /** Names of each class, at least one, in the order of `keys`. */
  names(protocol: ProtocolName): string[][] {
    const other = this.#file.otherNames?.[protocol] ?? {};
    return this.#file.classes.map(([key, ...names]) => other[key] ?? names);
  }

  /** Prompts with `{}` for the name. */
  templates(protocol: ProtocolName): string[] {
    const found = this.#file.templates.find(({ protocols }) => protocols.includes(protocol));
    invariant(found, `no templates of ${protocol} for ${this.dataset}`);
    return [...found.lines];
  }

  /**
   * Place in `keys` of the class that a folder or label of this name means: by key or, failing that, by name, in any spelling.
   * Undefined when there is none.
   */
  find(name: string): number | undefined {
    return this.#byKey.get(normal(name)) ?? this.#byName.get(normal(name));
  }

  /**
   * Names of each of these classes, in their order; they may be some of the set's only.
   * @param where what holds the classes, for messages
   * @throws DataError naming those that are no class of the set, or that mean the same class
   */
  namesOf(classes: readonly string[], protocol: ProtocolName, where: string): string[][] {
    const places = this.#places(classes);
    const unknown = classes.filter((_, i) => places[i] === undefined);
    if (unknown.length > 0) {
      const near = nearest(unknown[0]!, this.keys, 1)[0];
      throw new DataError(`${where}: ${unknown.length} of ${classes.length} classes are none of ${this.dataset}: ${firstFew(unknown)}.`, {
        mend: `Its classes are ${firstFew(this.keys)}${near === undefined ? "" : `; nearest to the first is "${near}"`}. Give names of your own with --classes.`,
      });
    }
    const second = places.findIndex((place, i) => places.indexOf(place) !== i);
    if (second !== -1) {
      const first = classes[places.indexOf(places[second])]!;
      throw new DataError(`${where}: "${first}" and "${classes[second]!}" are the same class of ${this.dataset}.`, {
        mend: "Keep one of them, or give names of your own with --classes.",
      });
    }
    const names = this.names(protocol);
    return places.map((place) => names[place!]!);
  }

  /** Where all classes of the set are given in its order, a few may be spelled in a way of their own: their place says which they are. */
  #places(classes: readonly string[]): (number | undefined)[] {
    const places = classes.map((name) => this.find(name));
    const known = places.filter((place, i) => place === i).length;
    const others = places.filter((place) => place === undefined).length;
    const inOrder = classes.length === this.keys.length && known + others === classes.length && others <= classes.length / 20;
    return inOrder ? classes.map((_, i) => i) : places;
  }
}

const loaded = new Map<string, ClassList>();

/**
 * The list of a set; its file is read when it is first asked for.
 * @param dataset a name of `classListNames`
 * @throws UsageError when there is none for it
 */
export function classList(dataset: string): ClassList {
  const known = loaded.get(dataset);
  if (known) return known;
  if (!classListNames.includes(dataset)) {
    throw new UsageError(`There are no class names for "${dataset}".`, {
      mend: `There are some for ${nearest(dataset, classListNames).join(", ")}.`,
    });
  }
  const file = new URL(`./classes/${dataset.replaceAll("_", "-")}.json`, import.meta.url);
  const list = new ClassList(JSON.parse(readFileSync(file, "utf8")) as ClassFile);
  loaded.set(dataset, list);
  return list;
}

/** True where all of these are WordNet numbers, as ImageNet's folders are. */
export function areWordNetNumbers(folders: readonly string[]): boolean {
  return folders.length > 0 && folders.every((name) => /^n\d{8}$/.test(name));
}

/** Spellings differ in capitals, accents, blanks, dashes and leading zeros; nothing that tells classes apart. */
function normal(name: string): string {
  const plain = name
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]/gu, "");
  return /^\d+$/.test(plain) ? String(Number(plain)) : plain;
}
