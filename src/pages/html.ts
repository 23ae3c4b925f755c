/**
 * HTML from templates that escape: a value in `${}` is text unless it is itself a piece of such HTML.
 */

/** Markup that is safe to place in a page. Made only by `html` and `joined`, or by `trusted` from text written in this project. */
export class Html {
  constructor(readonly markup: string) {}
  toString(): string {
    return this.markup;
  }
}

type Value = Html | string | number | false | undefined | readonly (Html | string | number | false | undefined)[];

/** `html\`<b>${caption}</b>\``: lists are put one after the other, `false` and `undefined` give nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(strings.reduce((markup, string, i) => markup + string + (i < values.length ? render(values[i]) : ""), ""));
}

/** Markup from this program's own text; never give it data. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

/** Text as it stands in an element or a quoted attribute. Control characters, which no HTML may hold, become U+FFFD. */
function escapeHtml(text: string): string {
  return (
    text
      // eslint-disable-next-line no-control-regex
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, "\u{FFFD}")
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;")
      .replaceAll("'", "&#39;")
  );
}

function render(value: Value): string {
  if (value === undefined || value === false) return "";
  if (value instanceof Html) return value.markup;
  if (typeof value === "object") return value.map(render).join("");
  return escapeHtml(String(value));
}
