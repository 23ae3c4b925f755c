/**
 * The demo's folder, as an earlier start or somebody else has left it.
 *
 * One demo at a time works there. Texts and models are made for one choice of concepts and one number of steps. Asked for others, the
 * demo says so at once: found out later, it would already have drawn another world over the one that the finished runs belong to. A
 * folder of other things is refused as soon, rather than when the report is to be written over them.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { emojiClip } from "../recipes/index.ts";
import { DataError, FolderLock, UsageError, makeFolder, readJson } from "../support/index.ts";
import { chooseConcepts, drawnConcepts } from "./emoji-world.ts";
import { refuseForeignReport, reportFiles } from "./report.ts";

/** What has to be the same at every start in one folder. */
export interface DemoSettings {
  out: string;
  /** See `DemoOptions`. */
  steps?: number | undefined;
  /** See `DemoOptions`. */
  limit?: number | undefined;
}

/**
 * Makes `out` or takes the one that is there; give the lock back when the report is written.
 * @throws DataError when `out` holds other things than a demo, or another demo is at work there; UsageError when it holds rewrites or
 *   runs of another choice of concepts, or runs of another length
 */
export function takeDemoFolder(settings: DemoSettings): FolderLock {
  const { out } = settings;
  refuseForeignFolder(out);
  makeFolder(out);
  const lock = FolderLock.take(join(out, "lock"), "demo");
  try {
    refuseOtherSettings(settings);
  } catch (error) {
    lock.release();
    throw error;
  }
  return lock;
}

/** What a demo leaves in its folder; its drawings are made beside their place, and a lock may be left by a crash. */
const ownNames = /^(data(\.tmp-.*)?|rewrites|runs|rewriter\.json|results\.json(\.tmp-.*)?|report\.html(\.tmp-.*)?|lock(\..*)?)$/;

/** People may put their own things into a demo's folder, but a folder of other things does not become a demo's. */
function refuseForeignFolder(out: string): void {
  if (!existsSync(out)) return;
  let names: string[];
  try {
    names = readdirSync(out);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTDIR") throw error;
    throw new DataError(`${out}: this is a file, expected a folder for the demo.`, { mend: otherOut });
  }
  const foreign = names.includes("data") ? undefined : names.find((name) => !ownNames.test(name));
  if (foreign !== undefined) throw new DataError(`${out}: this folder holds other files ("${foreign}") and no demo.`, { mend: otherOut });
  refuseForeignReport(reportFiles(out));
}

const otherOut = "Give another --out: a folder that does not exist yet, or that of an earlier demo.";

function refuseOtherSettings({ out, steps = emojiClip.training.steps, limit }: DemoSettings): void {
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
