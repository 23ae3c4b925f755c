/** The forms of the prompt that `--prompt` knows; a new one is a file in prompt-forms/ and a line here. */
import { UsageError, nearest } from "../support/index.ts";
import type { PromptForm } from "./prompt.ts";
import { laclipForm, laclipPlainForm, paperForm } from "./prompt-forms/in-context.ts";

/** All forms; the first is the default. */
export const promptForms: readonly PromptForm[] = [paperForm, laclipForm, laclipPlainForm];

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
