/**
 * The statistics of a rewrites folder as a page for people: one file that loads nothing (src/pages/page.ts).
 *
 * Captions and rewrites are data: they are escaped wherever they stand.
 */
import { percent, percentOf, thousands } from "../../support/index.ts";
import { type Html, html, renderPage, shareBars } from "../../pages/index.ts";
import { checkOfFlag } from "../checks/checks.ts";
import { rewriteChecks } from "../checks/check-table.ts";
import { colourOf, faithfulness, fits, lengths, variety } from "./statistics-measures.ts";
import type { RewritesStatistics, SourceStatistics, StatisticsExample } from "./statistics.ts";

/** What only this page has. */
const style = `
main > header { padding-top: 36px; }
.flags { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; margin-top: 18px; }
.note ul { margin: 4px 0 0; padding-left: 20px; }
td:first-child { white-space: nowrap; }
th.wrapped { white-space: normal; min-width: 6em; }
.pairs { margin: 0; padding: 0; list-style: none; }
.pairs li { padding: 10px 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.pairs li:first-child { border-top: 0; }
.pairs .caption { color: var(--soft); font-size: 0.92rem; margin: 0; }
.pairs .rewrite { margin: 0; }
.pairs .id { color: var(--soft); font: 0.78rem ui-monospace, SFMono-Regular, Menlo, monospace; margin: 0; }
details { margin-top: 10px; }
summary { cursor: pointer; font-weight: 600; }
summary small { font-weight: 400; color: var(--soft); }
.made { margin-top: 18px; display: grid; gap: 14px; }
@media (max-width: 640px) { .flags { grid-template-columns: 1fr; } }
`;

/**
 * The page as text.
 * @param created when it was made, for its heading
 */
export function renderStatistics(statistics: RewritesStatistics, created = new Date()): string {
  const { dataset, captions, rewrites, sources } = statistics;
  const body = html`<header>
      <p class="kicker">laclip rewrites · ${created.toISOString().slice(0, 10)}</p>
      <h1>${thousands(rewrites)} rewrites of ${dataset.name}</h1>
      <p class="lead">
        ${sources.length} ${sources.length === 1 ? "source" : "sources"} for ${thousands(captions)}
        captions${captions !== dataset.count && ` (a shard of ${thousands(dataset.count)})`}. ${sampleNote(statistics)}
      </p>
      ${tiles(sources)}
      ${sources.map(
        ({ source, complaints }) =>
          complaints.length > 0 &&
          html`<div class="note">
            <b>${source}</b>
            <ul>
              ${complaints.map((complaint) => html`<li>${complaint}</li>`)}
            </ul>
          </div>`,
      )}
    </header>
    ${flags(sources)} ${lengths(statistics)} ${variety(statistics)} ${faithfulness(sources)} ${fits(sources)} ${examples(statistics)}
    ${made(sources)}
    <footer>Made by <code>laclip rewrites stats</code>. Everything on this page is in the file itself; it loads nothing.</footer>`;
  return renderPage({ title: `Rewrites of ${dataset.name}`, body, style });
}

function sampleNote({ sample }: RewritesStatistics): string {
  if (sample.whole) return "All texts were looked at.";
  return `Flags are counted over all of them; words, lengths and likeness are those of ${thousands(sample.captions)} captions drawn from all.`;
}

function tiles(sources: readonly SourceStatistics[]): Html {
  return html`<div class="tiles">
    ${sources.map(
      ({ source, rewrites, usable, missing }, i) =>
        html`<div class="card tile edge-${colourOf(i)}">
          <p class="label">${source}</p>
          <p class="number">${rounded(usable, rewrites)}<small> usable</small></p>
          <p class="small soft">${thousands(usable)} of ${thousands(rewrites)} rewrites; ${thousands(missing)} captions without one</p>
        </div>`,
    )}
  </div>`;
}

