/**
 * What a run of the demo found out: the one value from which `results.json`, the table and the report are made.
 *
 * Shares (top-1, top-5) are fractions, 0 to 1. Paths of pictures are absolute; they are read when the report is written.
 */
import type { Provenance } from "./emoji-packages.ts";

/** Shares of pictures whose class is the first guess, or among the first five; 0 to 1. */
export interface Accuracy {
  top1: number;
  top5: number;
}

/** Which words the classes were named in: those of the training captions, or another annotator's. */
export type Wording = "ownWords" | "otherWords";

/** Zero-shot classification of the held-out style. */
export type Evaluations = Record<Wording, Accuracy>;

/** What a model took one held-out picture for. */
export interface DemoPrediction {
  /** The concept that is pictured. */
  hexcode: string;
  words: Wording;
  /** The five concepts the model found most likely, the likeliest first. */
  guesses: readonly string[];
}

/** One training run and its evaluation. */
export interface DemoSeed {
  seed: number;
  steps: number;
  /** Wall-clock time of training. */
  seconds: number;
  lossCurve: readonly { step: number; loss: number }[];
  evaluations: Evaluations;
  /** Evaluations on the way, where they were made. */
  curve?: readonly ({ step: number } & Evaluations)[];
  /** Guesses for some or all held-out pictures; needed of one seed only. */
  predictions?: readonly DemoPrediction[];
}

/** One way of training, and its runs. */
export interface DemoMethod {
  /** Short key: "clip", "laclip-eda", "laclip-human". */
  name: string;
  /** As shown: "CLIP", "LaCLIP, EDA". */
  label: string;
  /** The texts it was trained on, in a few words: "the name only". */
  texts: string;
  /** `baseline` is compared with; `human` is the upper bound. */
  role: "baseline" | "rewriter" | "human";
  /** At least one. */
  seeds: readonly DemoSeed[];
}

/** One concept with its pictures. */
export interface DemoPicture {
  hexcode: string;
  name: string;
  /** How the evaluation's annotator describes it. */
  otherWords: readonly string[];
  /** The held-out drawing. */
  image: string;
  /** The training drawings. */
  training: readonly { style: string; image: string }[];
}

/** The caption of one training picture and what the rewriters made of it. */
export interface DemoExample {
  hexcode: string;
  /** In the order to be shown. */
  rewrites: readonly { label: string; texts: readonly string[] }[];
}

/** Everything that `results.json`, the table and the report show. */
export interface DemoResults {
  /** ISO 8601. */
  created: string;
  /** The command that gives these results again. */
  command: string;
  world: { concepts: number; trainingImages: number; trainingStyles: readonly string[]; heldOutStyle: string };
  model: { description: string; imageSize: number; batch: number };
  rewriter: {
    /** "EDA", or the name of the language model. */
    label: string;
    /** False for the EDA baseline, which is then said plainly. */
    isLanguageModel: boolean;
    /** Why this one, in a sentence. */
    why: string;
  };
  /** The baseline first. */
  methods: readonly DemoMethod[];
  pictures: readonly DemoPicture[];
  examples: readonly DemoExample[];
  /** Versions, threads, precision: shown as they are. */
  environment: Readonly<Record<string, string>>;
  licences: readonly Provenance[];
}

/** One line of the result: what `results.json` lists first and the command prints. */
export interface ResultRow {
  method: string;
  seed: number;
  ownWords: Accuracy;
  otherWords: Accuracy;
  steps: number;
  seconds: number;
}

/** A row for each method and seed. */
export function resultRows(results: Pick<DemoResults, "methods">): ResultRow[] {
  return results.methods.flatMap(({ name, seeds }) =>
    seeds.map(({ seed, evaluations, steps, seconds }) => ({ method: name, seed, ...evaluations, steps, seconds })),
  );
}
