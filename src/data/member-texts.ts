/**
 * What the members of a sample in a tar say: its id, its caption, its rewrites.
 *
 * The caption is the `.txt`, else a key of the `.json`. Rewrites are keys of the `.json`: `caption_NAME` for each source, as
 * `laclip data pack` and `laclip rewrites export` write them; or the keys that the user names, as for open_clip's `--json-text-key`.
 */
import { captionColumns } from "./caption-table.ts";
import { hashedColumns, hashedId } from "./hashed-ids.ts";
import { type JsonObject, parseJsonObject, textUnder, textUnderAny } from "./json-texts.ts";
import { type Caption, originalSource } from "./sample.ts";
import { decodeText } from "./strict-text.ts";

/** Which texts of a sample are which, where the names say too little. */
export interface MemberTextOptions {
  /** Key of the `.json` with the id; `hash:NAME` or `hash:NAME,NAME` for a hash of keys. Default: webdataset's key of the sample; see `defaultIdColumn`. */
  idColumn?: string | undefined;
  /** Key of the `.json` with the caption. Default: the `.txt`, else `caption`, `title` or `text` of the `.json`. */
  captionColumn?: string | undefined;
  /** Keys of the `.json` that hold its texts, the caption's first. Default: the caption and each `caption_NAME`. */
  textKeys?: readonly string[] | undefined;
}

/** Members that hold texts. */
export const textMembers: ReadonlySet<string> = new Set(["txt", "json"]);

/** The key of the `.json`, or the column of a table, that holds the rewrites of a source. */
export function captionKey(source: string): string {
  return `${keyPrefix}${source}`;
}

const keyPrefix = "caption_";

/** The source whose texts a key holds: `caption_human` those of `human`, the first of several keys the original. */
export function sourceOfKey(key: string, first: boolean): string {
  return first ? originalSource : key.startsWith(keyPrefix) && key !== keyPrefix ? key.slice(keyPrefix.length) : key;
}

/** The texts of one sample. All that is read throws a DataError when a member is no UTF-8, or a `.json` is no JSON object. */
export class MemberTexts {
  readonly #tar: string;
  readonly #key: string;
  readonly #members: ReadonlyMap<string, Buffer>;
  #json: JsonObject | undefined;

  /**
   * @param tar what messages call the tar
   * @param members content of the members `txt` and `json`, where there are such
   */
  constructor(tar: string, key: string, members: ReadonlyMap<string, Buffer>) {
    this.#tar = tar;
    this.#key = key;
    this.#members = members;
  }

  /** The `.json`, parsed only where it is needed: most samples have the caption in a `.txt` too. Empty where there is none. */
  get json(): JsonObject {
    return (this.#json ??= this.#members.has("json") ? parseJsonObject(this.#text("json")!, this.#where("json")) : {});
  }

  /** "" where a key for it was named, and the sample lacks it. */
  id(idColumn: string | undefined): string {
    const hashed = hashedColumns(idColumn);
    if (hashed) {
      const parts = hashed.map((column) => textUnder(this.json, column));
      return parts.includes("") ? "" : hashedId(...parts);
    }
    return idColumn === undefined ? this.#key : textUnder(this.json, idColumn);
  }

  /** "" where there is none. */
  caption(captionColumn: string | undefined): string {
    if (captionColumn !== undefined) return textUnder(this.json, captionColumn);
    return this.#text("txt") ?? textUnderAny(this.json, captionColumns);
  }

  /**
   * Caption and rewrites, in this order; those that are empty, or weigh nothing, left out. Weights that are no numbers up to 1 count as 1. None where there is no caption; of keys that the user has named,
   * the first that holds a text counts as the caption.
   */
  captions({ captionColumn, textKeys }: MemberTextOptions): Caption[] {
    if (textKeys) {
      const named = textKeys.map((key, i) => ({ source: sourceOfKey(key, i === 0), text: textUnder(this.json, key) }));
      const [first, ...others] = named.filter(({ text }) => text.trim() !== "");
      return first === undefined ? [] : [{ ...first, source: originalSource }, ...others];
    }
    const caption = this.caption(captionColumn);
    if (caption.trim() === "") return [];
    const weights = this.json["weights"] as Readonly<Record<string, unknown>> | undefined;
    const own = weights?.["caption"];
    const found: Caption[] = [
      { source: originalSource, text: caption, ...(typeof own === "number" && own > 0 && own < 1 ? { weight: own } : {}) },
    ];
    for (const [key, text] of Object.entries(this.json)) {
      if (!key.startsWith(keyPrefix) || key === keyPrefix || typeof text !== "string" || text.trim() === "") continue;
      const weight = weights?.[key];
      if (typeof weight === "number" && weight <= 0) continue;
      const source = sourceOfKey(key, false);
      found.push(typeof weight === "number" && weight < 1 ? { source, text, weight } : { source, text });
    }
    return found;
  }

  #text(suffix: string): string | undefined {
    const bytes = this.#members.get(suffix);
    return bytes && decodeText(bytes, () => this.#where(suffix)).replace(/^\ufeff/, "");
  }

  #where(suffix: string): string {
    return `${this.#tar}: the member ${this.#key}.${suffix}`;
  }
}
