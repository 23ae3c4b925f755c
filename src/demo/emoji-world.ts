/**
 * A small real image-text world: emoji in several drawing styles, captioned with their names.
 *
 * Three styles are trained on; the fourth is kept for zero-shot classification, so that a model is asked about drawings by artists it
 * has never seen, in the words of its captions and in the words of another annotator.
 *
 * `<out>/data/`
 *   images/<style>/<hexcode>.png   the training drawings, RGB on white
 *   train.csv                      id, image, caption; id = "<style>/<hexcode>", image relative to the file, caption = CLDR name
 *   held-out/<hexcode>/<style>.png one folder a class, with `classes-own-words.json`, `classes-other-words.json` ({ folder: [texts] })
 *                                  and `templates.txt` (a line each, `{}` stands for the text)
 *   manifest.json                  packages and versions, counts, SHA-256 of every file; written last
 * A folder whose manifest fits and whose files are unharmed is used as it is; any other world is drawn again beside it and swapped in.
 * A folder that holds anything else is somebody's own and refused.
 */
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import sharp from "sharp";
import { csvLine } from "../formats/index.ts";
import {
  DataError,
  Progress,
  SideWork,
  UsageError,
  log,
  makeFolder,
  readJson,
  replaceFolder,
  sha256,
  writeFileAtomic,
} from "../support/index.ts";
import { type Concept, readConcepts } from "./concepts.ts";
import { type DrawingStyle, type StyleName, drawingStyles } from "./drawing-styles.ts";
import { packageVersions } from "./emoji-packages.ts";
import { evaluationWords } from "./evaluation-words.ts";
import { type HumanText, humanTexts } from "./human-texts.ts";

/** Styles whose drawings are trained on, in the order of `train.csv`. */
export const trainingStyles = ["openmoji", "noto", "fluent"] as const satisfies readonly StyleName[];
/** The style that no model sees in training. */
export const heldOutStyle = "twemoji" satisfies StyleName;

/** Where the world goes, and how large it is. */
export interface EmojiWorldOptions {
  /** Folder of the demo; the world goes to its subfolder `data`. */
  out: string;
  /** Edge of the images in pixels. Default 64. */
  size?: number;
  /** Take only this many concepts, spread evenly over all. Default: all, about 840. */
  limit?: number;
}

/** One training picture. */
export interface EmojiSample {
  /** "<style>/<hexcode>" */
  id: string;
  /** Absolute path of the PNG. */
  image: string;
  caption: string;
  style: StyleName;
  concept: Concept;
}

/** A world on disk: its files, and what they show. */
export interface EmojiWorld {
  /** `<out>/data`, absolute, like all paths here. */
  folder: string;
  trainCsv: string;
  concepts: readonly Concept[];
  /** Rows of train.csv in order: all concepts in the first style, then in the second, ... */
  samples: readonly EmojiSample[];
  heldOut: { folder: string; ownWords: string; otherWords: string; templates: string; image(hexcode: string): string };
  /** Names the makers of the styles use: "OpenMoji". */
  styleLabels: Readonly<Record<StyleName, string>>;
  /** Versions of the packages it was made from. */
  packages: Readonly<Record<string, string>>;
  /** True when an existing folder was used. */
  reused: boolean;
}

interface Manifest {
  format: "laclip-emoji-world";
  /** Raised when the same inputs give other files. */
  version: number;
  size: number;
  concepts: number;
  trainingStyles: readonly string[];
  heldOutStyle: string;
  packages: Record<string, string>;
  /** Versions that decide on the pixels. */
  renderer: Record<string, string>;
  /** SHA-256 of every other file, by path relative to the manifest. */
  files: Record<string, string>;
}

const formatVersion = 1;

/**
 * Builds the world, or takes the one that is there.
 * @throws UsageError when a package is missing or an option makes no sense; DataError when `<out>/data` would have to be replaced and
 *   holds files that are not of a world; LaclipError when the disk is full
 */
