/**
 * The statistics of a rewrites folder for a terminal.
 */
import { percent } from "../../support/index.ts";
import { rewriteChecks } from "../checks/check-table.ts";
import type { RewritesStatistics, SourceStatistics, StatisticsExample } from "./statistics.ts";

/** Several lines, a block for each source. */
export function describeStatistics(statistics: RewritesStatistics): string {
  const { folder, dataset, captions, rewrites, sample, sources, captionLength, examples } = statistics;
  const part = captions === dataset.count ? "" : ` (${captions} of them in this folder's shard)`;
  const lines = [`${folder}: ${rewrites} rewrites of ${dataset.count} captions of ${dataset.name}${part}`];
  lines.push(
    sample.whole ? "All texts were looked at." : `Words, lengths and likeness are those of ${sample.captions} captions drawn from all.`,
  );
  if (captionLength && captionLength.texts > 0)
    lines.push(`Captions: ${captionLength.mean.toFixed(1)} CLIP tokens on average, ${percent(captionLength.truncated)} over 77.`);
  for (const source of sources) {
    lines.push("", ...describeSource(source));
    const own = examples.filter((example) => example.source === source.source);
    for (const [flag, count] of Object.entries(source.flags).sort(([, a], [, b]) => b - a)) {
      lines.push(`  ${flag}: ${count} (${percent(count / source.rewrites)})`);
      for (const example of own) if (example.flag === flag) lines.push(...describeExample(example));
    }
    const worst = own.filter(({ flag }) => flag === "fits-least");
    if (worst.length > 0) lines.push("  least like their image", ...worst.flatMap(describeExample));
    const plain = own.filter(({ flag }) => flag === undefined);
    if (plain.length > 0) lines.push("  without flags, such as", ...plain.flatMap(describeExample));
  }
  return lines.join("\n");
}

function describeSource(source: SourceStatistics): string[] {
  const { made, rewrites, usable, missing, duplicates, sampled, length, complaints } = source;
  const lines = [
    `${source.source} (${made.engine}, ${made.model}, seed ${made.seed}; ${made.provenance})`,
    `  ${rewrites} rewrites, ${usable} usable, ${missing} captions without`,
  ];
  for (const complaint of complaints) lines.push(`  ! ${complaint}`);
  if (sampled === 0) return lines;
  lines.push(
    `  ${source.meanWords.toFixed(1)} words and ${length.mean.toFixed(1)} CLIP tokens on average, ${percent(length.truncated)} over 77`,
    `  ${percent(duplicates / sampled)} say the same as another rewrite of their caption${number(", BLEU against those", source.siblingBleu)}`,
    `  distinct-1 ${source.distinct1.toFixed(3)}, distinct-2 ${source.distinct2.toFixed(3)}${number(", self-BLEU", source.selfBleu)} (of ${source.diversityTexts} texts)`,
  );
  if (source.meanWeight !== 1) lines.push(`  weight in training ${source.meanWeight.toFixed(2)} on average, a caption's being 1`);
  const { fit } = source;
  if (fit) {
    lines.push(
      `  fit to the image, less the caption's: ${fit.mean.toFixed(3)} on average; ${percent(fit.worse)} of ${fit.rewrites} fit less well than their caption`,
    );
  }
  const faithful = describeMeasures(source).map(({ says, value }) => [value, says]);
  if (source.captionBleu !== undefined) faithful.push([source.captionBleu.toFixed(2), "BLEU against the caption"]);
  if (faithful.length > 0)
    lines.push("  against the caption, on average", ...faithful.map(([value, says]) => `    ${value!.padStart(7)}  ${says}`));
  return lines;
}

/** What the checks measured against the captions, as words and a number each. */
export function describeMeasures({ measures = {} }: SourceStatistics): { says: string; value: string; mean: number; texts: number }[] {
  return Object.entries(measures).flatMap(([name, { mean, texts }]) => {
    const check = rewriteChecks.find((candidate) => candidate.name === name);
    if (!check || !("measures" in check)) return [];
    const value = check.measures.startsWith("share") ? percent(mean) : mean.toFixed(2);
    return [{ says: check.measures, value, mean, texts }];
  });
}

function describeExample({ id, text, caption }: StatisticsExample): string[] {
  const name = printable(id);
  const rewrite = `    ${name}: ${printable(text)}`;
  return caption === undefined ? [rewrite] : [`    ${name}: ${printable(caption)}`, `    ${" ".repeat(name.length)}> ${printable(text)}`];
}

/** One line that can't steer the terminal, whatever a caption holds. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_C}\u2028\u2029]+/gu, " ");
}

function number(says: string, value: number | undefined): string {
  return value === undefined ? "" : `${says} ${value.toFixed(2)}`;
}
