/** The numbers a paper or a demo chose, as values, and how they are run. */
import { existsSync } from "node:fs";
import { UsageError, nearest, readJson } from "../support/index.ts";
import { emojiClip, emojiLaclip } from "./emoji.ts";
import { clipVitB16, laclipVitB16 } from "./laclip-vit.ts";
import { type Recipe, parseRecipe } from "./recipe.ts";

export * from "./recipe.ts";
export * from "./run-recipe.ts";
export * from "./zero-shot-evaluator.ts";
export * from "./open-data.ts";
export * from "./overfit.ts";
export { emojiClip, emojiLaclip } from "./emoji.ts";

/** The recipes that the command line knows by name. */
export const recipes: Readonly<Record<string, Recipe>> = {
  "emoji-clip": emojiClip,
  "emoji-laclip": emojiLaclip,
  "clip-vit-b-16": clipVitB16,
  "laclip-vit-b-16": laclipVitB16,
};

/** The recipe of a name, or of a JSON file. @throws UsageError when there is neither */
export function findRecipe(nameOrFile: string): Recipe {
  if (Object.hasOwn(recipes, nameOrFile)) return recipes[nameOrFile]!;
  if (nameOrFile.endsWith(".json") || existsSync(nameOrFile)) return parseRecipe(readJson(nameOrFile, "recipe"), nameOrFile);
  throw new UsageError(`There is no recipe "${nameOrFile}", and no file of that name.`, {
    mend: `Recipes: ${nearest(nameOrFile, Object.keys(recipes), 9).join(", ")}.`,
  });
}
