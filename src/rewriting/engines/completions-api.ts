/** OpenAI's completions interface, as servers and batch files have it: a prompt as the body of a request, an answer as a completion. */
import { longestAnswer } from "./engine.ts";
import type { Completion, RewriteRequest, SamplingOptions } from "./engine.ts";
import type { Prompt } from "../prompts/prompt.ts";
import { PassingError } from "./server-answers.ts";

/** What to ask with. */
export interface RequestSettings {
  /** Undefined for a server's default. */
  readonly model: string | undefined;
  readonly seed: number;
  readonly sampling: SamplingOptions;
}

/** Where a prompt is sent to, below the API's address: texts and conversations have places of their own. */
export function requestPath({ kind }: Pick<Prompt, "kind">): string {
  return kind === "text" ? "/completions" : "/chat/completions";
}

/** The body of a request for one completion. */
export function requestBody(prompt: Prompt, { model, seed, sampling }: RequestSettings): Record<string, unknown> {
  return {
    model,
    // A line's end ends a rewrite; a conversation may begin with other lines, which the form of the prompt knows to skip.
    ...(prompt.kind === "text" ? { prompt: prompt.shared + prompt.own, stop: ["\n"] } : { messages: prompt.messages }),
    max_tokens: longestAnswer(prompt, sampling),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    seed,
  };
}

/**
 * The completion in an answer.
 * @throws PassingError when the answer is none
 */
export function completionOf(request: RewriteRequest, kind: Prompt["kind"], value: unknown): Completion {
  const answer = value as {
    choices?: { text?: unknown; message?: { content?: unknown }; finish_reason?: unknown }[];
    usage?: { completion_tokens?: unknown; prompt_tokens?: unknown };
  } | null;
  const choices = Array.isArray(answer?.choices) ? answer.choices : [];
  const [choice] = choices;
  const text = kind === "text" ? choice?.text : choice?.message?.content;
  if (choices.length !== 1 || typeof text !== "string") {
    const expected = kind === "text" ? "choices[0].text" : "choices[0].message.content";
    const came = choices.length > 1 ? `${choices.length} choices, not one` : `no ${expected}`;
    throw new PassingError("failing", `the answer has ${came}: ${JSON.stringify(value).slice(0, 200)}`);
  }
  const { completion_tokens: tokens, prompt_tokens: promptTokens } = answer?.usage ?? {};
  return {
    request,
    text,
    finish: choice?.finish_reason === "length" ? "length" : "stop",
    tokens: typeof tokens === "number" && Number.isInteger(tokens) ? tokens : 0,
    ...(typeof promptTokens === "number" && Number.isInteger(promptTokens) ? { promptTokens } : {}),
  };
}
