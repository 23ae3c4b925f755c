/**
 * Back-translation: a caption put into another language and back into English, the paper's second baseline (there with a model made
 * for translation; here with any language model that follows instructions).
 *
 * Both ways are asked of one engine, through requests of its own kind, so that servers, batching, retries and chat templates are
 * its business. Captions on their way back go first: so few are under way at any time.
 */
import { EndpointError, UsageError, invariant, sha256 } from "../../support/index.ts";
import { isFailure } from "./engine.ts";
import type { EngineDescription, Outcome, ProgramSource, RewriteEngine, RewriteGroup, RewriteRequest } from "./engine.ts";
import { captionInAnswer } from "../prompts/forms/chat-answer.ts";
import type { PromptForm } from "../prompts/prompt.ts";

/** A language on the way, with the prompts for both ways. */
interface Language {
  readonly source: ProgramSource;
  /** As the prompts name it: "German". */
  readonly name: string;
  readonly there: PromptForm;
  readonly back: PromptForm;
}

/** A request on its way: the caption's own, and what came of the way there. */
interface Leg {
  readonly request: RewriteRequest;
  readonly language: Language;
  /** Undefined on the way there. */
  readonly abroad:
    | { readonly tokens: number; readonly promptTokens: number | undefined; readonly cut: boolean; readonly shortened: boolean }
    | undefined;
}

const sourcePrefix = "back-translation";

/** Has a language model translate each caption into other languages and back; each language is a source. */
export class BackTranslationEngine implements RewriteEngine {
  readonly name = sourcePrefix;
  readonly usesExamples = false;
  readonly sources: readonly ProgramSource[];
  readonly #translator: RewriteEngine;
  readonly #languages: readonly Language[];

  /**
   * @param translator a language model; best one that always takes the likeliest token
   * @param languages English names: "German", "Brazilian Portuguese"
   * @throws UsageError for a name that can be no language's, English, or no name at all
   */
  constructor(translator: RewriteEngine, languages: readonly string[]) {
    if (!translator.usesExamples) {
      throw new UsageError(`--llm ${translator.name} is no language model: it can't translate.`, {
        mend: "Name a chat model: --llm http://host:port/v1, or a GGUF file of one.",
      });
    }
    if (languages.length === 0) throw new UsageError("No language was named to translate captions into.");
    this.#translator = translator;
    const bySource = new Map(languages.map((language) => [sourceOf(language), describeLanguage(language)]));
    this.#languages = [...bySource.values()];
    this.sources = this.#languages.map(({ source }) => source);
  }

  async describe(signal?: AbortSignal): Promise<EngineDescription> {
    const description = await this.#translator.describe(signal);
    // The language is in the source's name.
    const prompts = sha256(JSON.stringify([thereText("{language}", "{caption}"), backText("{language}", "{caption}")]));
    return { ...description, sampling: { ...description.sampling, prompts } };
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    const trips = new Trips(groups, (request) => this.#languageOf(request), signal);
    const outcomes = this.#translator.rewrite(trips.requests(), signal)[Symbol.asyncIterator]();
    try {
      for (let next = await outcomes.next(); !next.done; next = await outcomes.next()) {
        const done = trips.arrive(next.value);
        if (done) yield done;
      }
    } finally {
      // The translator may be waiting for requests; it would wait forever.
      trips.end();
      await outcomes.return?.();
    }
  }

  async close(): Promise<void> {
    await this.#translator.close();
  }

  #languageOf({ source }: RewriteRequest): Language {
    // A source that is written beside another has a suffix: "back-translation-german.second".
    const language = this.#languages.find(({ source: { name } }) => source === name || source.startsWith(`${name}.`));
    invariant(language !== undefined, `${source} is no source of back-translation`);
    return language;
  }
}

/** The captions under way. */
class Trips {
  readonly #groups: AsyncIterable<RewriteGroup>;
  readonly #languageOf: (request: RewriteRequest) => Language;
  readonly #signal: AbortSignal;
  readonly #legs = new Map<RewriteRequest, Leg>();
  #abroad: RewriteRequest[] = [];
  #ended = false;
  #wake = (): void => {};

  constructor(groups: AsyncIterable<RewriteGroup>, languageOf: (request: RewriteRequest) => Language, signal: AbortSignal) {
    this.#groups = groups;
    this.#languageOf = languageOf;
    this.#signal = signal;
  }

