/**
 * Memory of the machine that a process may still take: what Linux calls available, within the limits of its control groups (those of
 * containers, of Slurm and of Kubernetes).
 *
 * Node's own `process.availableMemory` counts the cache of files that were read as taken; a loader reads files all the time.
 */
import { existsSync, readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { join } from "node:path";

/** Bytes. @param root folder that holds `proc` and `sys`; default "/" */
export function availableMemory(root = "/"): number {
  const ofMachine = /^MemAvailable:\s+(\d+) kB$/m.exec(readOr(join(root, "proc/meminfo")))?.[1];
  // Other systems count memory that they would give at once as taken: half of all is a guess that a laptop survives.
  if (ofMachine === undefined) return Math.max(freemem(), totalmem() / 2);
  return Math.max(0, Math.min(Number(ofMachine) * 1024, ...groupLimits(root)));
}

/** What is left below the limit of each control group that this process is in. */
function groupLimits(root: string): number[] {
  const groups = readOr(join(root, "proc/self/cgroup")).split("\n");
  return groups.flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (controllers === "") return upwards(join(root, "sys/fs/cgroup"), path, "memory.max", "memory.current", "");
    if (!controllers.split(",").includes("memory")) return [];
    const names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_"] as const;
    return upwards(join(root, "sys/fs/cgroup/memory"), path, ...names);
  });
}

/** The same for a group and all that it lies in. A container may see its own group as the root, whatever its path. */
function upwards(mount: string, path: string, limitFile: string, usageFile: string, ofAll: string): number[] {
  const left: number[] = [];
  const parts = path.split("/").filter(Boolean);
  for (let depth = parts.length; depth >= 0; depth--) {
    const folder = join(mount, ...parts.slice(0, depth));
    if (!existsSync(join(folder, limitFile))) continue;
    const limit = Number(readOr(join(folder, limitFile)));
    if (!Number.isFinite(limit)) continue; // "max"
    const statistics = readOr(join(folder, "memory.stat"));
    // Files that are read again and again are active, and are given back all the same.
    const cached = ["inactive_file", "active_file"].map((kind) => new RegExp(`^${ofAll}${kind} (\\d+)$`, "m").exec(statistics)?.[1] ?? 0);
    left.push(limit - Number(readOr(join(folder, usageFile))) + cached.reduce<number>((sum, bytes) => sum + Number(bytes), 0));
  }
  return left;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
