/**
 * In-context learning, as LaCLIP rewrites: a task line, three examples "input => output", then the caption and an arrow; the model,
 * not tuned to follow instructions, goes on in the same manner.
 *
 * The paper's figure and the released code (rewrite/llama_rewrite.py) differ in wording and spacing, so both are here. The twelve
 * spaces of the code's form are an accident of its source text, and part of what its model saw. The original finds the answer by
 * counting lines of prompt and answer together, which a caption with an arrow or a line break upsets; here captions are made safe
 * first, and only what the model added is read.
 */
import { firstLine } from "../prompt.ts";
import type { Prompt, PromptForm, PromptParts } from "../prompt.ts";

function inContext(name: string, description: string, taskLine: string, between: string): PromptForm {
  return {
    name,
    description,
    merges: false,
    render: ({ examples, caption }: PromptParts): Prompt => ({
      kind: "text",
      shared: [taskLine, ...examples.map(({ input, output }) => `${input} => ${output}`), ""].join(between),
      own: `${caption} =>`,
    }),
    read: firstLine,
  };
}

/** The wording of the paper's figure, one example a line. */
export const paperForm = inContext("paper", "the paper's wording, one example a line", "Rewrite the following image descriptions:", "\n");

/** The prompt of LaCLIP's released code, byte for byte. */
export const laclipForm = inContext(
  "laclip-code",
  "LaCLIP's released code, byte for byte, with its blank lines and indentation",
  "write image captions differently,",
  "\n\n            ",
);

/** The wording of LaCLIP's released code without the accident of its indentation. */
export const laclipPlainForm = inContext(
  "laclip-code-plain",
  "the wording of LaCLIP's released code, one example a line",
  "write image captions differently,",
  "\n",
);
