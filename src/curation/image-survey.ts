/**
 * The images of a data set in numbers: formats, sizes, how many are broken, how many are the same file.
 *
 * Each image that is looked at is decoded as training would. Of large sets that is a sample, so that shares are estimates; two equal
 * files are found only where both are in it.
 */
import { DataError, Progress, SideWork, formatBytes, sha256 } from "../support/index.ts";
import { decodeImage, encodeJpeg, imageFormat } from "../images/index.ts";
import type { InspectedData } from "./inspected-data.ts";

/** Three numbers for many. */
export interface Spread {
  least: number;
  median: number;
  most: number;
}

/** Images in numbers. */
export interface ImageSurvey {
  /** Images that were looked at. */
  looked: number;
  /** Of those, images that can't be decoded, and why: the first few. */
  broken: number;
  brokenExamples: string[];
  /** Images by format, the most frequent first. */
  formats: Record<string, number>;
  /** Pixels, of those that can be decoded. */
  width: Spread;
  height: Spread;
  shorterSide: Spread;
  /** Images by their shorter side, in bins of 32 pixels; the last also holds all larger ones. */
  shorterSides: number[];
  /** Bytes of a file. */
  bytes: Spread & { mean: number };
  /** Images whose file, byte by byte, another one that was looked at before has too. */
  repeated: number;
  /** Ids of images with the same file, largest groups first. */
  same: { count: number; ids: string[] }[];
}

/** A picture for a page. */
export interface Thumbnail {
  /** A JPEG; undefined where the image can't be decoded. */
  jpeg?: Buffer;
  /** Its format and size in words, or what is wrong with it. */
  about: string;
}

/** Images decoded at once. */
const atOnce = 4;
const thumbnailSide = 160;

interface Seen {
  row: number;
  bytes: number;
  hash: string;
  format?: string | undefined;
  size?: { width: number; height: number };
  error?: string;
}

/**
 * Looks at images.
 * @param rows those that are counted, rising
 * @param shown rows of which a picture is wanted, rising; those that are not in `rows` are not counted
 */
export async function surveyImages(
  data: Pick<InspectedData, "images" | "pairs">,
  rows: readonly number[],
  shown: readonly number[],
): Promise<{ survey: ImageSurvey; pictures: Map<number, Thumbnail> }> {
  const pictures = new Map<number, Thumbnail>();
  const counted = new Set(rows);
  const wanted = new Set(shown);
  const seen: Seen[] = [];
  const all = [...new Set([...rows, ...shown])].sort((a, b) => a - b);
  const progress = new Progress({ label: "look", total: all.length, unit: "images" });
  const looks = new SideWork(atOnce);
  for await (const { row, bytes } of data.images(all)) {
    await looks.start(async () => {
      const { image, picture } = await look(row, bytes, wanted.has(row));
      if (counted.has(row)) seen.push(image);
      if (picture) pictures.set(row, picture);
      progress.advance();
    });
  }
  await looks.finish();
  progress.finish();
  seen.sort((a, b) => a.row - b.row);
  return { survey: count(seen, (row) => data.pairs.samples.id(row)), pictures };
}

async function look(
  row: number,
  bytes: Uint8Array | DataError,
  wanted: boolean,
): Promise<{ image: Seen; picture?: Thumbnail | undefined }> {
  if (bytes instanceof DataError) {
    return { image: { row, bytes: 0, hash: "", error: bytes.message }, picture: wanted ? { about: bytes.message } : undefined };
  }
  const format = imageFormat(bytes);
  const image: Seen = { row, bytes: bytes.length, hash: bytes.length === 0 ? "" : sha256(bytes), ...(format ? { format } : {}) };
  try {
    const pixels = await decodeImage(bytes);
    image.size = { width: pixels.width, height: pixels.height };
    if (!wanted) return { image };
    const about = `${format ?? "image"}, ${pixels.width}\u00d7${pixels.height}, ${formatBytes(bytes.length)}`;
    return { image, picture: { jpeg: await encodeJpeg(pixels, { shorterSide: thumbnailSide, quality: 80 }), about } };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    image.error = error.message.replace(/^image: /, "");
    return { image, picture: wanted ? { about: image.error } : undefined };
  }
}

function count(seen: readonly Seen[], idOf: (row: number) => string): ImageSurvey {
  const broken = seen.filter(({ error }) => error !== undefined);
  const formats = new Map<string, number>();
  const byHash = new Map<string, number[]>();
  for (const { row, hash, format } of seen) {
    if (format !== undefined) formats.set(format, (formats.get(format) ?? 0) + 1);
    if (hash === "") continue;
    const rows = byHash.get(hash);
    if (rows) rows.push(row);
    else byHash.set(hash, [row]);
  }
  const sizes = seen.flatMap(({ size }) => (size ? [size] : []));
  const files = seen.flatMap(({ bytes }) => (bytes > 0 ? [bytes] : []));
  const groups = [...byHash.values()].filter(({ length }) => length > 1).sort((a, b) => b.length - a.length);
  return {
    looked: seen.length,
    broken: broken.length,
    brokenExamples: broken.slice(0, 5).map(({ row, error }) => `${idOf(row)}: ${error}`),
    formats: Object.fromEntries([...formats].sort(([, a], [, b]) => b - a)),
    width: spread(sizes.map(({ width }) => width)),
    height: spread(sizes.map(({ height }) => height)),
    shorterSide: spread(sizes.map(({ width, height }) => Math.min(width, height))),
    shorterSides: sides(sizes.map(({ width, height }) => Math.min(width, height))),
    bytes: { ...spread(files), mean: files.reduce((sum, size) => sum + size, 0) / Math.max(1, files.length) },
    repeated: groups.reduce((sum, rows) => sum + rows.length - 1, 0),
    same: groups.slice(0, 5).map((rows) => ({ count: rows.length, ids: rows.slice(0, 4).map(idOf) })),
  };
}

/** Pixels of a bin of shorter sides, and of the largest that has one of its own. */
export const sideBin = 32;
const largestSide = 1024;

function sides(values: readonly number[]): number[] {
  const bins = Array.from({ length: largestSide / sideBin + 1 }, () => 0);
  for (const value of values) bins[Math.floor(Math.min(value, largestSide) / sideBin)]! += 1;
  return bins;
}

function spread(values: number[]): Spread {
  const sorted = values.sort((a, b) => a - b);
  return { least: sorted[0] ?? 0, median: sorted[sorted.length >> 1] ?? 0, most: sorted.at(-1) ?? 0 };
}
