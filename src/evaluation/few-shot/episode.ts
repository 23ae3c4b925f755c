/**
 * Episodes of few-shot classification: a few classes, a few labelled images of each, and images to be told apart by them.
 *
 * An episode depends on the seed, its number and how many images each class has, and on nothing that was drawn before it.
 */
import { DataError, Random, UsageError } from "../../support/index.ts";

/** Sizes of an episode. */
export interface EpisodeShape {
  /** Classes. */
  readonly ways: number;
  /** Labelled images a class. */
  readonly shots: number;
  /** Images a class to be classified. */
  readonly queries: number;
}

/** Rows of features: class by class, `shots` and `queries` of each. */
export interface Episode {
  /** `[ways]` the classes. */
  readonly classes: number[];
  /** `[ways * shots]` rows among the training images. */
  readonly support: number[];
  /** `[ways * queries]` rows among the test images. */
  readonly query: number[];
}

/** Draws episodes from the labels of two lists of images. */
export class EpisodeDraw {
  /** Classes that have images enough. */
  readonly classes: readonly number[];
  /** How many have too few. */
  readonly tooSmall: number;
  readonly #shape: EpisodeShape;
  readonly #seed: number;
  readonly #support: ReadonlyMap<number, number[]>;
  readonly #query: ReadonlyMap<number, number[]> | undefined;

  /**
   * @param support labels of the images that shots are drawn from
   * @param query labels of those that queries are drawn from; undefined when they are the same images, of which none is drawn twice
   * @throws UsageError for sizes that make no episode; DataError when too few classes have images enough
   */
  constructor(support: Int32Array, query: Int32Array | undefined, shape: EpisodeShape, seed: number) {
    const { ways, shots, queries } = shape;
    if (ways < 2 || shots < 1 || queries < 1) {
      throw new UsageError(`Episodes of ${ways} ways, ${shots} shots and ${queries} queries: expected at least 2, 1 and 1.`);
    }
    this.#shape = shape;
    this.#seed = seed;
    this.#support = rowsByClass(support);
    this.#query = query && rowsByClass(query);
    const all = new Set([...this.#support.keys(), ...(this.#query?.keys() ?? [])]);
    const enough = (label: number): boolean => {
      const shown = this.#support.get(label)?.length ?? 0;
      return this.#query === undefined ? shown >= shots + queries : shown >= shots && (this.#query.get(label)?.length ?? 0) >= queries;
    };
    this.classes = [...all].filter(enough).sort((a, b) => a - b);
    this.tooSmall = all.size - this.classes.length;
    if (this.classes.length < ways) {
      const needed = query === undefined ? `${shots + queries} images` : `${shots} images to train and ${queries} to test`;
      throw new DataError(`${this.classes.length} of ${all.size} classes have ${needed}; ${ways} are needed for an episode.`, {
        mend: "Ask for fewer ways, shots or queries.",
      });
    }
  }

  /** Episode `index`, from 0. */
  episode(index: number): Episode {
    const { ways, shots, queries } = this.#shape;
    const random = Random.of(this.#seed, "episode", index);
    const classes = random.sample(this.classes, ways);
    const support: number[] = [];
    const query: number[] = [];
    for (const label of classes) {
      const own = random.sample(this.#support.get(label)!, this.#query === undefined ? shots + queries : shots);
      support.push(...own.slice(0, shots));
      query.push(...(this.#query === undefined ? own.slice(shots) : random.sample(this.#query.get(label)!, queries)));
    }
    return { classes, support, query };
  }
}

function rowsByClass(labels: Int32Array): Map<number, number[]> {
  const rows = new Map<number, number[]>();
  labels.forEach((label, row) => {
    const own = rows.get(label);
    if (own === undefined) rows.set(label, [row]);
    else own.push(row);
  });
  return rows;
}
