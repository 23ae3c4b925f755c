/** `laclip rewrite --dry-run`: what the same command without it will take. */
import { estimateRewriting } from "../../rewriting/index.ts";
import type { EstimateOptions, RewriteEstimate } from "../../rewriting/index.ts";
import { formatDuration, log, percent } from "../../support/index.ts";
import { print } from "../command.ts";

/** Rewrites a sample, writes nothing, and prints time, tokens and cost. */
export async function dryRun(options: EstimateOptions, { json = false }: { json?: boolean | undefined }): Promise<void> {
  const estimate = await estimateRewriting(options);
  if (json) return print(estimate);
  log.info(`${estimate.sample} captions were tried, nothing was written`);
  if (estimate.promptTokensGuessed) log.info("The model does not say how many tokens a prompt has; four characters are taken for one.");
  print(describe(estimate));
}

function describe({ dataset, captions, model, sources, seconds, cost }: RewriteEstimate): string {
  const rows = [
    ["source", "captions/s", "prompt tokens", "new tokens", "requests", "usable", "time", ...(cost === undefined ? [] : ["cost"])],
    ...sources.map((source) => [
      source.source,
      source.rate.toPrecision(3),
      source.promptTokens.toFixed(0),
      source.tokens.toFixed(1),
      source.requests.toFixed(2),
      percent(source.usable, 0),
      formatDuration(source.seconds),
      ...(source.cost === undefined ? [] : [source.cost.toFixed(2)]),
    ]),
    ["all", "", "", "", "", "", formatDuration(seconds), ...(cost === undefined ? [] : [cost.toFixed(2)])],
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd(),
  );
  return [`${captions} captions of ${dataset} with ${model}; tokens and requests a caption`, ...lines].join("\n");
}
