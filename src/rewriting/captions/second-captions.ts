/**
 * Second captions from a rewrites folder: what a captioning model wrote for the same images, attached by id to the captions that
 * are to be rewritten, for forms of the prompt that merge the two.
 *
 * The folder must have been made for the same captions: an id alone could belong to another image. Its texts are held in memory,
 * their bytes and some 20 more for each.
 */
import { FingerprintBuilder, HashedKeys, TextColumnBuilder, isUsable } from "../../data/index.ts";
import type { CaptionsFingerprint, RewritesFolder, TextColumn } from "../../data/index.ts";
import type { CaptionRow, CaptionsInput } from "./captions-input.ts";

/**
 * The same captions, each with the usable text that the folder has for its id from this source, or "".
 * @throws DataError when there is no such source in the folder, and in `survey()` when the folder was made for other captions
 */
export async function withSecondCaptions(captions: CaptionsInput, folder: RewritesFolder, source: string): Promise<CaptionsInput> {
  const { numbers, texts, fingerprint } = await readTexts(folder, source);
  async function* attached(batches: AsyncIterable<CaptionRow[]>): AsyncGenerator<CaptionRow[]> {
    for await (const batch of batches) {
      yield batch.map((row) => {
        const number = numbers.get(row.id);
        return { ...row, second: number === undefined ? "" : texts.at(number) };
      });
    }
  }
  return {
    ...captions,
    secondFrom: `source "${source}" of ${folder.path}`,
    rows: (from) => attached(captions.rows(from)),
    ...(captions.rowsWithImages ? { rowsWithImages: (held, wanted) => attached(captions.rowsWithImages!(held, wanted)) } : {}),
    survey: async (signal) => {
      const survey = await captions.survey(signal);
      folder.assertMadeFor(survey.fingerprint, captions.path);
      return { ...survey, second: fingerprint };
    },
  };
}

interface Texts {
  /** By id, the number of its text. */
  readonly numbers: HashedKeys;
  readonly texts: TextColumn;
  readonly fingerprint: CaptionsFingerprint;
}

async function readTexts(folder: RewritesFolder, source: string): Promise<Texts> {
  const numbers = new HashedKeys();
  const texts = new TextColumnBuilder();
  const fingerprint = new FingerprintBuilder();
  for await (const batch of folder.read({ sources: [source] })) {
    for (const rewrite of batch) {
      if (!isUsable(rewrite)) continue;
      numbers.set(rewrite.id, texts.length);
      texts.add(rewrite.text);
      fingerprint.add(rewrite.id, rewrite.text);
    }
  }
  return { numbers, texts: texts.finish(), fingerprint: fingerprint.finish() };
}
