/**
 * Checks that src/torch/operators.generated.ts is what its generator writes, and that it tells the truth about the libtorch in use.
 *
 *   node scripts/check-generated.mjs
 *
 * With libtorch 1.13, which the file is made from, it is made again and compared byte for byte. With any other version two things are
 * checked instead: that the generator writes the same bytes from the schemas that the file quotes, and that this libtorch takes every
 * call that the file's signatures allow. Exit code 1 and a list of what is wrong when a check fails.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { generate, split, target } from "./generate-operators.mjs";

/** The version whose schemas the checked-in file is made from. */
export const generatedFrom = "1.13";

/**
 * Operators of 1.13 whose signatures newer versions do not take, and why. The program uses none of them; a call is a NativeError there.
 * @type {Record<string, string>}
 */
export const knownExceptions = {
  "aten::cholesky": "removed in 2.14, `linalg_cholesky` takes its place",
  "aten::frobenius_norm": "without a dimension: removed, `frobenius_norm.dim` with an empty list is the same",
  "aten::qr": "removed in 2.14, `linalg_qr` takes its place",
  "aten::qr.Q": "removed in 2.14, `linalg_qr` takes its place",
  "aten::symeig": "removed, `linalg_eigh` takes its place",
  "aten::symeig.e": "removed, `linalg_eigh` takes its place",
};

/** @typedef {{ name: string, type: string, optional: boolean, defaulted: boolean }} Argument */
/** @typedef {{ operator: string, arguments: Argument[], returns: string }} Schema */

/**
 * What matters of a schema for a caller: sizes count as integers whether symbolic or not, and marks of aliasing do not count.
 * @param {string} text such as "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"
 * @returns {Schema}
 */
export function readSchema(text) {
  const match = /^(aten::[\w.]+)\((.*)\) -> (.*)$/.exec(text);
  if (!match) throw new Error(`not a schema: ${text}`);
  const plain = (/** @type {string} */ type) => type.replaceAll("SymInt", "int").replace(/\([a-z*!| ->]*\)/g, "");
  return {
    operator: match[1],
    arguments: split(match[2])
      .filter((part) => part !== "*")
      .map((part) => {
        const [, type, name, value] = /** @type {RegExpExecArray} */ (/^(.+?) (\w+)(?:=(.*))?$/.exec(part));
        const optional = type.endsWith("?");
        return {
          name: name.replace(/_$/, ""),
          type: plain(optional ? type.slice(0, -1) : type),
          optional,
          defaulted: value !== undefined || optional,
        };
      }),
    // Results may have names, which do not matter.
    returns: split(plain(match[3]).replace(/^\(|\)$/g, ""))
      .map((part) => part.split(" ")[0])
      .join(", "),
  };
}

/**
 * Why a call that `old` allows is not one of `now`, or undefined when it is.
 * @param {Schema} old
 * @param {Schema} now
 */
export function incompatibility(old, now) {
  for (const [i, was] of old.arguments.entries()) {
    const is = now.arguments[i];
    if (is === undefined) return `argument ${i + 1} (${was.name}) is gone`;
    if (is.name !== was.name) return `argument ${i + 1} was ${was.name} and is ${is.name}`;
    if (is.type !== was.type && !widens(was.type, is.type)) return `${was.name} was ${was.type} and is ${is.type}`;
    if (was.optional && !is.optional) return `${was.name} can no longer be left empty`;
    if (was.defaulted && !is.defaulted) return `${was.name} can no longer be left out`;
  }
  const added = now.arguments.slice(old.arguments.length).find(({ defaulted }) => !defaulted);
  if (added !== undefined) return `wants a further argument, ${added.name}`;
  return old.returns === now.returns ? undefined : `gave ${old.returns} and gives ${now.returns}`;
}

/** Whether an argument of type `now` takes every value that one of type `old` takes. */
function widens(/** @type {string} */ old, /** @type {string} */ now) {
  // A list of fixed length also takes one number for all, so it may take the place of a free one, but not the other way round.
  return (["int", "float"].includes(old) && now === "Scalar") || (old.endsWith("[]") && now.replace(/\[\d+\]$/, "[]") === old);
}

/**
 * What is wrong with the generated file; empty when nothing is.
 * @param {string} text the file
 * @param {string} version of the libtorch in use
 * @param {readonly string[]} schemas its schemas
 * @param {Record<string, string>} [exceptions]
 * @returns {string[]}
 */
export function problems(text, version, schemas, exceptions = knownExceptions) {
  if (version.startsWith(`${generatedFrom}.`)) return difference(text, generate(schemas), `libtorch ${version}`);

  const quoted = [...text.matchAll(/^\/\*\* `(aten::.*)` \*\/$/gm)].map((match) => match[1]);
  const found = difference(text, generate(quoted), "the schemas that it quotes itself");
  const present = new Map(
    schemas.filter((schema) => schema.startsWith("aten::")).map((schema) => [schema.slice(0, schema.indexOf("(")), schema]),
  );
  for (const old of quoted.map(readSchema)) {
    const now = present.get(old.operator);
    const why = now === undefined ? "there is no such operator" : incompatibility(old, readSchema(now));
    if (why !== undefined && !(old.operator in exceptions)) found.push(`${old.operator}: in libtorch ${version} ${why}`);
  }
  const operators = new Set(quoted.map((schema) => schema.slice(0, schema.indexOf("("))));
  for (const name of Object.keys(exceptions)) {
    if (!operators.has(name)) found.push(`${name} is listed as an exception, but the file has no such operator`);
  }
  return found;
}

/**
 * @param {string} text
 * @param {string} expected
 * @param {string} source
 * @returns {string[]}
 */
function difference(text, expected, source) {
  if (text === expected) return [];
  const [lines, wanted] = [text.split("\n"), expected.split("\n")];
  const line = wanted.findIndex((one, i) => one !== lines[i]);
  const at = line < 0 ? wanted.length : line;
  const quote = (/** @type {string | undefined} */ one) => (one === undefined ? "the end of the file" : one.slice(0, 200));
  return [
    `line ${at + 1} is not what the generator writes from ${source}.\n  there:     ${quote(lines[at])}\n  generated: ${quote(wanted[at])}`,
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { native } = await import("../dist/src/torch/native.js");
  const { version } = native().libraryInfo();
  const found = problems(readFileSync(target, "utf8"), version, native().schemas());
  const file = "src/torch/operators.generated.ts";
  if (found.length > 0) {
    process.stderr.write(`${file} is not current:\n${found.map((one) => `- ${one}`).join("\n")}\n`);
    process.stderr.write(`Write it again with libtorch ${generatedFrom}: node scripts/generate-operators.mjs\n`);
    process.exitCode = 1;
  } else {
    process.stdout.write(`${file} is current (checked with libtorch ${version})\n`);
  }
}
