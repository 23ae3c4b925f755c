/** The numbers a paper or a demo chose, as values, and how they are run. */
import { existsSync } from "node:fs";
import { UsageError, isRecord, nearest, readJson } from "../support/index.ts";
import { cc12m } from "./cc12m.ts";
import { cc3m } from "./cc3m.ts";
import { emojiClip, emojiLaclip, emojiLaclipMt, emojiLaclipSoft, emojiLasiglipMt, emojiLaslip, emojiSiglip, emojiSlip } from "./emoji.ts";
import { laion400mVitB16, laion400mVitB32, laion400mVitL14 } from "./laion400m.ts";
import { clipVitB16, laclipVitB16 } from "./laclip-vit.ts";
import { type Recipe, parseRecipe } from "./recipe.ts";
import { redcaps } from "./redcaps.ts";

export * from "./recipe.ts";
export * from "./begin-run.ts";
export * from "./run-recipe.ts";
export * from "./retrieval-evaluator.ts";
export * from "./zero-shot-evaluator.ts";
export * from "./open-data.ts";
export * from "./smoke.ts";
export * from "./overfit.ts";
export { emojiClip, emojiLaclip } from "./emoji.ts";

/** The recipes that the command line knows by name. */
export const recipes: Readonly<Record<string, Recipe>> = {
  "emoji-clip": emojiClip,
  "emoji-laclip": emojiLaclip,
  "emoji-laclip-mt": emojiLaclipMt,
  "emoji-slip": emojiSlip,
  "emoji-laslip": emojiLaslip,
  "emoji-siglip": emojiSiglip,
  "emoji-lasiglip-mt": emojiLasiglipMt,
  "emoji-laclip-soft": emojiLaclipSoft,
  "clip-vit-b-16": clipVitB16,
  "laclip-vit-b-16": laclipVitB16,
  ...named("cc3m", cc3m),
  ...named("cc12m", cc12m),
  ...named("redcaps", redcaps),
  ...named("laion400m", laion400mVitB32, "vit-b-32"),
  ...named("laion400m", laion400mVitB16, "vit-b-16"),
  ...named("laion400m", laion400mVitL14, "vit-l-14"),
};

/** The paper's methods on a data set, by names such as "laclip-mt-cc3m-vit-b-16". */
function named(data: string, { clip, laclip, laclipMt, slip, laslip }: typeof cc3m, model = "vit-b-16"): Record<string, Recipe> {
  const byMethod = { clip, laclip, "laclip-mt": laclipMt, slip, laslip };
  return Object.fromEntries(Object.entries(byMethod).map(([method, recipe]) => [`${method}-${data}-${model}`, recipe]));
}

/** The recipe of a name, or of a JSON file. @throws UsageError when there is neither */
export function findRecipe(nameOrFile: string): Recipe {
  if (Object.hasOwn(recipes, nameOrFile)) return recipes[nameOrFile]!;
  if (nameOrFile.endsWith(".json") || existsSync(nameOrFile)) {
    const value = readJson(nameOrFile, "recipe");
    // A run folder's config.json has the recipe among what else the run was.
    const ofRun = isRecord(value) && isRecord(value["recipe"]) && "totalSteps" in value;
    return parseRecipe(ofRun ? value["recipe"] : value, nameOrFile);
  }
  throw new UsageError(`There is no recipe "${nameOrFile}", and no file of that name.`, {
    mend: `Recipes: ${nearest(nameOrFile, Object.keys(recipes), 9).join(", ")} and ${Object.keys(recipes).length - 9} more, see docs/training.md.`,
  });
}
