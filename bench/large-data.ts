/** Data sets of millions of captions, made for benchmarks. */
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { builtInSources } from "../src/rewriting/index.ts";

const vocabulary =
  "a red car on the road near two dogs that sleep under old trees with green leaves while people walk along river in morning light".split(
    " ",
  );

/**
 * Writes a csv with captions of eleven words, about 60 characters, and ids of nine digits.
 * @param image path that each row has for its image; default: no such column
 */
export function makeCaptions(path: string, count: number, image?: string): void {
  const file = openSync(path, "w");
  let state = 12_345;
  let lines = image === undefined ? "id,caption\n" : "id,image,caption\n";
  for (let i = 0; i < count; i++) {
    lines += `${String(i).padStart(9, "0")},${image === undefined ? "" : `${image},`}`;
    for (let word = 0; word < 11; word++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      lines += `${vocabulary[(state >>> 16) % vocabulary.length]!} `;
    }
    lines += `${i}\n`;
    if (lines.length < 1 << 20) continue;
    writeSync(file, lines);
    lines = "";
  }
  writeSync(file, lines);
  closeSync(file);
}

/** Replaces what is in a rewrites folder by finished parts for the first `done` captions, a chunk of 65,536 captions each. */
export async function fillRewrites(captions: string, out: string, done: number): Promise<void> {
  for (const name of ["parts", "log"]) rmSync(join(out, name), { recursive: true });
  mkdirSync(join(out, "parts"));
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const database = await DuckDBInstance.create(join(out, "filling.duckdb"), { memory_limit: "2GB" });
  const connection = await database.connect();
  await connection.run(
    `CREATE TABLE captions AS SELECT row_number() OVER () - 1 AS number, * FROM read_csv('${captions}', all_varchar=true) LIMIT ${done}`,
  );
  const sources = builtInSources.map(({ name }, i) => `('${name}', ${i})`).join(", ");
  for (let from = 0, part = 0; from < done; from += 65_536, part++) {
    await connection.run(
      `COPY (SELECT id, source, 'so ' || caption AS text, []::VARCHAR[] AS flags, 'stop' AS finish, 14::BIGINT AS tokens,
              (hash(id || source) >> 33)::BIGINT AS seed, [source || '/1', source || '/5', source || '/16'] AS examples, NULL::DOUBLE AS weight
              FROM captions, (VALUES ${sources}) AS sources(source, place)
              WHERE number >= ${from} AND number < ${from + 65_536} ORDER BY place, hash(id))
         TO '${join(out, "parts", `${String(part).padStart(6, "0")}.parquet`)}' (FORMAT parquet, COMPRESSION zstd)`,
    );
  }
  connection.closeSync();
  database.closeSync();
  for (const name of readdirSync(out)) if (name.startsWith("filling.duckdb")) rmSync(join(out, name));
}
