/** Any recipe, so small that it runs in a minute on a processor: does everything fit together, from data to evaluation? */
import { preset } from "../models/index.ts";
import { type Recipe, recipeSchema } from "./recipe.ts";

/** Objective, captions, images and optimiser stay; model, batch and length are tiny. What comes out has learned nothing. */
export function smoke(recipe: Recipe): Recipe {
  const { epochs: _, ...training } = recipe.training;
  // Nothing is frozen: there are no weights of this size to begin with.
  const { imageSize: __, patchSize: ___, freeze: ____, viewHead, ...model } = recipe.model;
  const nano = preset(model.preset).vision.form === "open-clip" ? "open-clip-nano" : "nano";
  return recipeSchema.parse({
    ...recipe,
    description: `${recipe.description} (smoke)`,
    model: { ...model, preset: nano, ...(viewHead && { viewHead: { hidden: 32, width: 16 } }) },
    training: {
      ...training,
      steps: 12,
      batchSize: Math.min(training.batchSize, 16),
      // Where the recipe has micro-batches, or leaves it to memory whether, they are tried.
      ...(training.microBatch !== undefined && { microBatch: training.microBatch === "auto" ? 8 : Math.min(training.microBatch, 8) }),
      warmupSteps: 2,
      precision: "fp32",
      checkpointEvery: 6,
      logEvery: 2,
    },
  });
}
