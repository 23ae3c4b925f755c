/**
 * What the numbers say, in sentences. Claims are made only as far as the runs carry them: with one seed a difference is called what
 * it is, a single run; with several it is called clear only where its 95 % interval excludes zero.
 */
import { percent, points, signedPoints, thousands } from "../support/index.ts";
import { type DemoMethod, type DemoResults, type Wording, resultRows } from "./demo-results.ts";
import { type Interval, interval, isClear, pairedDifference } from "../evaluation/index.ts";

/** Mean and interval of one figure over the seeds of a method. */
export function figure(method: DemoMethod, wording: Wording, top: "top1" | "top5"): Interval {
  return interval(method.seeds.map(({ evaluations }) => evaluations[wording][top]));
}

/** How much better than the baseline, seed by seed; undefined when no seed is shared. */
export function gain(method: DemoMethod, baseline: DemoMethod, wording: Wording, top: "top1" | "top5"): Interval | undefined {
  const values = ({ seeds }: DemoMethod): { seed: number; value: number }[] =>
    seeds.map(({ seed, evaluations }) => ({ seed, value: evaluations[wording][top] }));
  return pairedDifference(values(method), values(baseline));
}

/** The method all others are compared with. */
export function baselineOf(results: Pick<DemoResults, "methods">): DemoMethod {
  const baseline = results.methods.find(({ role }) => role === "baseline") ?? results.methods[0];
  if (!baseline) throw new Error("internal: results without a method");
  return baseline;
}

/** What the results say, in words. */
export interface Story {
  headline: string;
  /** One paragraph under the headline. */
  lead: string;
  /** One sentence for each method other than the baseline, in each wording. */
  findings: string[];
}

/** The sentences for a set of results. */
export function tellStory(results: DemoResults): Story {
  const baseline = baselineOf(results);
  const others = results.methods.filter((method) => method !== baseline);
  const human = others.find(({ role }) => role === "human");
  const subject = human ?? others[0];
  const runs = new Set(resultRows(results).map(({ seed }) => seed)).size;
  const { world } = results;
  const lead =
    `${thousands(world.trainingImages)} emoji pictures in ${world.trainingStyles.length} drawing styles, ` +
    `${thousands(world.concepts)} things to tell apart, a fourth style (${world.heldOutStyle}) that no model has seen. ` +
    `Same pictures, same steps, same cost: the texts are all that differs. ` +
    (runs === 1 ? "One run each, so small differences may be chance." : `Mean of ${runs} runs each, with 95 % intervals.`);
  return {
    headline: subject ? headline(subject, baseline, world.concepts) : `${baseline.label} on its own`,
    lead,
    findings: others.flatMap((method) => findings(method, baseline, world.concepts)),
  };
}

/**
 * True when chance is a poor explanation: over several seeds, when the interval of the differences excludes zero; in a single run,
 * when the two shares differ by more than the sampling error of so many pictures (95 %, normal approximation).
 */
export function isBeyondChance(difference: Interval, share: number, otherShare: number, pictures: number): boolean {
  if (difference.half !== undefined) return isClear(difference);
  const variance = (share * (1 - share) + otherShare * (1 - otherShare)) / pictures;
  return Math.abs(share - otherShare) > 1.96 * Math.sqrt(variance);
}

function headline(method: DemoMethod, baseline: DemoMethod, pictures: number): string {
  const difference = gain(method, baseline, "otherWords", "top5");
  const [its, base] = [figure(method, "otherWords", "top5").mean, figure(baseline, "otherWords", "top5").mean];
  const certain = difference !== undefined && isBeyondChance(difference, its, base, pictures);
  const ratio = its / Math.max(base, 1e-9);
  const name = method.label.replace(", ", " with ");
  if (certain && ratio >= 1.1) {
    const factor =
      base === 0 ? `pictures where ${baseline.label} recognises none` : `${ratio.toFixed(1)} times as many pictures as ${baseline.label}`;
    return `In other people’s words, ${name} recognises ${factor}`;
  }
  if (certain && ratio <= 1 / 1.1) return `In other people’s words, ${name} recognises fewer pictures than ${baseline.label} here`;
  return `In other people’s words, ${name} and ${baseline.label} can’t be told apart here`;
}

const wordings: Record<Wording, string> = {
  otherWords: "in another annotator's words",
  ownWords: "in the words of the training captions",
};

function findings(method: DemoMethod, baseline: DemoMethod, pictures: number): string[] {
  return (["otherWords", "ownWords"] as const).map((wording) => {
    const [its, base] = [figure(method, wording, "top5").mean, figure(baseline, wording, "top5").mean];
    const difference = gain(method, baseline, wording, "top5");
    const numbers = `${percent(its)} among the first five against ${percent(base)}`;
    return `${method.label}, ${wordings[wording]}: ${numbers} for ${baseline.label}; ${verdict(difference, difference !== undefined && isBeyondChance(difference, its, base, pictures))}.`;
  });
}

function verdict(difference: Interval | undefined, certain: boolean): string {
  if (difference === undefined) return "no seed in common, so the two are not compared";
  const gained = signedPoints(difference.mean);
  const runs =
    difference.half === undefined ? "points in a single run" : `± ${points(difference.half)} points over ${difference.count} seeds`;
  if (!certain) return `${gained} ${runs}, which chance alone may explain`;
  return `${gained} ${runs}, a ${difference.mean > 0 ? "gain" : "loss"} beyond chance`;
}
