/**
 * In what two results of one task on one data set were measured in different ways: a difference between them may then be one of the protocol,
 * and not of the models.
 */
import type { EvaluationResult } from "./result.ts";

/** How images are prepared belongs to the model that was trained so. */
const preparation = ["normalisation", "interpolation", "imageSize"];

/** What says nothing of how a number was measured, or is told in other words: the model's description, where a classifier lay. */
const passedOver = new Set(["description", "maximumSkipped", "classifier", "classifierHash"]);

/** What settings are called in messages, where their own name says too little. */
const words: Readonly<Record<string, string>> = { prompts: "names or prompts", words: "whose names and prompts", captions: "captions" };

/** Values that are hashes: that they differ is all there is to say. */
const hashes = new Set(["prompts", "captions"]);

/**
 * @param options.prepared whether image preparation counts: not between models of different kinds, each of which has its own. Default true
 * @returns a phrase for each difference, such as "templates 7 and 80"; none for results that do not say how they were measured
 */
export function measuredOtherwise(
  { laclip: first }: EvaluationResult,
  { laclip: second }: EvaluationResult,
  { prepared = true }: { prepared?: boolean } = {},
): string[] {
  if (first === undefined || second === undefined) return [];
  const names = [...new Set([...Object.keys(first.protocol), ...Object.keys(second.protocol)])].filter(
    (name) => !passedOver.has(name) && (prepared || !preparation.includes(name)),
  );
  const settings = names.flatMap((name) => {
    const [mine, other] = [first.protocol[name], second.protocol[name]].map((value) =>
      value === undefined ? "none" : [value].flat().join(" "),
    );
    if (mine === other) return [];
    return [hashes.has(name) ? `other ${words[name]}` : `${words[name] ?? name} ${mine} and ${other}`];
  });
  return [
    ...settings,
    ...(first.seed === second.seed ? [] : [`seed ${first.seed} and ${second.seed}`]),
    ...(first.dataHash === second.dataHash ? [] : ["other images or classes"]),
    ...(first.skipped.count === second.skipped.count ? [] : [`${first.skipped.count} and ${second.skipped.count} images left out`]),
  ];
}
