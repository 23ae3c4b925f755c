/** What is left of a machine's memory, from files as Linux has them. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { availableMemory } from "./available-memory.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-memory-"));
after(() => rmSync(folder, { recursive: true }));
const gib = 2 ** 30;

let machines = 0;
/** A machine with 16 GiB available, and more files. */
function machine(files: Record<string, string | number>): string {
  const root = join(folder, String(machines++));
  const all = { "proc/meminfo": `MemTotal: 99999999 kB\nMemAvailable:   ${16 * 2 ** 20} kB\n`, ...files };
  for (const [name, content] of Object.entries(all)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), `${content}\n`);
  }
  return root;
}

test("this machine has some memory, and not more than all", () => {
  const bytes = availableMemory();
  assert.ok(bytes > 2 ** 20 && bytes <= totalmem(), String(bytes));
});

test("without limits, what the machine has", () => {
  assert.equal(availableMemory(machine({})), 16 * gib);
  assert.equal(availableMemory(machine({ "proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max" })), 16 * gib);
});

test("the narrowest of nested groups counts, files in the cache don't", () => {
  const root = machine({
    "proc/self/cgroup": "0::/job.slice/step",
    "sys/fs/cgroup/job.slice/memory.max": 8 * gib,
    "sys/fs/cgroup/job.slice/memory.current": 5 * gib,
    "sys/fs/cgroup/job.slice/memory.stat": `anon 1\ninactive_file ${gib / 4}\nactive_file ${(3 * gib) / 4}`,
    "sys/fs/cgroup/job.slice/step/memory.max": "max",
    "sys/fs/cgroup/job.slice/step/memory.current": 5 * gib,
  });
  assert.equal(availableMemory(root), 4 * gib);
});

test("groups of the older kind", () => {
  const root = machine({
    "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": gib,
    "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": 3 * gib,
    "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes": 2 * gib,
    "sys/fs/cgroup/memory/a/b/memory.stat": `cache 4096\nactive_file 5\ntotal_inactive_file ${gib / 4}\ntotal_active_file ${gib / 4}`,
  });
  assert.equal(availableMemory(root), 1.5 * gib);
});

test("a container that sees its own group as the root", () => {
  const root = machine({
    "proc/self/cgroup": "0::/docker/0123",
    "sys/fs/cgroup/memory.max": 2 * gib,
    "sys/fs/cgroup/memory.current": 3 * gib,
    "sys/fs/cgroup/memory.stat": "inactive_file 0",
  });
  assert.equal(availableMemory(root), 0, "a group above its limit has nothing left");
});
