/**
 * What the paper says its models reach, to stand beside one's own numbers: each with how it is known, where it is written, and the
 * protocol it was measured with.
 */
import { UsageError, nearest } from "../../support/index.ts";
import { type EvaluationResult, type TaskName, taskNames } from "../results/result.ts";
import { laclipModels } from "./laclip.ts";

/**
 * How a number is known: "verified" was read where it was published; "figure" was read off a published plot, and may be off by 0.1
 * points; "remembered" is from memory, was not checked, and is no more than a hint.
 */
export type Mark = "verified" | "figure" | "remembered";

/** How a number was measured, as far as it is known: the values that stand in a result's `laclip.protocol`. */
export type PublishedProtocol = Readonly<Record<string, number | string | boolean>>;

/** A published number. */
export interface PublishedNumber {
  /** Short name of the data set, as results have it. */
  readonly dataset: string;
  readonly task: TaskName;
  /** "acc1", "mean_per_class_recall", ... */
  readonly metric: string;
  /** 0..1 */
  readonly value: number;
  readonly mark: Mark;
  /** Where it is written. */
  readonly source: string;
  readonly protocol: PublishedProtocol;
}

/** A model of a paper and its numbers. */
export interface PublishedModel {
  /** Short name, that of the recipe where there is one: "laclip-cc12m-vit-b-16". */
  readonly name: string;
  /** Name for people: "LaCLIP, CC12M, ViT-B/16". */
  readonly title: string;
  readonly numbers: readonly PublishedNumber[];
}

/** All models of which something is known. */
export const publishedModels: readonly PublishedModel[] = laclipModels;

/** The model of this name. @throws UsageError with the names that are near when there is none */
export function publishedModel(name: string): PublishedModel {
  const found = publishedModels.find((model) => model.name === name);
  if (found) return found;
  const near = nearest(
    name,
    publishedModels.map((model) => model.name),
    5,
  );
  throw new UsageError(`No published numbers are known of a model "${name}".`, { mend: `Did you mean ${near.join(", ")}?` });
}

/** The number of a model that a result is to be held against: the same data set and task, and the metric if the result has it. */
export function publishedNumber(model: PublishedModel, result: EvaluationResult): PublishedNumber | undefined {
  return model.numbers.find(
    ({ dataset, task, metric }) =>
      dataset === shortDataset(result.dataset) && taskNames[task] === result.task && typeof result.metrics[metric] === "number",
  );
}

/** The short name of a data set whose result may be CLIP_benchmark's, which has "wds/vtab-pets" and "vtab/pets" for "pets". */
export function shortDataset(name: string): string {
  return name
    .toLowerCase()
    .replace(/^.*\//, "")
    .replace(/^vtab-/, "");
}

/**
 * In what a result was measured otherwise than a published number, a sentence each: "80 templates, published with 7".
 *
 * What neither side says counts as no difference, but a result without any protocol (of another program) is said to have none.
 */
export function protocolDifferences(result: EvaluationResult, { protocol }: Pick<PublishedNumber, "protocol">): string[] {
  const own = result.laclip?.protocol;
  if (own === undefined) return ["the result does not say how it was measured"];
  const differences = Object.entries(protocol).flatMap(([name, published]) => {
    const mine = own[name];
    if (mine === undefined || same(mine, published)) return [];
    return [`${name} ${said(mine)}, published with ${said(published)}`];
  });
  // Prompts are as many by chance; a published protocol has published ones.
  if (own["words"] === "own") differences.push("names or prompts of one's own");
  const { skipped, problems = [] } = result.laclip!;
  if (skipped.count > 0) differences.push(`${skipped.count} images left out`);
  if (problems.length > 0)
    differences.push(
      `an incomplete copy: ${problems[0]!.replace(/\.$/, "")}${problems.length > 1 ? `, and ${problems.length - 1} more` : ""}`,
    );
  return differences;
}

function same(mine: unknown, published: number | string | boolean): boolean {
  return said(mine) === String(published);
}

function said(value: unknown): string {
  return Array.isArray(value) ? value.join(" ") : String(value);
}
