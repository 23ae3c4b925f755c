import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("main.js", import.meta.url));

const faults: readonly [args: string, says: RegExp][] = [
  ["train x --dta y", /unknown option '--dta'\n\(Did you mean --data\?\)/],
  ["evaluate zero-shot --model m --dataste d", /unknown option '--dataste'\n\(Did you mean --dataset\?\)/],
  ["train", /missing required argument 'recipe'/],
  ["train emoji-clip --data x", /required option '--out <folder>' not specified/],
  ["train emoji-clip", /required options '--data <file>', '--out <folder>' not specified/],
  ["train emoji-clip --data x --out y z", /too many arguments/],
  ["trian", /unknown command 'trian'\n\(Did you mean train\?\)/],
];

for (const [args, says] of faults) {
  test(`laclip ${args}: the slip is named, not what follows from it`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args.split(" ")], { encoding: "utf8" });
    assert.match(stderr, says);
    assert.equal(stderr.match(/error:/g)?.length, 1, stderr);
    assert.equal(stdout, "");
    assert.equal(status, 2);
  });
}
