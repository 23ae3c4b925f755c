/**
 * `laclip inspect`: what is in a data set, before anything is done with it.
 */
import { Command } from "commander";
import { describeInspection, inspectData, renderInspection } from "../../curation/index.ts";
import { log, writeFileAtomic } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { preparePage } from "../page-file.ts";
import { parseWhole } from "../options.ts";

interface InspectFlags {
  images?: string;
  rewrites?: string;
  html?: string;
  sample: number;
  show?: number;
  seed: number;
  caption?: string;
  classes?: string;
  imageColumn?: string;
  captionColumn?: string;
  idColumn?: string;
  json?: boolean;
}

export function inspectCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("inspect").enablePositionalOptions();
  built.addCommand(dataCommand());
  return examples(built, "laclip inspect data captions.csv --images images --html data.html");
}

function dataCommand(): Command {
  const built = command("data", "what a data set holds: counts, lengths, sizes, broken and repeated ones, some samples")
    .argument(
      "<path>",
      "table of captions, tars (a folder, a pattern, addresses), RedCaps' folder, or a folder with a folder for each class",
    )
    .option("--images <folder>", "folder that image paths are relative to (default: the table's folder)")
    .option("--rewrites <folder>", "rewrites folder: how it fits, and its texts beside the samples")
    .option("--html <file>", "write a page with plots and a contact sheet in place of the text, one file that loads nothing")
    .option("--sample <count>", "most images that are decoded, drawn by chance", parseWhole(1), 2000)
    .option("--show <count>", "samples to show (default: 5, on a page 40)", parseWhole(0))
    .option("--seed <number>", "another one draws other images and samples", parseWhole(0), 0)
    .option("--caption <text>", 'images by class: the caption of each, with {class} for the name (default: "a photo of a {class}")')
    .option("--classes <file>", "images by class: names of the classes, as for `laclip evaluate zero-shot`")
    .option("--image-column <name>", "column with the image path")
    .option("--caption-column <name>", "column, or key of the .json in tars, with the caption")
    .option("--id-column <name>", "column, or key of the .json in tars, with the sample id")
    .action(run);
  return examples(
    built,
    "laclip inspect data captions.csv --images images",
    "laclip inspect data shards --rewrites rewrites --html data.html",
    "laclip inspect data clothing/train --json",
  );
}

async function run(path: string, { html, json, show, ...options }: InspectFlags): Promise<void> {
  await preparePage(html, options.rewrites === undefined ? [] : [options.rewrites]);
  const inspection = await inspectData({ ...options, path, show: show ?? (html === undefined ? 5 : 40), pictures: html !== undefined });
  if (html !== undefined) {
    writeFileAtomic(html, renderInspection(inspection));
    log.info(`Page: ${html}`);
  }
  // Pictures are for the page.
  if (json) print({ ...inspection, shown: inspection.shown.map(({ picture: _picture, ...sample }) => sample) });
  else if (html === undefined) print(describeInspection(inspection));
}
