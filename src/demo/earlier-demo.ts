/**
 * Whether what an earlier start left in the demo's folder can be gone on with.
 *
 * Texts and models are made for one choice of concepts and one number of steps. Asked for others, the demo says so at once: found out
 * later, it would already have drawn another world over the one that the finished runs belong to.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { emojiClip } from "../recipes/index.ts";
import { UsageError, readJson } from "../support/index.ts";
import { chooseConcepts, drawnConcepts } from "./emoji-world.ts";

/** What has to be the same at every start in one folder. */
export interface DemoSettings {
  out: string;
  /** See `DemoOptions`. */
  steps?: number | undefined;
  /** See `DemoOptions`. */
  limit?: number | undefined;
}

/** Throws UsageError when `out` holds rewrites or runs of another choice of concepts, or runs of another length. */
export function refuseOtherSettings({ out, steps = emojiClip.training.steps, limit }: DemoSettings): void {
  const differences: string[] = [];
  const concepts = chooseConcepts(limit).length;
  const drawn = drawnConcepts(out);
  const work = ["rewrites/eda", "rewrites/llm", "runs"].some((folder) => existsSync(join(out, folder)));
  if (work && drawn !== undefined && drawn !== concepts) differences.push(`${drawn} concepts there, ${concepts} now (--limit)`);
  const other = runLengths(out).find((length) => length !== steps);
  if (other !== undefined) differences.push(`runs of ${other} steps there, ${steps} now (--steps)`);
  if (differences.length === 0) return;
  throw new UsageError(`${out} holds a demo with other settings: ${differences.join("; ")}.`, {
    mend: `Delete ${out} to start over, choose another --out, or give the settings it was made with.`,
  });
}

/** Steps of each run that was begun. */
function runLengths(out: string): number[] {
  const runs = join(out, "runs");
  if (!existsSync(runs)) return [];
  return readdirSync(runs)
    .map((name) => join(runs, name, "config.json"))
    .filter((path) => existsSync(path))
    .map((path) => (readJson(path, "run configuration") as { totalSteps: number }).totalSteps);
}
