/** `laclip evaluate published`: what is known of the models of the paper, and how. */
import { points } from "../../support/index.ts";
import type { Command } from "commander";
import { type PublishedModel, metricTitle, publishedModel, publishedModels, taskTitle, taskNames } from "../../evaluation/index.ts";
import { command, examples, print } from "../command.ts";

export function publishedCommand(): Command {
  const built = command("published", "numbers of the paper that results can be held against, and how each is known")
    .argument("[name]", "one model, with all its numbers (default: all models)")
    .action(run);
  return examples(built, "laclip evaluate published", "laclip evaluate published laclip-cc12m-vit-b-16");
}

function run(name: string | undefined, { json }: { json?: boolean }): void {
  const models = name === undefined ? publishedModels : [publishedModel(name)];
  if (json) print(models);
  else print(name === undefined ? listOf(models) : numbersOf(models[0]!));
}

function listOf(models: readonly PublishedModel[]): string {
  const length = Math.max(...models.map((model) => model.name.length));
  return models
    .map(({ name, title, numbers: [first, ...others] }) => {
      const more =
        others.length === 0 ? "" : `, and ${others.length} more data sets (${[...new Set(others.map(({ mark }) => mark))].join(", ")})`;
      return `${name.padEnd(length)}  ${title}: ${first!.dataset} ${points(first!.value)} (${first!.mark})${more}`;
    })
    .join("\n");
}

function numbersOf({ title, numbers }: PublishedModel): string {
  const lines = numbers.map(({ dataset, task, metric, value, mark, source, protocol }) => {
    const measured = Object.entries(protocol)
      .map(([key, setting]) => `${key} ${setting}`)
      .join(", ");
    return `  ${dataset}, ${taskTitle(taskNames[task])}, ${metricTitle(metric)}: ${points(value)}, ${mark} (${source}); ${measured}`;
  });
  return [title, ...lines].join("\n");
}
