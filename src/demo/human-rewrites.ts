/**
 * The rewrites folder of what people wrote, in the form that every rewriter's texts have, so that training can't tell them apart and
 * a reader can: its manifest names the writers.
 */
import { rmSync } from "node:fs";
import { resolve } from "node:path";
import {
  RewritesFolder,
  type RewriteSource,
  RewritesWriter,
  captionsFingerprint,
  hashOf,
  isRewritesFolder,
  readManifest,
} from "../data/index.ts";
import { LaclipError, log } from "../support/index.ts";
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
 * @param folder e.g. `<out>/rewrites/human`; a rewrites folder of another world there is replaced
 * @returns the absolute folder
 * @throws DataError when `folder` holds something that is no rewrites folder, or is being written by another process
 */
export async function writeHumanRewrites(world: Pick<EmojiWorld, "samples" | "packages">, folder: string): Promise<string> {
  const path = resolve(folder);
  const texts = worldHumanTexts(world);
  const fingerprint = captionsFingerprint(world.samples);
  const textsHash = hashOf(texts.map(({ id, source, text }) => [id, source, text]));
  if (isRewritesFolder(path)) {
    if (await holds(path, fingerprint.hash, textsHash, texts.length)) return path;
    log.info(`${path}: written again, since it is incomplete or belongs to another state of the pictures`);
    rmSync(path, { recursive: true });
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

async function holds(path: string, captionsHash: string, textsHash: string, count: number): Promise<boolean> {
  try {
    const manifest = readManifest(path);
    const mine = humanSources.every((source) => manifest.sources[source]?.modelHash === textsHash);
    return mine && manifest.dataset.hash === captionsHash && (await new RewritesFolder(path, manifest).count()) === count;
  } catch (error) {
    // A damaged folder is written again: nothing in it can't be made anew.
    if (LaclipError.is(error)) return false;
    throw error;
  }
}
