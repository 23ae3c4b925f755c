/** All published data sets that are known by name. */
import { UsageError, nearest } from "../../support/index.ts";
import type { DatasetDefinition } from "./dataset.ts";

/** In the order in which tables show them. */
export const datasetDefinitions: readonly DatasetDefinition[] = [];

/** The set of this name or alias, whatever its capitals; undefined when there is none. */
export function findDefinition(name: string): DatasetDefinition | undefined {
  const asked = name.toLowerCase();
  return datasetDefinitions.find(({ name, aliases }) => name === asked || aliases?.includes(asked));
}

/** The same. @throws UsageError with the names that are near when there is none */
export function datasetDefinition(name: string): DatasetDefinition {
  const found = findDefinition(name);
  if (found) return found;
  const near = nearest(
    name,
    datasetDefinitions.map((definition) => definition.name),
  );
  throw new UsageError(`There is no data set "${name}".`, {
    mend: `Did you mean ${near.join(", ")}? \`laclip evaluate datasets\` lists all; a folder of your own is given by its path.`,
  });
}
