/** `laclip embed`: features of images or texts, for other programs. */
import { existsSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { Command, Option } from "commander";
import { type ListedImages, captionColumns, findColumn, imageColumns, openImageFolder, openImageTable } from "../../data/index.ts";
import {
  type EvaluatedModel,
  type ImageFeatureKind,
  imageFeatureKinds,
  imageFeatures,
  openEvaluatedModel,
  textFeatures,
} from "../../evaluation/index.ts";
import { type TableBatch, missingColumn, readTable, tableColumns, tableFormat, writeNpy, writeParquet } from "../../formats/index.ts";
import { unitRows } from "../../nn/index.ts";
import { DataError, UsageError, log, readText, refuseToReplace, replaceFileSync, writeFileSynced } from "../../support/index.ts";
import { type Tensor, scope } from "../../torch/index.ts";
import { command, examples, print } from "../command.ts";
import { deviceFlag, deviceOfFlag } from "../device-option.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseShare, parseWhole } from "../options.ts";
import { featureStore } from "./evaluate-options.ts";

interface EmbedFlags {
  model: string;
  out: string;
  normalise?: boolean;
  features?: string | false;
  batchSize: number;
  device?: string;
  json?: boolean;
}

interface EmbedImagesFlags extends EmbedFlags {
  feature: ImageFeatureKind;
  imageColumn?: string;
  images?: string;
  maxSkipped: number;
}

interface EmbedTextsFlags extends EmbedFlags {
  textColumn?: string;
}

export function embedCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("embed").enablePositionalOptions();
  return built.addCommand(imagesCommand()).addCommand(textsCommand());
}

function imagesCommand(): Command {
  const built = command("images", "features of the images in a folder or a table");
  addEmbedFlags(
    built.argument(
      "<path>",
      "a folder, with all images below it; or a table (csv, tsv, jsonl, parquet) with a column of paths, or of images",
    ),
    64,
  )
    .addOption(
      new Option("--feature <kind>", "in the space shared with texts, or before the projection")
        .choices(imageFeatureKinds)
        .default("joint"),
    )
    .option("--image-column <name>", `column with the image, or its path (default: ${imageColumns.slice(0, 3).join(", ")}, ...)`)
    .option("--images <folder>", "folder that a table's paths are relative to (default: the table's folder)")
    .option("--max-skipped <share>", "share of images that may be unreadable", parseShare, 0.01)
    .action(embedImages);
  return examples(
    built,
    "laclip embed images photos --model runs/b16/model --out photos.npy",
    "laclip embed images photos.csv --model runs/b16/model --normalise --out photos.parquet",
  );
}

function textsCommand(): Command {
  const built = command("texts", "features of the texts in a file");
  addEmbedFlags(
    built.argument("<file>", "a .txt with a text in each line; or a table (csv, tsv, jsonl, parquet) with a column of texts"),
    256,
  )
    .option("--text-column <name>", `column with the text (default: ${captionColumns.join(", ")})`)
    .action(embedTexts);
  return examples(built, "laclip embed texts queries.txt --model runs/b16/model --normalise --out queries.npy");
}

function addEmbedFlags(target: Command, batchSize: number): Command {
  return target
    .requiredOption("--model <folder>", "model folder: `model` or a checkpoint in a run folder")
    .requiredOption(
      "--out <file>",
      ".npy, with the names of the rows in NAME.names.txt beside it; or .parquet, with columns `name` and `feature`",
    )
    .option("--normalise", "bring each feature to length 1, so that products are cosines")
    .option(
      "--features <folder>",
      "where features are kept, so that nothing is computed twice (default: LACLIP_FEATURES, else the user's cache)",
    )
    .option("--no-features", "keep no features")
    .option("--batch-size <count>", "how many at once", parseWhole(1), batchSize)
    .option(...deviceFlag("the model runs"));
}

async function embedImages(path: string, flags: EmbedImagesFlags): Promise<void> {
  await checkOut(flags.out, path);
  const { names, items } = await listedImages(path, flags);
  await withModel(flags, async (model, common) => {
    const { feature: kind, maxSkipped: maximumSkipped } = flags;
    const { features, rows, skipped } = await imageFeatures(model, items, { ...common, kind, maximumSkipped });
    try {
      await write(
        flags,
        features,
        Array.from(rows, (row) => names[row]!),
      );
      report(flags, features, { images: rows.length, skipped });
    } finally {
      features.dispose();
    }
  });
}

async function embedTexts(path: string, flags: EmbedTextsFlags): Promise<void> {
  await checkOut(flags.out, path);
  const texts = tableFormat(path) === undefined ? textLines(path) : await textColumn(path, flags.textColumn);
  await withModel(flags, async (model, common) => {
    const features = await textFeatures(model, texts, common);
    try {
      await write(flags, features, texts);
      report(flags, features, { texts: texts.length });
    } finally {
      features.dispose();
    }
  });
}

