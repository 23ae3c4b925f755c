/**
 * `laclip rewrites stats`: what is in a rewrites folder, in numbers.
 */
import type { Command } from "commander";
import { openRewritesFolder } from "../../data/index.ts";
import { rewritesStatistics } from "../../rewriting/index.ts";
import type { RewritesStatistics } from "../../rewriting/index.ts";
import { command, examples, print } from "../command.ts";

export function statsCommand(): Command {
  const built = command("stats", "how many rewrites there are of each source, how long they are, and what was flagged")
    .argument("<folder>", "a rewrites folder")
    .action(async (path: string, options: { json?: boolean }) => {
      const statistics = await rewritesStatistics(await openRewritesFolder(path));
      print(options.json ? statistics : describe(statistics));
    });
  return examples(built, "laclip rewrites stats rewrites", "laclip rewrites stats rewrites --json");
}

function describe({ folder, dataset, rewrites, sources, examples: shown }: RewritesStatistics): string {
  const lines = [`${folder}: ${rewrites} rewrites of ${dataset.count} captions of ${dataset.name}`, ""];
  for (const { source, made, rewrites: count, usable, missing, meanWords, duplicates, flags } of sources) {
    lines.push(`${source} (${made.engine}, ${made.model}, seed ${made.seed}; ${made.provenance})`);
    lines.push(
      `  ${count} rewrites, ${usable} usable, ${missing} captions without; ${meanWords.toFixed(1)} words on average; ${duplicates} say the same as another source`,
    );
    for (const [flag, times] of Object.entries(flags)) lines.push(`  ${flag}: ${times}`);
    for (const example of shown.filter((candidate) => candidate.source === source))
      lines.push(`  ${example.id}: ${example.text}${example.flags.length > 0 ? ` [${example.flags.join(", ")}]` : ""}`);
    lines.push("");
  }
  return lines.join("\n").trimEnd();
}
