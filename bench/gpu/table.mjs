/**
 * What was measured, as a table in Markdown.
 *
 * TFLOP/s and MFU count what the model needs for these images and these captions (src/training/speedometer.ts), the same for all programs of
 * a part: what one computes on padding, or twice, is its own affair.
 */

/**
 * @typedef {object} Result
 * @property {string} name of the part
 * @property {string} program
 * @property {number} seconds that it took in all
 * @property {Record<string, any>} [outcome] what it printed; of tests, how many passed
 * @property {string} [failed] why there is none
 * @property {string} [note]
 */

/** @param {unknown} value @param {number} digits */
const shown = (value, digits) => (typeof value === "number" ? value.toFixed(digits) : "");

/** @param {number} bytes */
const gibibytes = (bytes) => (bytes / 2 ** 30).toFixed(1);

/** @param {readonly Result[]} results */
export function table(results) {
  const devices = [...new Set(results.map(({ outcome }) => outcome?.gpu).filter(Boolean))];
  const lines = [
    `Device: ${devices.join(", ")}`,
    "",
    "| what | program | setting | images/s | of the repository's way | s a step | s until given | waits | TFLOP/s | MFU | GiB | note |",
    "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
  ];
  const columns = lines.at(-2)?.split("|").length ?? 0;
  for (const result of results) {
    const row = `| ${cells(result, results).join(" | ")} |`;
    if (row.split("|").length !== columns) throw new Error(`A row has not the columns of the table: ${row}`);
    lines.push(row);
  }
  for (const { name, outcome } of results) {
    if (outcome?.profileTables === undefined) continue;
    lines.push("", `## ${name}${outcome.recorded ? ", with graphs" : ""}`, "", outcome.profileTables.trimEnd());
  }
  return lines.join("\n");
}

/** What became of the time of a step that reads pictures. @param {Record<string, any>} outcome */
function feeding({ waiting, loaderAlone, decoder, processors, kilobytes }) {
  if (typeof waiting !== "number") return undefined;
  return (
    `waits for data ${(100 * waiting).toFixed(1)} % of a step; the loader alone ${shown(loaderAlone, 0)} images/s ` +
    `on ${processors} processors, ${decoder}, ${shown(kilobytes, 0)} kB a picture`
  );
}

/** @param {Result} result @param {readonly Result[]} all */
function cells({ name, program, outcome = {}, failed, note }, all) {
  const remark = [
    failed && `FAILED: ${failed}`,
    outcome.error,
    outcome.obstacle && `no graphs: ${outcome.obstacle}`,
    note,
    feeding(outcome),
    outcome.profileTables && "being watched takes time of its own; tables below",
  ]
    .filter(Boolean)
    .join("; ")
    .replaceAll("|", "/")
    .replaceAll("\n", " ");
  if (program === "tests") {
    const counts = `${outcome.pass ?? 0} passed, ${outcome.fail ?? 0} failed, ${outcome.skipped ?? 0} skipped`;
    return [name, program, "", "", "", "", "", "", "", "", "", [counts, remark].filter(Boolean).join("; ")];
  }
  if (program === "kernels") {
    /** @param {{ forward: number, both?: number } | undefined} way */
    const rates = (way) => (way === undefined ? "none" : [way.forward, way.both].filter((rate) => rate !== undefined).join(" and "));
    const found = (outcome.gigabytesPerSecond ?? []).map(
      /** @param {Record<string, any>} one */ (one) => `${one.name}: ${rates(one.ours)}, plain ${rates(one.plain)}`,
    );
    const what = found.length > 0 ? `GB/s forward and with the way back: ${found.join("; ")}` : "";
    return [name, program, "bf16", "", "", "", "", "", "", "", "", [what, remark].filter(Boolean).join("; ")];
  }
  // With --small the models are not of one size.
  const beside = all.filter(
    (other) => other.name === name && other.outcome?.imagesPerSecond !== undefined && other.outcome["preset"] === outcome.preset,
  );
  const repository = beside.find((other) => other.program === "PyTorch, repository")?.outcome;
  const own = beside.find((other) => other.program === "laclip" && other.outcome?.["train/tflops"] !== undefined)?.outcome;
  const setting = [
    outcome.precision,
    outcome.tf32 ? "TF32" : "",
    outcome.method,
    outcome.from && `from ${outcome.from}, batch ${outcome.batch}`,
    outcome.texts && outcome.texts !== "1" ? `K ${outcome.texts}` : "",
    outcome.method === "slip" && outcome.views === "device" ? "colours on the device" : "",
    outcome.recorded ? `${outcome.recorded} graphs, ${outcome.replays} replays` : "",
    outcome.micro ? `micro ${outcome.micro}` : "",
    outcome.recompute === true ? "blocks computed again" : "",
    outcome.plain ? "plain operators" : "",
    program === "PyTorch, best" && outcome.compile ? `compile ${outcome.compile}` : "",
  ];
  // The same work: what ours counted, at the other's speed. MFU is of the peak for its own precision, so only where that is the same.
  const speed = outcome["train/tflops"] === undefined && own !== undefined ? outcome.imagesPerSecond / own.imagesPerSecond : 1;
  const counted = outcome["train/tflops"] === undefined ? own : outcome;
  const halves = ["bf16", "fp16"];
  const comparable =
    counted?.precision === outcome.precision || (halves.includes(counted?.precision) && halves.includes(outcome.precision));
  const mfu =
    comparable && outcome.imagesPerSecond && counted?.["train/mfu"] !== undefined ? 100 * counted["train/mfu"] * speed : undefined;
  return [
    name,
    program,
    setting.filter(Boolean).join(", "),
    shown(outcome.imagesPerSecond, 1),
    repository && outcome.imagesPerSecond ? (outcome.imagesPerSecond / repository.imagesPerSecond).toFixed(2) : "",
    shown(outcome.median, 4),
    shown(outcome.given, 4),
    shown(outcome.waits, 0),
    counted && outcome.imagesPerSecond ? shown(counted["train/tflops"] * speed, 1) : "",
    mfu === undefined ? "" : `${mfu.toFixed(1)} %`,
    outcome.memory ? gibibytes(outcome.memory.peak) + (outcome.estimate ? ` (${gibibytes(outcome.estimate)} estimated)` : "") : "",
    remark,
  ];
}
