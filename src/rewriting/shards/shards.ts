/**
 * A data set cut into shards, so that many machines can rewrite it without knowing of each other.
 *
 * Shard 3/16 is the third of sixteen nearly equal ranges of the captions, by their position among those that can be rewritten. Each
 * is a rewrites folder of its own, OUT/shards/0003-of-0016, and says in its manifest which range of which data set it holds; that is
 * what a merge goes by, not the names. Job arrays say through variables which shard a task is to do: Slurm's sbatch(1), "Job Array
 * Support", and Kubernetes' "Indexed Job".
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { isRewritesFolder } from "../../data/index.ts";
import { DataError, UsageError } from "../../support/index.ts";

/** One of several shards, counted from 1. */
export interface Shard {
  readonly number: number;
  readonly of: number;
}

/** A shard, and what said that it is this one. */
export interface ChosenShard extends Shard {
  /** In words: "--shard 3/16", or the variables that were read and their values. */
  readonly from: string;
}

/** The most shards that a data set is cut into. */
const mostShards = 1_000_000;

/**
 * The shard that a command is to do.
 * @param text `3/16`, `auto` (number and count from the variables of a job array), or `auto/16` (the number alone from there)
 * @param environment variables of the process
 * @throws UsageError when it is neither, out of range, or the variables are missing or don't say enough
 */
export function chooseShard(text: string, environment: Readonly<Record<string, string | undefined>> = process.env): ChosenShard {
  const [, number, of] = /^(auto|\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  if (number === undefined || (number !== "auto" && of === undefined)) {
    throw new UsageError(`--shard ${text}: expected number/count, such as 3/16 for the third of sixteen, or auto.`);
  }
  const count = of === undefined ? undefined : Number(of);
  if (count !== undefined && (count < 1 || count > mostShards)) {
    throw new UsageError(`--shard ${text}: expected 1 to ${mostShards} shards, got ${of}.`);
  }
  if (number === "auto") return shardOfTask(count, environment);
  if (Number(number) < 1 || Number(number) > count!) {
    throw new UsageError(`--shard ${text}: shards are counted from 1: the first is 1/${of}, the last ${of}/${of}.`);
  }
  return { number: Number(number), of: count!, from: `--shard ${text}` };
}

/** The range of captions, by position, that a shard of `total` captions holds: sizes differ by one at most. */
export function shardRows({ number, of }: Shard, total: number): { from: number; to: number } {
  return { from: Math.floor(((number - 1) * total) / of), to: Math.floor((number * total) / of) };
}

/** The rewrites folder of a shard: `OUT/shards/0003-of-0016`. */
export function shardFolder(out: string, { number, of }: Shard): string {
  const digits = Math.max(4, String(of).length);
  return join(out, "shards", `${String(number).padStart(digits, "0")}-of-${String(of).padStart(digits, "0")}`);
}

/** The shards of a folder, whatever it holds beside them, by their names. */
export function shardFolders(out: string): string[] {
  const folder = join(out, "shards");
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return [];
  return readdirSync(folder)
    .filter((name) => /^\d+-of-\d+$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/**
 * Refuses a shard of another cut than those that are there already, and a folder that holds a whole data set.
 * @throws UsageError or DataError naming what is there
 */
export function refuseOtherCut(out: string, { of }: Pick<Shard, "of">): void {
  if (isRewritesFolder(out)) {
    throw new DataError(`${out}: this is a rewrites folder that is not cut into shards.`, {
      mend: "Name another folder for the shards, or leave --shard out.",
    });
  }
  const other = shardFolders(out).find((folder) => Number(/-of-(\d+)$/.exec(folder)![1]) !== of);
  if (other === undefined) return;
  throw new UsageError(`${other}: the data set was cut into another number of shards before, not ${of}.`, {
    mend: "Use the same count for all shards (--shard auto/COUNT where only some tasks of a job array are started again), or another --out.",
  });
}

function shardOfTask(count: number | undefined, environment: Readonly<Record<string, string | undefined>>): ChosenShard {
  if (environment["SLURM_ARRAY_TASK_ID"] !== undefined) return shardOfSlurm(count, environment);
  const index = wholeFrom(environment, "JOB_COMPLETION_INDEX");
  if (index === undefined) {
    throw new UsageError("--shard auto: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set.", {
      mend: "Start this in a Slurm array or a Kubernetes Indexed Job, or name the shard: --shard 3/16.",
    });
  }
  const of = count ?? wholeFrom(environment, "JOB_COMPLETIONS");
  if (of === undefined) {
    throw new UsageError("--shard auto: JOB_COMPLETION_INDEX says which shard this is, but not of how many: Kubernetes does not tell.", {
      mend: "Give the job's `completions`: --shard auto/16, or the environment variable JOB_COMPLETIONS.",
    });
  }
  const counted = count === undefined ? `, JOB_COMPLETIONS=${of}` : "";
  return fromIndex(index, of, `JOB_COMPLETION_INDEX=${index}${counted}`);
}

function shardOfSlurm(count: number | undefined, environment: Readonly<Record<string, string | undefined>>): ChosenShard {
  const id = wholeFrom(environment, "SLURM_ARRAY_TASK_ID")!;
  // With a count, tasks are numbered from 0: that holds too when only some of them are started again.
  if (count !== undefined) return fromIndex(id, count, `SLURM_ARRAY_TASK_ID=${id}`);
  const of = wholeFrom(environment, "SLURM_ARRAY_TASK_COUNT");
  const first = wholeFrom(environment, "SLURM_ARRAY_TASK_MIN");
  const last = wholeFrom(environment, "SLURM_ARRAY_TASK_MAX");
  const step = wholeFrom(environment, "SLURM_ARRAY_TASK_STEP") ?? 1;
  if (of === undefined || first === undefined) {
    throw new UsageError("--shard auto: SLURM_ARRAY_TASK_ID is set, SLURM_ARRAY_TASK_COUNT and SLURM_ARRAY_TASK_MIN are not.", {
      mend: "Give the number of shards: --shard auto/16, with an array numbered from 0 to 15.",
    });
  }
  if (last !== undefined && Math.floor((last - first) / Math.max(1, step)) + 1 !== of) {
    throw new UsageError(
      `--shard auto: this job array has ${of} tasks between ${first} and ${last}, with gaps: they don't say which shard is which.`,
      {
        mend: "Give the number of shards of the whole array: --shard auto/16, with an array numbered from 0 to 15.",
      },
    );
  }
  return fromIndex(
    (id - first) / Math.max(1, step),
    of,
    `SLURM_ARRAY_TASK_ID=${id}, SLURM_ARRAY_TASK_COUNT=${of}, SLURM_ARRAY_TASK_MIN=${first}`,
  );
}

function fromIndex(index: number, of: number, from: string): ChosenShard {
  if (Number.isInteger(index) && index >= 0 && index < of && of <= mostShards) return { number: index + 1, of, from };
  throw new UsageError(`--shard auto: ${from} is out of range: expected a task from 0 to ${of - 1}, for ${of} shards.`, {
    mend: "Number the tasks of the job array from 0 to one less than the number of shards.",
  });
}

function wholeFrom(environment: Readonly<Record<string, string | undefined>>, name: string): number | undefined {
  const text = environment[name];
  if (text === undefined || text === "") return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new UsageError(`--shard auto: the environment variable ${name} is ${JSON.stringify(text)}, expected a whole number.`);
}
