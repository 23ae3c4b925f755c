/**
 * Prompts as the tokens of a GGUF model: texts to go on with, and conversations in the model's own chat template.
 *
 * A prompt is always tokenized whole, since words may grow together across the place where the caption begins. The beginning that a
 * group shares is found in the tokens: as far as two prompts with different captions are the same.
 */
import type { ChatHistoryItem, ChatWrapper, LlamaModel, Token } from "node-llama-cpp";
import { DataError, UsageError } from "../../support/index.ts";
import type { RewriteRequest } from "./engine.ts";
import { shorten } from "../prompts/prompt.ts";
import type { ChatMessage, Prompt } from "../prompts/prompt.ts";
import { commonLength } from "./llama-cpp-beginnings.ts";

/** A prompt that leaves room for its answer. */
export interface FittedPrompt {
  readonly tokens: Token[];
  /** True where the caption lost words. */
  readonly shortened: boolean;
  readonly kind: Prompt["kind"];
}

/** What prompts depend on beside the model. */
export interface PromptLimits {
  /** Most tokens that a prompt of this kind may have. */
  mostTokens(prompt: Pick<Prompt, "kind">): number;
  /** The model's way to write conversations, or undefined where its file has none. */
  wrapper(): ChatWrapper | undefined;
}

/** Turns prompts into tokens of one model. */
export class LlamaCppPrompts {
  readonly #start: readonly Token[];
  #wrapper: ChatWrapper | undefined;
  #turnEnds: ReadonlySet<Token> | undefined;

  constructor(
    private readonly model: LlamaModel,
    private readonly limits: PromptLimits,
  ) {
    this.#start = model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos] : [];
  }

  /**
   * The prompt's tokens, the captions shortened until they fit.
   * @throws DataError when the examples alone are too long
   * @throws UsageError for a conversation with a model that has no template for one
   */
  fit(request: RewriteRequest): FittedPrompt {
    let { caption, second = "" } = request;
    let { tokens, kind } = this.#tokenize(request, request);
    const most = this.limits.mostTokens({ kind });
    while (tokens.length > most && Math.max(caption.length, second.length) > 1) {
      const share = Math.max(0.5, most / tokens.length);
      // Where two are merged, the longer gives way.
      if (second.length > caption.length) second = toShare(second, share);
      else caption = toShare(caption, share);
      ({ tokens } = this.#tokenize(request, { caption, second: request.second === undefined ? undefined : second }));
    }
    if (tokens.length > most) {
      throw new DataError(
        `Three examples of source "${request.source}" take ${tokens.length} tokens of this model; ${most} fit beside an answer.`,
        { mend: "Use shorter example pairs, a larger --context, or a model that was trained with a larger one." },
      );
    }
    const shortened = request.shortened || caption !== request.caption || second !== (request.second ?? "");
    return { tokens, kind, shortened };
  }

  /** What the prompts of all requests with these examples begin with; nothing where that leaves no room for a caption. */
  beginning(request: RewriteRequest): Token[] {
    const { tokens, kind } = this.#tokenize(request, request);
    const differing = (text: string): string => (text.startsWith("x") ? "y" : "x");
    const { caption, second } = request;
    const other = this.#tokenize(request, { caption: differing(caption), second: second === undefined ? undefined : differing(second) });
    const length = commonLength(tokens, other.tokens);
    return length < this.limits.mostTokens({ kind }) ? tokens.slice(0, length) : [];
  }

  /** True for a token that ends a turn of a conversation, where it is not one that ends every text of this model. */
  endsTurn(token: Token): boolean {
    if (!this.#turnEnds) {
      const { stopGenerationTriggers } = this.#wrap([{ role: "user", content: "" }]);
      const triggers = stopGenerationTriggers.map((trigger) => trigger.tokenize(this.model.tokenizer));
      this.#turnEnds = new Set(triggers.filter((tokens) => tokens.length === 1).map(([only]) => only!));
    }
    return this.#turnEnds.has(token);
  }

  #tokenize(request: RewriteRequest, captions: Pick<RewriteRequest, "caption" | "second">): { tokens: Token[]; kind: Prompt["kind"] } {
    const { examples, form } = request;
    const prompt: Prompt = form.render({ examples, caption: captions.caption, second: captions.second });
    const { kind } = prompt;
    if (kind === "text") return { kind, tokens: [...this.#start, ...this.model.tokenize(prompt.shared + prompt.own, false)] };
    const tokens = this.#wrap(prompt.messages).contextText.tokenize(this.model.tokenizer);
    // Some templates write the token that begins every text themselves.
    return { kind, tokens: tokens[0] === this.#start[0] ? tokens : [...this.#start, ...tokens] };
  }

  #wrap(messages: readonly ChatMessage[]): ReturnType<ChatWrapper["generateContextState"]> {
    this.#wrapper ??= this.limits.wrapper();
    if (!this.#wrapper) {
      throw new UsageError("This prompt is a conversation, and the model's file has no chat template.", {
        mend: "Use a model that was tuned for conversations, or another --prompt.",
      });
    }
    // The empty turn at the end is where the model goes on.
    const chatHistory: ChatHistoryItem[] = [...messages.map((message) => turn(message)), { type: "model", response: [] }];
    return this.#wrapper.generateContextState({ chatHistory });
  }
}

/** A text cut to this share of its length, and by a character at least. */
function toShare(text: string, share: number): string {
  return shorten(text, Math.min(text.length - 1, Math.floor(text.length * share))).text;
}

function turn({ role, content }: ChatMessage): ChatHistoryItem {
  return role === "assistant" ? { type: "model", response: [content] } : { type: role, text: content };
}
