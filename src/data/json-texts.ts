/**
 * JSON as programs in Python write it, which know NaN and Infinity, and texts out of it.
 */
import { findColumn } from "./caption-table.ts";
import { DataError } from "../support/index.ts";

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses JSON that may hold the numbers NaN and Infinity; they come as null.
 * @throws SyntaxError when it is no JSON
 */
function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const plain = text.replace(/("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b/g, (_, quoted: string | undefined) => quoted ?? "null");
    if (plain === text) throw error;
    return JSON.parse(plain);
  }
}

/**
 * A JSON object in a text.
 * @param where what holds it, in words, for messages
 * @throws DataError when the text is no JSON, or not an object
 */
export function parseJsonObject(text: string, where: string): JsonObject {
  let value: unknown;
  try {
    value = parsePythonJson(text);
  } catch (error) {
    throw new DataError(`${where} is not valid JSON (${(error as Error).message}).`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DataError(`${where} is not a JSON object: ${text.slice(0, 60)}`);
  return value as JsonObject;
}

/** The text or number under a key as text; "" where there is none. */
export function textUnder(object: JsonObject, key: string | undefined): string {
  const value = key === undefined || !Object.hasOwn(object, key) ? undefined : object[key];
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

/** The text under the first of these names, in any case, that the object has; "" where it has none. */
export function textUnderAny(object: JsonObject, names: readonly string[]): string {
  return textUnder(object, findColumn(Object.keys(object), names));
}
