/** `laclip evaluate datasets`: which published sets are there, what is wrong with them, where the others come from. */
import type { Command } from "commander";
import {
  type InspectedDataset,
  type InspectedRetrieval,
  type RetrievalCount,
  datasetsRoot,
  inspectDatasets,
  inspectRetrievalSets,
} from "../../evaluation/index.ts";
import { log, thousands } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";

export function evaluateDatasetsCommand(): Command {
  const datasets = command("datasets", "the published data sets: which are there, what is wrong with them, where to get the others")
    .option("--root <folder>", "folder of the data sets (default: LACLIP_DATASETS)")
    .action(run);
  return examples(datasets, "laclip evaluate datasets --root datasets", "LACLIP_DATASETS=/data laclip evaluate datasets --json");
}

async function run(flags: { root?: string; json?: boolean }): Promise<void> {
  const root = datasetsRoot(flags.root);
  const found = await inspectDatasets(root);
  const retrieval = await inspectRetrievalSets(root);
  if (flags.json) return print({ root, datasets: found, retrieval });
  print([...found.map((dataset) => describe(dataset)), ...retrieval.map((dataset) => describeRetrieval(dataset))].join("\n\n"));
  const all = [...found, ...retrieval];
  const whole = all.filter(({ state }) => state === "whole").length;
  const wrong = all.filter(({ state }) => state === "incomplete" || state === "damaged").length;
  log.info(`${root}: ${whole} of ${all.length} data sets are whole${wrong > 0 ? `, ${wrong} are there and something is wrong` : ""}.`);
}

const states = {
  whole: "there",
  incomplete: "there, not whole",
  damaged: "there, can't be opened",
  packed: "not unpacked",
  absent: "not there",
} as const;

function describe(dataset: InspectedDataset): string {
  const { title, path, classCount, counts, expected, metric } = dataset;
  const score = metric === "acc1" ? "top-1" : "mean per class";
  const published = Object.entries(expected).map(([split, count]) => `${thousands(count)} ${split}`);
  const images = counts.map(
    ({ split, found, expected: wanted }) =>
      `${thousands(found)} ${split}${wanted === undefined || wanted === found ? "" : ` (of ${thousands(wanted)})`}`,
  );
  const counted = (path === undefined ? published : images).join(", ") || "none";
  return paragraph(dataset, `${title}; ${thousands(classCount)} classes; ${score}; images: ${counted}`);
}

function describeRetrieval(dataset: InspectedRetrieval): string {
  const count = ({ images, captions }: RetrievalCount): string => `${thousands(images)} images, ${thousands(captions)} captions`;
  const counted = dataset.found ?? dataset.expected.test;
  return paragraph(dataset, `${dataset.title}; retrieval; test: ${counted === undefined ? "none" : count(counted)}`);
}

/** What is said of every set, with a line of its own. */
function paragraph(
  { name, state, path, problems, notes, page, layout, licence }: InspectedDataset | InspectedRetrieval,
  line: string,
): string {
  return [
    `${name}: ${states[state]}${path === undefined ? "" : ` in ${path}`}`,
    `  ${line}`,
    ...problems.map((problem) => `  wrong: ${problem}`),
    ...notes.map((note) => `  note: ${note}`),
    ...(state === "whole" ? [] : [`  from: ${page}`, `  ${layout}`]),
    `  licence: ${licence}`,
  ].join("\n");
}
