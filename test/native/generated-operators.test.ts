/** The generated signatures are current, and the check that says so can fail. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, test } from "node:test";
import { native, ops, torchInfo } from "../../src/torch/index.ts";

interface Check {
  generatedFrom: string;
  knownExceptions: Record<string, string>;
  problems: (text: string, version: string, schemas: readonly string[], exceptions?: Record<string, string>) => string[];
}

const scripts = new URL("../../../scripts/", import.meta.url);
const { problems, knownExceptions, generatedFrom } = (await import(new URL("check-generated.mjs", scripts).href)) as Check;
const file = readFileSync(new URL("../src/torch/operators.generated.ts", scripts), "utf8");
const schemas = native().schemas();
const { version } = torchInfo();

test("scripts/check-generated.mjs finds the checked-in file current", () => {
  const run = spawnSync(process.execPath, [fileURLToPath(new URL("check-generated.mjs", scripts))], { encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /is current/);
});

test("every exported operator is declared once in the file", () => {
  const declared = [...file.matchAll(/^export const (\w+) = operator</gm)].map((match) => match[1]);
  assert.deepEqual(Object.keys(ops).toSorted(), declared.toSorted());
  assert.ok(declared.length > 1000);
});

describe("the check finds", () => {
  test("a line that was edited by hand, whatever the version", () => {
    const edited = file.replace("(self: Tensor) => Tensor", "(self: Tensor) => any");
    for (const one of [version, "99.0.0"]) assert.match(problems(edited, one, schemas)[0]!, /line \d+ is not what the generator writes/);
    assert.match(problems(file.slice(0, -1), "99.0.0", schemas)[0]!, /line/);
  });

  /** What another version would have to be blamed for when one of its schemas were changed. */
  function blamed(name: string, change: (schema: string) => string | undefined): string[] {
    const changed = schemas.flatMap((schema) => (schema.startsWith(`${name}(`) ? (change(schema) ?? []) : schema));
    assert.notDeepEqual(changed, schemas);
    // Under an invented version: 1.13 itself is compared byte for byte.
    const exceptions = version.startsWith(`${generatedFrom}.`) ? {} : knownExceptions;
    return problems(file, "99.0.0", changed, exceptions);
  }

  test("operators that are gone or take something else", () => {
    const wrong: [string, (schema: string) => string | undefined, RegExp][] = [
      ["aten::matmul", () => undefined, /aten::matmul: .* no such operator/],
      ["aten::matmul", (schema) => schema.replace("Tensor other", "Tensor[] other"), /other was Tensor and is Tensor\[\]/],
      ["aten::matmul", (schema) => schema.replace("Tensor other", "Tensor right"), /argument 2 was other and is right/],
      ["aten::matmul", (schema) => schema.replace("Tensor other", "Tensor other, int n"), /wants a further argument, n/],
      ["aten::matmul", (schema) => schema.replace(", Tensor other", ""), /argument 2 \(other\) is gone/],
      ["aten::matmul", (schema) => schema.replace("-> Tensor", "-> (Tensor, Tensor)"), /gave Tensor and gives Tensor, Tensor/],
      ["aten::clamp", (schema) => schema.replace("Scalar? max=None", "Scalar max=1"), /max can no longer be left empty/],
      ["aten::add.Tensor", (schema) => schema.replace("alpha=1", "alpha"), /alpha can no longer be left out/],
      ["aten::conv2d", (schema) => schema.replace(/\w+\[2\] stride=/, "int[] stride="), /stride was int\[2\] and is int\[\]/],
    ];
    for (const [name, change, words] of wrong) {
      const found = blamed(name, change);
      assert.equal(found.length, 1, found.join("\n"));
      assert.match(found[0]!, words);
    }
  });

  test("nothing where a newer version only takes more", () => {
    assert.deepEqual(
      blamed("aten::matmul", (schema) => schema.replace("Tensor other", "Tensor other, *, bool fast=False")),
      [],
    );
    assert.deepEqual(
      blamed("aten::gelu", (schema) => schema.replace("(Tensor self", "(Tensor(a) self")),
      [],
    );
    assert.deepEqual(
      blamed("aten::view", (schema) => schema.replace(/(?:Sym)?[Ii]nt\[\] size/, "SymInt[]? size")),
      [],
    );
    assert.deepEqual(
      blamed("aten::transpose.int", (schema) => schema.replace("int dim0", "Scalar dim0")),
      [],
    );
  });

  test("an exception that is none of the file's operators", () => {
    assert.match(problems(file, "99.0.0", schemas, { ...knownExceptions, "aten::nonsense": "" }).at(-1)!, /aten::nonsense is listed/);
  });
});
