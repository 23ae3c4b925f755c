/** A picture as part of the page itself. */
import { readFileSync } from "node:fs";
import { type Html, html } from "../pages/index.ts";
import { DataError } from "../support/index.ts";

/** @param path a PNG file; @param kind a class of the style sheet. @throws DataError when it can't be read */
export function picture(path: string, alt: string, kind?: string): Html {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new DataError(`${path}: the report can't read this picture (${(error as Error).message}).`, { cause: error });
  }
  const extra = kind === undefined ? "" : html` class="${kind}"`;
  return html`<img${extra} src="data:image/png;base64,${bytes.toString("base64")}" alt="${alt}" title="${alt}" width="64" height="64">`;
}