function flags(sources: readonly SourceStatistics[]): Html {
  const cards = sources.map((source, i) => {
    const raised = Object.entries(source.flags).sort(([, a], [, b]) => b - a);
    return html`<figure class="card">
      <h3>${source.source}</h3>
      ${
        raised.length === 0
          ? html`<p class="soft">Nothing was found.</p>`
          : shareBars(
              `Flags of ${source.source}`,
              raised.map(([flag, times]) => ({
                label: checkOfFlag(flag),
                share: times / source.rewrites,
                text: `${percent(times / source.rewrites)} · ${thousands(times)}`,
                colour: flag.startsWith("rejected:") ? ("bad" as const) : colourOf(i),
              })),
            )
      }
    </figure>`;
  });
  const known = new Set(sources.flatMap((source) => Object.keys(source.flags).map(checkOfFlag)));
  const meanings = rewriteChecks.filter(({ name }) => known.has(name));
  return html`<section>
    <h2>What the checks found</h2>
    <p>
      Share of each source's rewrites. <b class="bad">Red</b>: rejected, and not trained on. The others stay in training and are worth a
      look.
    </p>
    <div class="flags">${cards}</div>
    ${
      meanings.length > 0 &&
      html`<details>
        <summary>What the flags mean</summary>
        <dl>
          ${meanings.map(
            ({ name, finds }) =>
              html`<dt>${name}</dt>
                <dd>The rewrite ${finds}.</dd>`,
          )}
        </dl>
      </details>`
    }
  </section>`;
}

function examples({ sources, examples: all }: RewritesStatistics): Html | undefined {
  if (all.length === 0) return undefined;
  const cards = sources.map(({ source, flags: raised, rewrites }) => {
    const own = all.filter((example) => example.source === source);
    const groups = Object.entries(raised).sort(([, a], [, b]) => b - a);
    const plain = own.filter(({ flag }) => flag === undefined);
    const worst = own.filter(({ flag }) => flag === "fits-least");
    return html`<div class="card">
      <h3>${source}</h3>
      ${
        plain.length > 0 &&
        html`<details open>
          <summary>without flags</summary>
          ${pairs(plain)}
        </details>`
      }
      ${
        worst.length > 0 &&
        html`<details>
          <summary>least like their image</summary>
          ${pairs(worst)}
        </details>`
      }
      ${groups.map(
        ([flag, times]) =>
          html`<details>
            <summary>${flag} <small>${thousands(times)}, ${percentOf(times, rewrites)}</small></summary>
            ${pairs(own.filter((example) => example.flag === flag))}
          </details>`,
      )}
    </div>`;
  });
  return html`<section>
    <h2>Examples</h2>
    <p>A few of each kind, drawn by chance.</p>
    <div class="two">${cards}</div>
  </section>`;
}

function pairs(shown: readonly StatisticsExample[]): Html {
  return html`<ul class="pairs">
    ${shown.map(
      ({ id, caption, text }) =>
        html`<li>
          ${caption !== undefined && html`<p class="caption">${caption}</p>`}
          <p class="rewrite">${text === "" ? html`<span class="soft">(nothing)</span>` : text}</p>
          <p class="id">${id}</p>
        </li>`,
    )}
  </ul>`;
}

function made(sources: readonly SourceStatistics[]): Html {
  return html`<section>
    <h2>How they were made</h2>
    <div class="made">
      ${sources.map(({ source, made: by, meanTokens }) => {
        const facts: [string, string][] = [
          ["written by", `${by.engine}, ${by.model}`],
          ["examples or texts", by.provenance],
          ["prompt", by.prompt ?? ""],
          [
            "sampling",
            Object.entries(by.sampling)
              .map(([name, value]) => `${name} ${value}`)
              .join(", "),
          ],
          ["seed", String(by.seed)],
          ["tokens generated", meanTokens > 0 ? `${meanTokens.toFixed(1)} on average` : ""],
          [
            "images",
            Object.entries(by.images ?? {})
              .map(([name, value]) => `${name} ${value}`)
              .join(", "),
          ],
        ];
        return html`<div class="card">
          <h3>${source}</h3>
          <dl>
            ${facts.map(
              ([name, value]) =>
                value !== "" &&
                html`<dt>${name}</dt>
                  <dd>${value}</dd>`,
            )}
          </dl>
        </div>`;
      })}
    </div>
  </section>`;
}

/** A share in large print: what is less than all must not look like all. */
function rounded(part: number, whole: number): string {
  const percents = (100 * part) / Math.max(1, whole);
  return percents > 99 && percents < 100 ? `${Math.floor(10 * percents) / 10} %` : `${Math.round(percents)} %`;
}