export async function buildEmojiWorld({ out, size = 64, limit }: EmojiWorldOptions): Promise<EmojiWorld> {
  if (!Number.isInteger(size) || size < 8 || size > 1024)
    throw new UsageError(`Image size must be a whole number from 8 to 1024, got ${size}.`);
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1))
    throw new UsageError(`The number of concepts must be 1 or more, got ${limit}.`);

  const styles = drawingStyles();
  const concepts = chooseConcepts(limit, styles);
  const expected: Omit<Manifest, "files"> = {
    format: "laclip-emoji-world",
    version: formatVersion,
    size,
    concepts: concepts.length,
    trainingStyles,
    heldOutStyle,
    packages: packageVersions(),
    renderer: { sharp: sharp.versions.sharp ?? "", librsvg: sharp.versions.rsvg ?? "", libvips: sharp.versions.vips },
  };

  const folder = resolve(out, "data");
  const why = whyNotUsable(folder, expected);
  if (why !== undefined) {
    refuseForeignFolder(folder);
    if (existsSync(folder)) log.info(`${folder}: drawn again, since ${why}`);
    await replaceFolder(folder, (beside) => drawWorld(beside, concepts, styles, expected));
  }
  return describe(folder, concepts, styles, expected.packages, why === undefined);
}

/** The concepts of a world: those that all styles have drawn, or `limit` of them spread evenly. */
export function chooseConcepts(limit?: number, styles: Record<StyleName, DrawingStyle> = drawingStyles()): Concept[] {
  const all = readConcepts(Object.values(styles));
  if (limit === undefined || limit >= all.length) return all;
  return Array.from({ length: limit }, (_, i) => all[Math.floor((i * all.length) / limit)]!);
}

/** Number of concepts in the world that lies in `<out>/data`; undefined when there is none whose manifest can be read. */
export function drawnConcepts(out: string): number | undefined {
  const manifest = readWorldManifest(resolve(out, "data"));
  return manifest === "damaged" ? undefined : manifest?.concepts;
}

/** The texts that people wrote about each training picture, four a picture, in the order of `world.samples`. */
export function worldHumanTexts(world: Pick<EmojiWorld, "samples">): HumanText[] {
  return world.samples.flatMap(({ id, concept }) => humanTexts(id, concept));
}

/** Undefined when the folder holds exactly the expected world, else the reason it does not. */
function whyNotUsable(folder: string, expected: Omit<Manifest, "files">): string | undefined {
  const manifest = readWorldManifest(folder);
  if (manifest === undefined) return "its manifest is missing";
  if (manifest === "damaged") return "its manifest is damaged";
  const { files, ...settings } = manifest;
  if (JSON.stringify(settings) !== JSON.stringify(expected)) return "it was made with other settings or package versions";
  if (files === undefined) return "its manifest is damaged";
  for (const [file, hash] of Object.entries(files)) {
    if (!existsSync(join(folder, file))) return `${file} is missing`;
    if (sha256(readFileSync(join(folder, file))) !== hash) return `${file} is damaged`;
  }
  return undefined;
}

/** What a world is made of. */
const ownNames: ReadonlySet<string> = new Set(["images", "held-out", "train.csv", "manifest.json"]);

/**
 * Throws unless `folder` may be replaced: it is not there, empty, or a world and nothing else.
 * The manifest is written before the folder is put in its place, so a world without one has been changed by somebody.
 */
function refuseForeignFolder(folder: string): void {
  if (!existsSync(folder)) return;
  if (!statSync(folder).isDirectory())
    throw new DataError(`${folder}: this is a file, expected a folder for the drawings.`, { mend: otherOut });
  const names = readdirSync(folder);
  const foreign = names.find((name) => !ownNames.has(name));
  if (names.length === 0 || (foreign === undefined && hasOwnManifest(folder))) return;
  const what =
    foreign === undefined ? "this folder holds other files, and no manifest of drawings" : `this folder holds other files ("${foreign}")`;
  throw new DataError(`${folder}: ${what}; drawing would delete them.`, { mend: otherOut });
}

const otherOut = "Give another --out, or move these files elsewhere.";

/** True for a world's manifest, and for one that is cut short: then the other names speak for it. */
function hasOwnManifest(folder: string): boolean {
  const manifest = readWorldManifest(folder);
  return manifest === "damaged" ? [...ownNames].every((name) => existsSync(join(folder, name))) : manifest !== undefined;
}

/** A world's manifest; "damaged" for what is no JSON, undefined where there is none or that of something else. */
function readWorldManifest(folder: string): Partial<Manifest> | "damaged" | undefined {
  const path = join(folder, "manifest.json");
  if (!existsSync(path)) return undefined;
  try {
    const manifest = readJson(path, "manifest") as Partial<Manifest> | null;
    return manifest?.format === "laclip-emoji-world" ? manifest : undefined;
  } catch (error) {
    if (error instanceof DataError) return "damaged";
    throw error;
  }
}

