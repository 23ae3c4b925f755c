/** What of the published sets is below a root, and what is wrong with it: the answer to "what do I still have to download?" */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { LaclipError, UsageError } from "../../support/index.ts";
import type { DatasetCheck, DatasetDefinition } from "./dataset.ts";
import { findDataset, openDefinedDataset } from "./open-dataset.ts";
import { datasetDefinitions } from "./registry.ts";

/**
 * "whole": there are test images, and what is there is as published; "incomplete": something is wrong, and the set opens with `incomplete`; "damaged": it does not
 * open; "packed": an archive of it lies there, not unpacked; "absent".
 */
export type DatasetState = "whole" | "incomplete" | "damaged" | "packed" | "absent";

/** One set as it was found. */
export interface InspectedDataset {
  name: string;
  title: string;
  state: DatasetState;
  /** Its folder, where it was found. */
  path: string | undefined;
  /** Classes that were found, and how many there should be. */
  classes: number | undefined;
  classCount: number;
  metric: DatasetDefinition["metric"];
  counts: DatasetCheck["counts"];
  /** A sentence each. */
  problems: string[];
  notes: string[];
  /** Published images of each split. */
  expected: DatasetDefinition["expected"];
  origin: string;
  licence: string;
  page: string;
  layout: string;
}

/** The folder of published sets. @throws UsageError when none is given and LACLIP_DATASETS is not set */
export function datasetsRoot(root: string | undefined): string {
  const found = root ?? process.env.LACLIP_DATASETS;
  if (found !== undefined && found !== "") return resolve(found);
  throw new UsageError("No folder of data sets is known.", { mend: "Give it with --root DIR, or set LACLIP_DATASETS." });
}

/** Looks at a set: its folders are listed, its lists are read, its images are not opened. */
export async function inspectDataset(definition: DatasetDefinition, root: string): Promise<InspectedDataset> {
  const { name, title, classCount, metric, expected, origin, licence, page, layout } = definition;
  const about = { name, title, classCount, metric, expected, origin, licence, page, layout };
  const path = findDataset(definition, root);
  const archives = archivesBelow(definition, root);
  if (path === undefined) {
    const problems = [
      ...archives.map((archive) => `${archive} is not unpacked.`),
      ...definition.places
        .filter((place) => place !== "." && existsSync(join(root, place)) && readdirSync(join(root, place)).length > 0)
        .slice(0, 1)
        .map((place) => `${place} is there, without ${definition.markers.join(" or ")}.`),
    ];
    return { ...about, state: archives.length > 0 ? "packed" : "absent", path, classes: undefined, counts: [], problems, notes: [] };
  }
  try {
    const { checked, classes } = await openDefinedDataset(definition, root, { incomplete: true });
    const { counts, notes } = checked;
    const missing = (Object.keys(expected) as (keyof typeof expected)[]).filter((split) => !counts.some((count) => count.split === split));
    const problems = [...checked.problems, ...(missing.includes("test") ? ["There are no test images."] : [])];
    // Many have only the images that results are told of, ImageNet's above all.
    for (const split of missing) if (split !== "test") notes.push(`There are no ${split} images.`);
    if (problems.length > 0) problems.push(...archives.map((archive) => `${archive} may not be unpacked.`));
    return { ...about, state: problems.length > 0 ? "incomplete" : "whole", path, classes: classes.length, counts, problems, notes };
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    const problems = [error.message, ...archives.map((archive) => `${archive} may not be unpacked.`)];
    return { ...about, state: "damaged", path, classes: undefined, counts: [], problems, notes: [] };
  }
}

/** All published sets. @throws UsageError when there is no such folder */
export async function inspectDatasets(root: string): Promise<InspectedDataset[]> {
  if (!existsSync(root)) throw new UsageError(`${root}: no such folder.`, { mend: "Make it, and put the data sets there." });
  const found: InspectedDataset[] = [];
  for (const definition of datasetDefinitions) found.push(await inspectDataset(definition, root));
  return found;
}

/** Archives of the set in the root or one of its places. */
export function archivesBelow(definition: Pick<DatasetDefinition, "places" | "archives">, root: string): string[] {
  const places = [...new Set([".", ...definition.places])];
  return places.flatMap((place) =>
    definition.archives.map((archive) => join(place, archive)).filter((name) => existsSync(join(root, name))),
  );
}
