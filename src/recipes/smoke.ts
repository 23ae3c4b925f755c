/** Any recipe, so small that it runs in a minute on a processor: does everything fit together, from data to evaluation? */
import { type Recipe, recipeSchema } from "./recipe.ts";

/** Objective, captions, images and optimiser stay; model, batch and length are tiny. What comes out has learned nothing. */
export function smoke(recipe: Recipe): Recipe {
  const { epochs: _, ...training } = recipe.training;
  const { imageSize: __, patchSize: ___, viewHead, ...model } = recipe.model;
  return recipeSchema.parse({
    ...recipe,
    description: `${recipe.description} (smoke)`,
    model: { ...model, preset: "nano", ...(viewHead && { viewHead: { hidden: 32, width: 16 } }) },
    training: {
      ...training,
      steps: 12,
      batchSize: Math.min(training.batchSize, 16),
      ...(training.microBatch !== undefined && { microBatch: Math.min(training.microBatch, 8) }),
      warmupSteps: 2,
      precision: "fp32",
      checkpointEvery: 6,
      logEvery: 2,
    },
  });
}
