/** What of the published retrieval sets is below a root, and what is wrong with it. Of each, the test images are looked at. */
import { LaclipError } from "../../../support/index.ts";
import { type DatasetState, archivesBelow } from "../inspect-datasets.ts";
import { findDataset } from "../open-dataset.ts";
import { type RetrievalCount, type RetrievalDefinition, openRetrievalDataset, retrievalDefinitions } from "./retrieval-dataset.ts";

/** One set as it was found. */
export interface InspectedRetrieval extends Pick<
  RetrievalDefinition,
  "name" | "title" | "expected" | "origin" | "licence" | "page" | "layout"
> {
  state: DatasetState;
  /** Its folder, where it was found. */
  path: string | undefined;
  /** Test images and captions that are there; undefined where it does not open. */
  found: RetrievalCount | undefined;
  /** A sentence each. */
  problems: string[];
  notes: string[];
}

/** Looks at all of them: lists are read, images are not opened. @param root absolute */
export async function inspectRetrievalSets(root: string): Promise<InspectedRetrieval[]> {
  const all: InspectedRetrieval[] = [];
  for (const definition of retrievalDefinitions) all.push(await inspect(definition, root));
  return all;
}

async function inspect(definition: RetrievalDefinition, root: string): Promise<InspectedRetrieval> {
  const { name, title, expected, origin, licence, page, layout } = definition;
  const about = { name, title, expected, origin, licence, page, layout };
  const path = findDataset(definition, root);
  const archives = archivesBelow(definition, root);
  if (path === undefined) {
    const problems = archives.map((archive) => `${archive} is not unpacked.`);
    return { ...about, state: archives.length > 0 ? "packed" : "absent", path, found: undefined, problems, notes: [] };
  }
  try {
    const { checked } = await openRetrievalDataset(name, { root, incomplete: true });
    const { found, problems, notes } = checked;
    return { ...about, state: problems.length > 0 ? "incomplete" : "whole", path, found, problems, notes };
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    return { ...about, state: "damaged", path, found: undefined, problems: [error.message], notes: [] };
  }
}
