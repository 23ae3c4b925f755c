/**
 * A whole page as one file that loads nothing: charts are inline SVG, pictures data URIs, and there is no script but for one of the program's
 * own where a page needs it. Its content security policy allows exactly that, by the hashes of style sheet and script.
 */
import { createHash } from "node:crypto";
import { type Html, html, trusted } from "./html.ts";
import { pageStyle } from "./page-style.ts";

/** What makes a page. */
export interface PageParts {
  /** As the browser's tab shows it. */
  title: string;
  body: Html;
  /** A style sheet for what only this page has; part of the program, never data. Default: none. */
  style?: string;
  /** A script that only this page has, at the end of its body; part of the program, never data. Default: none. */
  script?: string;
}

/** The page as text. */
export function renderPage({ title, body, style: own = "", script }: PageParts): string {
  const style = pageStyle + own;
  const scripts = script === undefined ? "" : ` script-src 'sha256-${hashOf(script)}';`;
  const policy = `default-src 'none'; img-src data:; style-src 'sha256-${hashOf(style)}';${scripts} base-uri 'none'; form-action 'none'`;
  // As one piece: the hash in the policy is of exactly these bytes.
  const element = trusted(`<style>${style}</style>`);
  const program = script === undefined ? undefined : trusted(`<script>${script}</script>`);
  const document = html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta http-equiv="Content-Security-Policy" content="${policy}" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="referrer" content="no-referrer" />
      <title>${title}</title>
      ${element}
    </head>
    <body>
      <main>${body}</main>
      ${program}
    </body>
  </html>`;
  return `<!doctype html>\n${document.markup}\n`;
}

/** Whether a file that begins like this is a page of `renderPage`. */
export function isPage(beginning: string): boolean {
  return /^<!doctype html>\n<html lang="en">\s*<head>[^]{0,200}<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;/.test(
    beginning,
  );
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}
