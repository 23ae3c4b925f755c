/**
 * The rewrites folder of what people wrote, in the form that every rewriter's texts have, so that training can't tell them apart and
 * a reader can: its manifest names the writers.
 */
import { readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  RewritesFolder,
  type RewriteSource,
  RewritesWriter,
  captionsFingerprint,
  hashOf,
  isRewritesFolder,
  readManifest,
} from "../data/index.ts";
import { DataError, FolderLock, LaclipError, log } from "../support/index.ts";
import type { EmojiWorld } from "./emoji-world.ts";
import { worldHumanTexts } from "./emoji-world.ts";
import { type HumanSource, humanLabel, humanSources } from "./human-texts.ts";

const kinds: Record<HumanSource, string> = {
  "human-names": "names that other platforms use, or the name with Unicode's category",
  "human-keywords": "CLDR keywords",
  "human-tags": "OpenMoji tags, or further keywords",
  "human-phrases": "the name with one or two of these words",
};

/**
 * Writes four texts for each training picture, or keeps the folder when it already holds exactly these.
 * @param folder e.g. `<out>/rewrites/human`; what people wrote about another world is replaced there, and nothing else
 * @returns the absolute folder
 * @throws DataError when `folder` holds something else than texts of people, or is being written by another process
 */
export async function writeHumanRewrites(world: Pick<EmojiWorld, "samples" | "packages">, folder: string): Promise<string> {
  const path = resolve(folder);
  const texts = worldHumanTexts(world);
  const fingerprint = captionsFingerprint(world.samples);
  const textsHash = hashOf(texts.map(({ id, source, text }) => [id, source, text]));
  if (isRewritesFolder(path)) {
    if (await holds(path, fingerprint.hash, textsHash, texts.length)) return path;
    emptyFolder(path);
    log.info(`${path}: written again, since it is incomplete or belongs to another state of the pictures`);
  }
  const sources = Object.fromEntries(
    humanSources.map((source): [string, RewriteSource] => [
      source,
      {
        engine: "people",
        model: `people: ${kinds[source]}`,
        modelHash: textsHash,
        promptHash: "",
        provenance: `${humanLabel}. ${Object.entries(world.packages)
          .map(([name, version]) => `${name} ${version}`)
          .join(", ")}`,
        sampling: {},
        seed: 0,
      },
    ]),
  );
  const writer = await RewritesWriter.open(path, { dataset: "emoji world", fingerprint, sources, createdWith: "laclip demo" });
  try {
    await writer.append(
      texts.map(({ id, source, text }) => ({ id, source, text, flags: [], finish: "none", tokens: 0, seed: 0, examples: [] })),
    );
    await writer.finish();
  } finally {
    writer.close();
  }
  return path;
}

/** Removes texts of people, which can be made anew, while no other process writes there; refuses to remove anything else. */
function emptyFolder(path: string): void {
  const lock = FolderLock.take(join(path, "lock"), "rewrites folder");
  try {
    const names = readdirSync(path).filter((name) => !name.startsWith("lock"));
    const foreign = names.find((name) => !["parts", "log", "manifest.json"].includes(name) && !name.startsWith("manifest.json.tmp-"));
    if (foreign !== undefined) throw notOurs(path, `this folder holds other files ("${foreign}")`);
    const other = otherWriter(path);
    if (other !== undefined) throw notOurs(path, other);
    // The manifest last: without it, texts that an end in the middle leaves behind would count as those of the next writer.
    for (const name of names.toSorted((a, b) => Number(a === "manifest.json") - Number(b === "manifest.json")))
      rmSync(join(path, name), { recursive: true });
  } finally {
    lock.release();
  }
}

/** What speaks against texts of people, or undefined. */
function otherWriter(path: string): string | undefined {
  try {
    const other = Object.entries(readManifest(path).sources).find(([, { engine }]) => engine !== "people");
    return other && `this folder holds rewrites from source "${other[0]}", written by ${other[1].model}`;
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    return `it can't be told who wrote in this folder (${error.message})`;
  }
}

function notOurs(path: string, what: string): DataError {
  return new DataError(`${path}: ${what}; the texts of people would replace it.`, {
    mend: "Give another --out, or move this folder elsewhere.",
  });
}

async function holds(path: string, captionsHash: string, textsHash: string, count: number): Promise<boolean> {
  try {
    const manifest = readManifest(path);
    const mine = humanSources.every((source) => manifest.sources[source]?.modelHash === textsHash);
    return mine && manifest.dataset.hash === captionsHash && (await new RewritesFolder(path, manifest).count()) === count;
  } catch (error) {
    // A damaged folder is written again, where it was written here.
    if (LaclipError.is(error)) return false;
    throw error;
  }
}