async function withModel(
  flags: EmbedFlags,
  body: (
    model: EvaluatedModel,
    common: { batchSize: number; device: string; store: ReturnType<typeof featureStore>; signal: AbortSignal },
  ) => Promise<void>,
): Promise<void> {
  const { batchSize } = flags;
  const device = deviceOfFlag(flags.device);
  const model = await openEvaluatedModel(flags.model, { device });
  try {
    await body(model, {
      batchSize,
      device,
      store: featureStore(flags),
      signal: interruptSignal("stopping; features that were made are kept"),
    });
  } finally {
    model.model.dispose();
  }
}

/** Seen before hours of work, not after. */
async function checkOut(out: string, input: string): Promise<void> {
  if (!/\.(npy|parquet)$/i.test(out)) throw new UsageError(`--out ${out}: expected a file that ends in .npy or .parquet.`);
  if (!existsSync(join(resolve(out), ".."))) {
    throw new UsageError(`--out ${out}: there is no such folder to write it to.`, { mend: "Make the folder first." });
  }
  for (const file of [out, namesFile(out)]) await refuseToReplace(file, { inputs: [input] });
}

/** Where the names of a .npy file's rows are: not NAME.txt, which often is what was embedded. */
function namesFile(out: string): string {
  return out.replace(/\.npy$/i, ".names.txt");
}

async function listedImages(path: string, { imageColumn, images }: EmbedImagesFlags): Promise<ListedImages> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new DataError(`${path}: no such folder or table.`);
  if (found.isDirectory()) return openImageFolder(path);
  if (tableFormat(path) === undefined) throw noTable(path);
  return await openImageTable(path, { imageColumn, images });
}

function noTable(path: string): DataError {
  return new DataError(`${path}: expected a folder, or a table that ends in .csv, .tsv, .jsonl or .parquet.`);
}

async function textColumn(path: string, asked: string | undefined): Promise<string[]> {
  const known = await tableColumns(path);
  const name = asked ?? findColumn(known, captionColumns);
  if (name === undefined) {
    throw new DataError(
      `${path}: which column holds the text? Expected one of: ${captionColumns.join(", ")}. Its columns are: ${known.join(", ") || "none"}.`,
      { mend: "Name it with --text-column." },
    );
  }
  if (!known.includes(name)) throw missingColumn(path, name, known);
  const values: string[] = [];
  for await (const batch of readTable(path, { columns: [name], flat: [name] })) {
    for (const value of batch.columns[name]!) {
      if (value === null) throw new DataError(`${path}: row ${values.length + 1} has nothing in column "${name}".`);
      values.push(String(value));
    }
  }
  if (values.length === 0) throw new DataError(`${path}: there is no row in it.`);
  return values;
}

function textLines(path: string): string[] {
  const lines = readText(path, "file of texts")
    .split(/\r?\n/)
    .map((line) => line.trim());
  const texts = lines.filter((line) => line !== "");
  if (texts.length === 0) throw new DataError(`${path}: there is no text in it.`);
  return texts;
}

/** Replaces the features, and for .npy the names of their rows. */
async function write({ out, normalise }: EmbedFlags, features: Tensor, names: readonly string[]): Promise<void> {
  const data = scope(() => (normalise ? unitRows(features) : features).toFloat32Array());
  const width = features.sizeOf(1);
  if (/\.parquet$/i.test(out)) {
    await writeParquet(out, { name: "text", feature: "float32[]" }, batches(names, data, width));
    return;
  }
  replaceFileSync(namesFile(out), (namesBeside) => {
    writeFileSynced(namesBeside, names.map((name) => `${name.replaceAll(/\s+/g, " ")}\n`).join(""));
    replaceFileSync(out, (beside) => {
      writeNpy(beside, { dtype: "float32", shape: [names.length, width], data });
      // Two files can't be replaced at once. With both whole beside their places, the old names go first and the new ones come last: an
      // end in between leaves features that lack their names, which anybody sees, and never those of other rows.
      rmSync(namesFile(out), { force: true });
    });
  });
}

function* batches(names: readonly string[], data: Float32Array, width: number): Generator<TableBatch> {
  for (let at = 0; at < names.length; at += 1024) {
    const name = names.slice(at, at + 1024);
    const feature = name.map((_, i) => data.subarray((at + i) * width, (at + i + 1) * width));
    yield { rows: name.length, columns: { name, feature } };
  }
}

function report({ out, json }: EmbedFlags, features: Tensor, counts: Record<string, number>): void {
  const [, width] = features.shape;
  const said = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  log.info(`${out}: ${said.join(", ")}, ${width} numbers each.`);
  if (json) print({ out, width, ...counts });
}
