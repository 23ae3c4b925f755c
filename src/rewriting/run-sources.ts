/**
 * The sources of one run: what each is called in the rewrites folder, what it draws from, and what is written down about it.
 *
 * A run with other settings than those that a folder's source was made with may write beside it: "chatgpt" then becomes
 * "chatgpt.NAME". Its examples and seeds are drawn under the plain name, so that the two differ by the settings alone.
 */
import type { RewriteSource } from "../data/index.ts";
import { UsageError, sha256 } from "../support/index.ts";
import type { CaptionsSurvey } from "./captions/captions-survey.ts";
import { defaultChecks, normalise, recordChecks } from "./checks/checks.ts";
import type { EngineDescription, RewriteEngine } from "./engines/engine.ts";
import { examplesPerPrompt, hashOfPairs, outputsOf } from "./pairs/pairs.ts";
import type { PairSource } from "./pairs/pairs.ts";
import { defaultForm, requireFit } from "./prompts/prompt-forms.ts";
import { maximumCaption, signatureOf } from "./prompts/prompt.ts";
import type { RewriteOptions } from "./rewrite.ts";

/** A source as a run writes it. */
export interface RunSource {
  /** Its name in the folder. */
  readonly name: string;
  /** What examples and seeds are drawn from, under its own name. */
  readonly pairs: PairSource;
  /** Outputs of its example pairs, normalised: what a model may not simply repeat. */
  readonly knownOutputs: ReadonlySet<string>;
}

/**
 * Refuses flags that don't go together, before anything is loaded or asked.
 * @throws UsageError when there is no source, one does not fit the form of the prompt, or the name beside which they are to be written
 *   can be no part of a source's name
 */
export function refuseUnfit(options: RewriteOptions): void {
  const { engine, sources, form = defaultForm, captions } = options;
  refuseUnfitSettings(options, engine);
  if ((engine.usesExamples ? sources : engine.sources)?.length === 0)
    throw new UsageError("No source was named to rewrite captions in the manner of.");
  if (engine.usesExamples) requireFit(form, sources, captions);
}

/**
 * The same for the settings alone, where the engine itself is not there yet.
 * @param engine what is known of it; undefined where that is nothing
 */
export function refuseUnfitSettings(
  { beside, rounds = 1 }: Pick<RewriteOptions, "beside" | "rounds">,
  engine: { readonly name: string; readonly usesExamples: boolean; readonly sources?: readonly unknown[] } | undefined,
): void {
  if (beside !== undefined && !/^[a-z0-9][a-z0-9_-]*$/i.test(beside))
    throw new UsageError(`--beside ${beside}: expected a name of letters, digits and dashes.`);
  if (engine?.usesExamples && rounds > 1) {
    throw new UsageError(`A language model writes one text of each caption for each source, not ${rounds}.`, {
      mend: "Leave --rounds out. For more texts of a source, start again with another --seed and --beside NAME.",
    });
  }
  if (engine?.sources && rounds > 1)
    throw new UsageError(`${rounds} rounds of ${engine.name} would give the same texts.`, { mend: "Leave --rounds out." });
}

/** The sources that a run will write. */
export function runSources(options: RewriteOptions, description: EngineDescription): RunSource[] {
  const { engine, beside, rounds = 1 } = options;
  const drawn = engine.usesExamples ? options.sources : programSources(engine, description, rounds);
  return drawn.map((pairs) => ({
    name: beside === undefined ? pairs.name : `${pairs.name}.${beside}`,
    pairs,
    knownOutputs: new Set(engine.usesExamples ? outputsOf(pairs).map((output) => normalise(output)) : []),
  }));
}

/** The sources of an engine without examples: those it says, or itself, as often as it is to write. */
function programSources({ name, sources }: RewriteEngine, { model }: EngineDescription, count: number): PairSource[] {
  if (sources) return [...sources];
  return Array.from({ length: count }, (_, i) => ({ name: i === 0 ? name : `${name}-${i + 1}`, provenance: model }));
}

/** What the manifest says about a source: all that decides its texts. */
export function describeSource(
  { pairs: source }: RunSource,
  { model, modelHash, sampling }: EngineDescription,
  options: RewriteOptions,
  survey: CaptionsSurvey,
): RewriteSource {
  const { engine, seed, form = defaultForm } = options;
  const prompt = engine.usesExamples
    ? sha256(
        JSON.stringify([
          signatureOf(form),
          examplesPerPrompt,
          maximumCaption,
          hashOfPairs(source),
          ...(form.merges ? [survey.second] : []),
        ]),
      )
    : "";
  return {
    engine: engine.name,
    model,
    modelHash,
    promptHash: prompt,
    ...(engine.usesExamples ? { prompt: form.name } : {}),
    provenance:
      engine.usesExamples && form.merges
        ? `${source.provenance}; merged with captions from ${options.captions.secondFrom}`
        : source.provenance,
    sampling: { ...sampling },
    seed,
    checks: recordChecks(options.checks ?? defaultChecks),
    ...(options.retries ? { retries: options.retries } : {}),
  };
}
