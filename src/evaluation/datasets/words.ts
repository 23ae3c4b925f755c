/** What the classes of a published set are called in prompts, and the prompts. */
import type { DatasetDefinition } from "./dataset.ts";

/** Words of a set under one protocol. */
export interface DatasetWords {
  /** Whose names and templates these are. */
  source: string;
  /** Names of each class, in the order of the set's labels. */
  names: string[][];
  /** Prompts with `{}` for the name. */
  templates: string[];
}

/** Prompts where nobody says otherwise. */
export const plainTemplates: readonly string[] = ["a photo of a {}."];

/**
 * The words of a set: what it calls its classes itself, with spaces.
 * @param classes the set's own names in the order of its labels
 */
export function datasetWords(_definition: DatasetDefinition, classes: readonly string[]): DatasetWords {
  return { source: "own", names: classes.map((name) => [name.replaceAll("_", " ")]), templates: [...plainTemplates] };
}