async function drawWorld(
  folder: string,
  concepts: readonly Concept[],
  styles: Record<StyleName, DrawingStyle>,
  settings: Omit<Manifest, "files">,
): Promise<void> {
  const files: Record<string, string> = {};
  const write = async (path: string, content: string | Uint8Array): Promise<void> => {
    await writeFile(join(folder, path), content);
    files[path] = sha256(content);
  };

  const drawings = ([...trainingStyles, heldOutStyle] as const).flatMap((style) =>
    concepts.map((concept) => ({ style: styles[style], concept })),
  );
  for (const style of trainingStyles) makeFolder(join(folder, "images", style));
  for (const { hexcode } of concepts) makeFolder(join(folder, "held-out", hexcode));
  const progress = new Progress({ label: "draw", total: drawings.length, unit: "pictures" });
  const drawing = new SideWork(2 * availableParallelism());
  for (const { style, concept } of drawings) {
    await drawing.start(async () => {
      const path = style.name === heldOutStyle ? `held-out/${concept.hexcode}/${style.name}.png` : imagePath(style.name, concept);
      await write(path, await renderSvg(style.svg(concept.hexcode), settings.size));
      progress.advance();
    });
  }
  await drawing.finish();
  progress.finish();

  const rows = trainingStyles.flatMap((style) =>
    concepts.map((concept) => [sampleId(style, concept), imagePath(style, concept), concept.name]),
  );
  await write("train.csv", [["id", "image", "caption"], ...rows].map(csvLine).join(""));

  const words = concepts.map((concept) => [concept.hexcode, evaluationWords(concept.emoji, concept.name)] as const);
  await write("held-out/classes-own-words.json", json(Object.fromEntries(words.map(([hexcode, { ownWords }]) => [hexcode, ownWords]))));
  await write(
    "held-out/classes-other-words.json",
    json(Object.fromEntries(words.map(([hexcode, { otherWords }]) => [hexcode, otherWords]))),
  );
  // The bare text only: the captions have no frame like "a drawing of", and none of the compared models has seen one.
  await write("held-out/templates.txt", "{}\n");

  const sorted = Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileAtomic(join(folder, "manifest.json"), json({ ...settings, files: sorted }));
}

/**
 * An SVG document as a PNG of `size` x `size` pixels: RGB, on white, in its own proportions.
 * Wrapped in an outer SVG of that size, so that it is drawn at that size rather than drawn and then scaled.
 */
export async function renderSvg(svg: string, size: number): Promise<Buffer> {
  const inner = svg.slice(svg.indexOf("<svg"));
  const framed = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${size}" height="${size}">${inner}</svg>`;
  return sharp(Buffer.from(framed))
    .resize(size, size, { fit: "contain", background: "white" })
    .flatten({ background: "white" })
    .removeAlpha()
    .toColourspace("srgb")
    .png({ compressionLevel: 9 })
    .toBuffer();
}

function describe(
  folder: string,
  concepts: readonly Concept[],
  styles: Record<StyleName, DrawingStyle>,
  packages: Record<string, string>,
  reused: boolean,
): EmojiWorld {
  const trainCsv = join(folder, "train.csv");
  const heldOut = join(folder, "held-out");
  return {
    folder,
    trainCsv,
    concepts,
    samples: trainingStyles.flatMap((style) =>
      concepts.map((concept) => ({
        id: sampleId(style, concept),
        image: join(dirname(trainCsv), imagePath(style, concept)),
        caption: concept.name,
        style,
        concept,
      })),
    ),
    heldOut: {
      folder: heldOut,
      ownWords: join(heldOut, "classes-own-words.json"),
      otherWords: join(heldOut, "classes-other-words.json"),
      templates: join(heldOut, "templates.txt"),
      image: (hexcode) => join(heldOut, hexcode, `${heldOutStyle}.png`),
    },
    styleLabels: Object.fromEntries(Object.values(styles).map((style) => [style.name, style.label])) as Record<StyleName, string>,
    packages,
    reused,
  };
}

function sampleId(style: StyleName, concept: Concept): string {
  return `${style}/${concept.hexcode}`;
}

function imagePath(style: StyleName, concept: Concept): string {
  return `images/${style}/${concept.hexcode}.png`;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}