  /** Requests for the translator: those on the way back before new ones. */
  async *requests(): AsyncGenerator<RewriteGroup> {
    const stop = (): void => this.end();
    this.#signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const group of this.#groups) {
        if (this.#ended) return;
        yield group.map((request) => this.#depart({ request, language: this.#languageOf(request), abroad: undefined }, request.caption));
        if (this.#abroad.length > 0) yield this.#homeward();
      }
      while (!this.#ended && this.#legs.size > 0) {
        if (this.#abroad.length > 0) yield this.#homeward();
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#signal.removeEventListener("abort", stop);
    }
  }

  /** Takes what the translator says; gives the outcome where a caption's journey ends with it. */
  arrive(outcome: Outcome): Outcome | undefined {
    const leg = this.#legs.get(outcome.request);
    invariant(leg !== undefined, "an answer to nothing that was asked");
    this.#legs.delete(outcome.request);
    const done = this.#read(outcome, leg);
    this.#wake();
    return done;
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  #read(outcome: Outcome, { request, language, abroad }: Leg): Outcome | undefined {
    if (isFailure(outcome)) return { request, error: outcome.error };
    const text = outcome.request.form.read(outcome.text);
    if (text === "") {
      const said = JSON.stringify(outcome.text.slice(0, 100));
      const way = abroad ? `from ${language.name} back into English` : `into ${language.name}`;
      const mend = "Use a model that is tuned to follow instructions and knows the language.";
      return { request, error: new EndpointError(`no translation ${way}: the model answered ${said}.`, { mend }) };
    }
    const cut = outcome.finish === "length" || abroad?.cut === true;
    const tokens = outcome.tokens + (abroad?.tokens ?? 0);
    const { promptTokens } = outcome;
    // A model may have shortened it on either way.
    const shortened = outcome.shortened === true || abroad?.shortened === true || request.shortened;
    if (!abroad) {
      this.#abroad.push(this.#depart({ request, language, abroad: { tokens, promptTokens, cut, shortened } }, text));
      return undefined;
    }
    const both = promptTokens !== undefined && abroad.promptTokens !== undefined ? promptTokens + abroad.promptTokens : undefined;
    const counted = both === undefined ? {} : { promptTokens: both };
    return { request, text, finish: cut ? "length" : "stop", tokens, ...counted, shortened };
  }

  /** The request that the translator gets for this leg. */
  #depart(leg: Leg, caption: string): RewriteRequest {
    const { language, abroad, request } = leg;
    const asked: RewriteRequest = { ...request, caption, examples: [], form: abroad ? language.back : language.there, second: undefined };
    this.#legs.set(asked, leg);
    return asked;
  }

  #homeward(): RewriteGroup {
    const group = this.#abroad;
    this.#abroad = [];
    return group;
  }
}

function sourceOf(language: string): string {
  const plain = language
    .normalize("NFKD")
    .toLowerCase()
    .replace(/\p{M}/gu, "")
    .replace(/[^a-z]+/g, "-")
    .replace(/^-|-$/g, "");
  if (plain.length < 2 || !/^[\p{L} ()'-]{2,40}$/u.test(language)) {
    throw new UsageError(`--back-translate ${language}: this is no name of a language.`, {
      mend: "Give names in English, separated by commas: --back-translate German,French.",
    });
  }
  if (plain === "english") throw new UsageError("--back-translate English: captions are English; name another language.");
  return `${sourcePrefix}-${plain}`;
}

function describeLanguage(name: string): Language {
  const form = (way: string, text: (language: string, caption: string) => string): PromptForm => ({
    name: `translation-${way}`,
    description: `an instruction to translate a caption ${way}`,
    merges: false,
    render: ({ caption }) => ({ kind: "chat", messages: [{ role: "user", content: text(name, caption) }] }),
    read: readTranslation,
  });
  return {
    name,
    source: { name: sourceOf(name), provenance: `translated into ${name} and back` },
    there: form("there", thereText),
    back: form("back", backText),
  };
}

function thereText(language: string, caption: string): string {
  return `Translate this caption of a picture from English into ${language}. Answer with the translation on one line and nothing else.\n\n${caption}`;
}

function backText(language: string, caption: string): string {
  return `Translate this caption of a picture from ${language} into English. Answer with the translation on one line and nothing else.\n\n${caption}`;
}

/** "Here is the German translation:", "English:", before what was asked for. */
function readTranslation(answer: string): string {
  const bare = answer.replace(
    /^\s*(?:(?:sure|certainly|of course)[!,.]?\s+)?(?:here(?:['’]s| is)[^:\n]{0,60}|[a-z ]{0,40}translation[^:\n]{0,30}|english|translated)\s*:\s*/i,
    "",
  );
  return captionInAnswer(bare);
}
