/** `laclip doctor --overfit`: whether one batch can be learnt by heart, and why not. */
import { type OverfitReport, applySettings, findRecipe, overfit } from "../../recipes/index.ts";
import { exitCodes } from "../../support/index.ts";
import { coloured, print } from "../command.ts";
import { deviceOfFlag } from "../device-option.ts";

export interface OverfitFlags {
  recipe: string;
  data?: string;
  images?: string;
  rewrites?: string;
  set: string[];
  batchSize: number;
  steps: number;
  device?: string;
  json?: boolean;
}

/** Prints what came out; the exit code is 1 when the batch was not learnt. */
export async function doctorOverfit({
  recipe,
  data,
  images,
  rewrites,
  set,
  batchSize,
  steps,
  device,
  json = false,
}: OverfitFlags): Promise<void> {
  const report = await overfit({
    recipe: applySettings(findRecipe(recipe), set),
    device: device === undefined ? undefined : deviceOfFlag(device),
    data: data === undefined ? undefined : { file: data, images, rewrites, minimumMatched: 0 },
    batchSize,
    steps,
  });
  print(json ? report : describeOverfit(report));
  if (!report.ok) process.exitCode = exitCodes.failure;
}

/** The report as lines for a person. */
function describeOverfit({ ok, objective, samples, steps, chance, floor, first, last, findings }: OverfitReport): string {
  const rows = [
    `One batch of ${samples} samples, ${steps} steps of the objective "${objective}".`,
    `Loss: ${first.toFixed(3)} at first, ${last.toFixed(3)} at last; guessing gives ${chance.toFixed(3)}, and no model can get below ${floor.toFixed(3)}.`,
    ...findings.flatMap(({ what, mend }) => [coloured(ok ? "yellow" : "red", what), `  ${coloured("cyan", mend)}`]),
  ];
  return [...rows, ok ? coloured("green", "The batch was learnt by heart.") : coloured("red", "The batch was not learnt.")].join("\n");
}
