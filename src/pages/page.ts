/**
 * A whole page as one file that loads nothing: charts are inline SVG, pictures data URIs, and there is no script. Its content security
 * policy allows exactly that, by the hash of its style sheet.
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
}

/** The page as text. */
export function renderPage({ title, body, style: own = "" }: PageParts): string {
  const style = pageStyle + own;
  const styleHash = createHash("sha256").update(style).digest("base64");
  const policy = `default-src 'none'; img-src data:; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'`;
  // As one piece: the hash in the policy is of exactly these bytes.
  const element = trusted(`<style>${style}</style>`);
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
    </body>
  </html>`;
  return `<!doctype html>\n${document.markup}\n`;
}
