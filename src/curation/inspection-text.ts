/**
 * What an inspection found, for a terminal.
 */
import { thousands } from "../support/index.ts";
import type { DataInspection } from "./inspect-data.ts";
import { captionFacts, concerns, describeSamples, describeSampling, imageFacts, rewriteFacts } from "./inspection-facts.ts";
import type { Facts } from "./inspection-facts.ts";

/** Several lines, a block for each thing that was looked at. */
export function describeInspection(inspection: DataInspection): string {
  const { path, leftOut, captions, images, shown } = inspection;
  const lines = [`${path}: ${describeSamples(inspection)}`, ...leftOut.map((example) => `    ${example}`)];
  const sampling = describeSampling(inspection);
  if (sampling) lines.push(sampling);
  lines.push(...concerns(inspection).map((concern) => `  ! ${concern}`));
  // Of nothing, all numbers are zero and say nothing.
  if (inspection.samples === 0) return lines.map(printable).join("\n");
  lines.push("captions", ...block(captionFacts(inspection)));
  if (captions.mostFrequent.length > 0) {
    lines.push(
      "  most frequent",
      ...captions.mostFrequent.slice(0, 5).map(({ text, count: times }) => `    ${thousands(times)}  ${short(text)}`),
    );
  }
  lines.push("images", ...block(imageFacts(inspection)));
  if (images.brokenExamples.length > 0) lines.push("  broken, such as", ...images.brokenExamples.map((example) => `    ${example}`));
  if (images.same.length > 0)
    lines.push("  the same file", ...images.same.map(({ count: times, ids }) => `    ${times}  ${ids.join(", ")}`));
  const rewrites = rewriteFacts(inspection);
  if (rewrites) lines.push("rewrites", ...block(rewrites));
  if (shown.length > 0) lines.push("samples");
  for (const { id, caption, rewrites: texts } of shown) {
    lines.push(`  ${id}`, `    ${short(caption)}`, ...texts.map(({ source, text }) => `    > ${source}: ${short(text)}`));
  }
  return lines.map(printable).join("\n");
}

function block(facts: Facts): string[] {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`);
}

function short(text: string): string {
  const line = printable(text);
  return line.length > 160 ? `${line.slice(0, 159)}\u2026` : line;
}

/** One line that can't steer the terminal, whatever a caption holds. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_C}\u2028\u2029]+/gu, " ");
}
