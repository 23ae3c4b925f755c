/** The forms of the prompt that `--prompt` knows; a new one is a file in prompt-forms/ and a line here. */
import { UsageError, nearest } from "../../support/index.ts";
import { builtInSources, fusionSource, merges } from "../pairs/pairs.ts";
import type { PairSource } from "../pairs/pairs.ts";
import type { PromptForm } from "./prompt.ts";
import { chatForm } from "./forms/chat.ts";
import { fusionChatForm, fusionForm } from "./forms/fusion.ts";
import { laclipForm, laclipPlainForm, paperForm } from "./forms/in-context.ts";

/** All forms; the first is the default. */
export const promptForms: readonly PromptForm[] = [paperForm, laclipForm, laclipPlainForm, chatForm, fusionForm, fusionChatForm];

/** The paper's wording. */
export const defaultForm: PromptForm = paperForm;

/**
 * The form of this name.
 * @throws UsageError when there is none
 */
export function findPromptForm(name: string): PromptForm {
  const found = promptForms.find((form) => form.name === name);
  if (found) return found;
  const known = promptForms.map((form) => form.name);
  throw new UsageError(`There is no prompt form named "${name}". There are: ${known.join(", ")}.`, {
    mend: `Did you mean "${nearest(name, known, 1)[0]}"?`,
  });
}

/**
 * The sources that are used where none is named: the built-in ones that fit the form, and all of the user's own that do.
 * @param extra sources of the user's own
 */
export function defaultSources(form: PromptForm, extra: readonly PairSource[] = []): string[] {
  const builtIn = form.merges ? [fusionSource] : builtInSources;
  return [...builtIn, ...extra.filter((source) => merges(source) === form.merges)].map(({ name }) => name);
}

/**
 * Refuses what would silently be something else than was asked for: examples of merging in a prompt that merges nothing, other
 * examples in one that does, and a merging prompt without second captions, or the reverse.
 * @param captions where second captions come from, in words; undefined where there are none
 * @throws UsageError naming the form and the source
 */
export function requireFit(form: PromptForm, sources: readonly PairSource[], captions: { readonly secondFrom?: string | undefined }): void {
  const merging = promptForms.filter((candidate) => candidate.merges).map(({ name }) => name);
  for (const source of sources) {
    if (merges(source) === form.merges) continue;
    throw form.merges
      ? new UsageError(`--prompt ${form.name} merges two captions, but the examples of source "${source.name}" rewrite one.`, {
          mend: "Choose --sources fusion, or a source of your own whose pairs have a second caption.",
        })
      : new UsageError(`The examples of source "${source.name}" merge two captions, but --prompt ${form.name} rewrites one.`, {
          mend: `Choose ${merging.map((name) => `--prompt ${name}`).join(" or ")}, or other sources.`,
        });
  }
  if (form.merges && captions.secondFrom === undefined) {
    throw new UsageError(`--prompt ${form.name} needs a second caption of each image.`, {
      mend: "Name the column that holds it with --second-column, or a rewrites folder with --second-from and --second-source.",
    });
  }
  if (!form.merges && captions.secondFrom !== undefined) {
    throw new UsageError(`--prompt ${form.name} rewrites one caption; second captions from ${captions.secondFrom} would not be used.`, {
      mend: `Leave them out, or choose ${merging.map((name) => `--prompt ${name}`).join(" or ")}.`,
    });
  }
}
