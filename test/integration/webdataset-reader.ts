/**
 * A webdataset as open_clip's trainer reads it with --json-text-key and --json-text-key-probs, written from the description of
 * these flags: members are grouped by key, keys are drawn into a random order by their weights (those of weight 0 come last, as
 * they stand), and the first wins under which the `.json` has a text that is not empty. Tars are unpacked by the system's program.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Random } from "../../src/support/index.ts";

/** A sample: its members by suffix. */
export type Sample = { key: string; members: Map<string, Buffer> };

/** The samples of a tar, in its order. */
export function unpackSamples(tar: string): Sample[] {
  const folder = mkdtempSync(join(tmpdir(), "laclip-unpack-"));
  try {
    const { status, stdout, stderr } = spawnSync("tar", ["-xvf", tar, "-C", folder], { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    const samples: Sample[] = [];
    for (const name of stdout.split("\n").filter((line) => line !== "" && !line.endsWith("/"))) {
      const slash = name.lastIndexOf("/") + 1;
      const dot = name.indexOf(".", slash);
      if (dot <= slash) continue;
      const [key, suffix] = [name.slice(0, dot), name.slice(dot + 1).toLowerCase()];
      let sample = samples.at(-1);
      if (sample?.key !== key || sample.members.has(suffix)) samples.push((sample = { key, members: new Map() }));
      sample.members.set(suffix, readFileSync(join(folder, name)));
    }
    return samples;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The caption that a step would train on; "" for a sample that the trainer leaves out. */
export function drawCaption(sample: Sample, jsonTextKey: string, weights: readonly number[] | undefined, random: Random): string {
  const json = sample.members.get("json");
  if (!json) return "";
  const object = JSON.parse(json.toString("utf8")) as Record<string, unknown>;
  const keys = jsonTextKey.split(";");
  const weighted = keys.map((key, i) => ({ key, weight: weights ? (weights[i] ?? 0) : 0 }));
  const order: string[] = [];
  const left = weighted.filter(({ weight }) => weight > 0);
  while (left.length > 0) {
    let at = random.uniform() * left.reduce((sum, { weight }) => sum + weight, 0);
    const chosen = left.findIndex(({ weight }) => (at -= weight) < 0);
    order.push(...left.splice(Math.max(chosen, 0), 1).map(({ key }) => key));
  }
  order.push(...weighted.filter(({ weight }) => weight <= 0).map(({ key }) => key));
  for (const key of order) {
    const value = object[key];
    if (typeof value === "string" && value.trim() !== "") return value.trim();
  }
  return "";
}
