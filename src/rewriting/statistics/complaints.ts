/**
 * When a writer does not do its job: what the flags of many rewrites, taken together, say about the model that wrote them.
 */
import type { RewritesManifest } from "../../data/index.ts";
import { percent } from "../../support/index.ts";

/** How often flags were raised, among how many rewrites. */
export interface FlagCounts {
  readonly rewrites: number;
  /** Of those, not to be trained on. */
  readonly rejected: number;
  readonly flags: Readonly<Record<string, number>>;
}

/** Share from which a flag says something about the writer, and what it says. */
const patterns: readonly { readonly flag: RegExp; readonly above: number; readonly says: string }[] = [
  {
    flag: /few-shared-words$/,
    above: 0.5,
    says: "have hardly a word of their caption: what wrote them does not rewrite captions, and a larger model may",
  },
  { flag: /same-as-caption$/, above: 0.3, says: "are the caption again" },
  { flag: /duplicate$/, above: 0.3, says: "say the same as another rewrite of their caption" },
  { flag: /names-invented$|numbers-invented$/, above: 0.3, says: "have names or numbers that their caption lacks" },
  { flag: /cut-at-limit$/, above: 0.1, says: "were cut off at the limit of new tokens: the model does not end its lines" },
  { flag: /too-many-tokens$/, above: 0.1, says: "are longer than the 77 tokens that CLIP reads" },
  { flag: /caption-shortened$/, above: 0.1, says: "were made of captions that had to be shortened" },
];

/** Share of rejected rewrites from which the writer is in doubt, whatever they were rejected for. */
const rejectedAbove = 0.2;
/** Fewer rewrites say nothing. */
const enough = 20;

/** Sentences on what too many rewrites have in common; none where all is well, or where there are too few to say. */
export function complaintsOn({ rewrites, rejected, flags }: FlagCounts): string[] {
  if (rewrites < enough) return [];
  const complaints = rejected > rejectedAbove * rewrites ? [`${percent(rejected / rewrites, 0)} of the rewrites can't be trained on.`] : [];
  for (const { flag, above, says } of patterns) {
    // A rewrite with two flags of one pattern must not count twice; the larger of the two counts is never too high.
    const counts = Object.entries(flags).flatMap(([name, count]) => (flag.test(name) ? [count] : []));
    const share = Math.max(0, ...counts) / rewrites;
    if (share > above) complaints.push(`${percent(share, 0)} of the rewrites ${says}.`);
  }
  return complaints;
}

/**
 * A sentence on rewrites that are there twice, as after a part was copied; undefined where their number says nothing of it.
 * @param count rewrites of this source in the folder
 */
export function repeatsOf(
  { captions, dataset }: Pick<RewritesManifest, "captions" | "dataset">,
  source: string,
  count: number,
): string | undefined {
  const expected = captions ?? dataset.count;
  if (count <= expected) return undefined;
  return `${count} rewrites from ${source} of ${expected} captions: some are there twice. \`laclip rewrites verify\` says where.`;
}
