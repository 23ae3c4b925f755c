/**
 * What an engine is asked: captions with the examples that are drawn for them, those with the same examples together.
 *
 * Examples and seed depend on (run seed, source, caption id) alone, so neither the order nor an interruption changes what is asked.
 */
import { Random } from "../support/index.ts";
import type { RewriteGroup, RewriteRequest } from "./engines/engine.ts";
import type { OpenCaption } from "./captions/open-captions.ts";
import { drawExamples } from "./pairs/pairs.ts";
import type { Example } from "./pairs/pairs.ts";
import { safeCaption } from "./prompts/prompt.ts";
import type { PromptForm } from "./prompts/prompt.ts";
import type { RunSource } from "./run-sources.ts";

/** How requests are made. */
export interface RequestOptions {
  readonly form: PromptForm;
  readonly runSeed: number;
  /** False for engines that use no examples. */
  readonly withExamples: boolean;
  /** 0, or the how-manieth time these captions are rewritten anew. */
  readonly attempt: number;
}

interface Drawn {
  readonly caption: OpenCaption;
  readonly seed: number;
}

/** Requests for these captions: those with the same examples in one group, groups that begin alike next to each other. */
export async function* requestGroups(
  source: RunSource,
  captions: readonly OpenCaption[],
  { form, runSeed, withExamples, attempt }: RequestOptions,
): AsyncGenerator<RewriteGroup> {
  if (!withExamples) {
    for (let i = 0; i < captions.length; i += programGroup) {
      yield captions
        .slice(i, i + programGroup)
        .map((caption) => request(source.name, { caption, seed: seedFor(source, runSeed, caption.id, attempt) }, [], form));
    }
    return;
  }
  const groups = new Map<readonly Example[], Drawn[]>();
  for (const caption of captions) {
    const { examples, seed } = drawExamples(source.pairs, runSeed, caption.id, attempt);
    const group = groups.get(examples);
    if (group) group.push({ caption, seed });
    else groups.set(examples, [{ caption, seed }]);
  }
  const named = Array.from(groups.keys(), (examples) => ({ name: examples.map(({ id }) => id).join("\n"), examples }));
  for (const { examples } of named.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const drawn = groups.get(examples)!;
    groups.delete(examples);
    yield drawn.map((each) => request(source.name, each, examples, form));
  }
}

/** Captions that an engine without examples gets at once: no prompt ties them together, so that few are held in memory. */
const programGroup = 256;

/** Engines without examples take a whole number from the same generator. */
function seedFor({ pairs }: RunSource, runSeed: number, id: string, attempt: number): number {
  return Random.of("rewrite", runSeed, pairs.name, id, ...(attempt === 0 ? [] : [attempt])).bits() >>> 1;
}

function request(source: string, { caption, seed }: Drawn, examples: readonly Example[], form: PromptForm): RewriteRequest {
  const { id, caption: original, second } = caption;
  const { text, shortened } = safeCaption(original);
  const other = second === undefined ? undefined : safeCaption(second);
  return {
    id,
    source,
    original,
    caption: text,
    ...(other ? { second: other.text } : {}),
    shortened: shortened || other?.shortened === true,
    examples,
    form,
    seed,
  };
}
