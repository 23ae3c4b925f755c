/** All published data sets that are known by name. */
import { UsageError, nearest } from "../../support/index.ts";
import { caltech101 } from "./caltech101.ts";
import { cifar10 } from "./cifar10.ts";
import { cifar100 } from "./cifar100.ts";
import { country211 } from "./country211.ts";
import type { DatasetDefinition } from "./dataset.ts";
import { dtd } from "./dtd.ts";
import { eurosat } from "./eurosat.ts";
import { fgvcAircraft } from "./fgvc-aircraft.ts";
import { flowers102 } from "./flowers102.ts";
import { food101 } from "./food101.ts";
import { gtsrb } from "./gtsrb.ts";
import { imagenetVariants } from "./imagenet-variants.ts";
import { imagenet } from "./imagenet.ts";
import { oxfordPets } from "./oxford-pets.ts";
import { resisc45 } from "./resisc45.ts";
import { stanfordCars } from "./stanford-cars.ts";
import { stl10 } from "./stl10.ts";
import { sun397 } from "./sun397.ts";

/** In the order in which tables show them: ImageNet, then the fifteen of the paper in its order, then other images of ImageNet's classes. */
export const datasetDefinitions: readonly DatasetDefinition[] = [
  imagenet,
  food101,
  cifar10,
  cifar100,
  sun397,
  stanfordCars,
  fgvcAircraft,
  dtd,
  oxfordPets,
  caltech101,
  flowers102,
  stl10,
  eurosat,
  resisc45,
  gtsrb,
  country211,
  ...imagenetVariants,
];

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
