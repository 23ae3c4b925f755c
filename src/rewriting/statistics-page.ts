/**
 * The statistics of a rewrites folder as a page for people: one file that loads nothing (src/pages/page.ts).
 *
 * Captions and rewrites are data: they are escaped wherever they stand.
 */
import { type Html, histogram, html, percent, renderPage, seriesColours, shareBars } from "../pages/index.ts";
import { checkOfFlag } from "./checks.ts";
import { rewriteChecks } from "./check-table.ts";
import { describeMeasures } from "./statistics-text.ts";
import type { LengthStatistics, RewritesStatistics, SourceStatistics, StatisticsExample } from "./statistics.ts";

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
      <h1>${count(rewrites)} rewrites of ${dataset.name}</h1>
      <p class="lead">
        ${sources.length} ${sources.length === 1 ? "source" : "sources"} for ${count(captions)}
        captions${captions !== dataset.count && ` (a shard of ${count(dataset.count)})`}. ${sampleNote(statistics)}
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
  return `Flags are counted over all of them; words, lengths and likeness are those of ${count(sample.captions)} captions drawn from all.`;
}

function tiles(sources: readonly SourceStatistics[]): Html {
  return html`<div class="tiles">
    ${sources.map(
      ({ source, rewrites, usable, missing }, i) =>
        html`<div class="card tile edge-${colourOf(i)}">
          <p class="label">${source}</p>
          <p class="number">${rounded(usable, rewrites)}<small> usable</small></p>
          <p class="small soft">${count(usable)} of ${count(rewrites)} rewrites; ${count(missing)} captions without one</p>
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
                text: `${percent(times / source.rewrites)} · ${count(times)}`,
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

function lengths({ sources, captionLength }: RewritesStatistics): Html | undefined {
  const all: { label: string; series: number; length: LengthStatistics }[] = sources.map(({ source, length }, i) => ({
    label: source,
    series: colourOf(i),
    length,
  }));
  if (captionLength) all.unshift({ label: "captions", series: 0, length: captionLength });
  const shown = all.filter(({ length }) => length.texts > 0);
  if (shown.length === 0) return undefined;
  const bins = shown.map(({ label, series, length }) => ({ label, series, counts: length.histogram }));
  return html`<section>
    <h2>How long they are</h2>
    <div class="two">
      <figure class="card">
        <h3>CLIP tokens of a text</h3>
        ${histogram("CLIP tokens of a text", inBins(upToLongest(bins), 4), { binWidth: 4, unit: "tokens", mark: { value: 77, label: "77" } })}
        <figcaption>
          Start and end included. CLIP reads 77 tokens; what lies right of the line is cut off. The last bin holds all longer ones.
        </figcaption>
      </figure>
      <div class="card">
        <table>
          <thead>
            <tr>
              <th scope="col">texts</th>
              <th scope="col">mean tokens</th>
              <th scope="col">over 77</th>
            </tr>
          </thead>
          <tbody>
            ${shown.map(
              ({ label, series, length }) =>
                html`<tr>
                  <td>${dot(series)}<b>${label}</b></td>
                  <td data-label="mean tokens">${length.mean.toFixed(1)}</td>
                  <td data-label="over 77" class="${length.truncated > 0.05 && "bad"}">${percent(length.truncated)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </div>
  </section>`;
}

function variety({ sources }: RewritesStatistics): Html | undefined {
  const shown = sources.filter(({ sampled }) => sampled > 0);
  if (shown.length === 0) return undefined;
  const columns: [string, (source: SourceStatistics) => string][] = [
    ["words", (source) => source.meanWords.toFixed(1)],
    ["same as another rewrite", (source) => share(source.duplicates, source.sampled)],
    ["BLEU, other rewrites", (source) => decimal(source.siblingBleu)],
    ["BLEU, caption", (source) => decimal(source.captionBleu)],
    ["self\u2011BLEU", (source) => decimal(source.selfBleu)],
    ["distinct\u20111", (source) => source.distinct1.toFixed(3)],
    ["distinct\u20112", (source) => source.distinct2.toFixed(3)],
    ["of texts", (source) => count(source.diversityTexts)],
  ];
  return html`<section>
    <h2>How varied they are</h2>
    <p>
      LaCLIP lives on hearing of one thing in many words. BLEU is 1 where two texts are the same and near 0 where they share little: against
      the other rewrites of the same caption, against the caption itself, and against all other texts of the source (self-BLEU). Distinct-1
      and -2 are the different words and pairs of words among all. These three depend on the number of texts in the last column.
    </p>
    ${sourceTable(sources, shown, columns)}
  </section>`;
}

function faithfulness(sources: readonly SourceStatistics[]): Html | undefined {
  const shown = sources.filter(({ measures }) => measures !== undefined && Object.keys(measures).length > 0);
  if (shown.length === 0) return undefined;
  const names = [...new Set(shown.flatMap((source) => describeMeasures(source).map(({ says }) => says)))];
  const columns = names.map((name): [string, (source: SourceStatistics) => string] => [
    name,
    (source) => describeMeasures(source).find(({ says }) => says === name)?.value ?? "–",
  ]);
  return html`<section>
    <h2>How faithful they are</h2>
    <p>
      Means over the rewrites where there is something to measure. Words alone can't tell a faithful rewrite from an invented one: a synonym
      counts as lost. A source that stands out from the others is worth reading.
    </p>
    ${sourceTable(sources, shown, columns)}
  </section>`;
}

function fits(sources: readonly SourceStatistics[]): Html | undefined {
  const shown = sources.flatMap((source, i) => (source.fit ? [{ ...source, fit: source.fit, series: colourOf(i) }] : []));
  const [first] = shown;
  if (!first) return undefined;
  const { binWidth, start } = first.fit;
  const filled = shown.flatMap(({ fit }) => fit.histogram.flatMap((value, bin) => (value > 0 ? [bin] : [])));
  // Where captions stand, at 0, is always to be seen.
  const from = Math.min(Math.round((-0.05 - start) / binWidth), ...filled);
  const to = Math.max(Math.round((0.05 - start) / binWidth), ...filled) + 1;
  // Some forty bins, however far the fits reach.
  const width = Math.ceil((to - from) / 40);
  const bins = shown.map(({ source, series, fit }) => ({ label: source, series, counts: fit.histogram.slice(from, to) }));
  return html`<section>
    <h2>How well they fit the image</h2>
    <div class="two">
      <figure class="card">
        <h3>Cosine of image and rewrite, less that of image and caption</h3>
        ${histogram("Fit to the image", inBins(bins, width), {
          binWidth: Number((binWidth * width).toFixed(4)),
          start: Number((start + from * binWidth).toFixed(4)),
          unit: "difference of cosines",
          mark: { value: 0, label: "caption" },
        })}
        <figcaption>
          Left of the line the image-text model finds that the caption fits better. Its opinion depends on what it was trained on.
        </figcaption>
      </figure>
      <div class="card">
        <table>
          <thead>
            <tr>
              <th scope="col">source</th>
              <th scope="col">mean</th>
              <th scope="col" class="wrapped">less than the caption</th>
              <th scope="col" class="wrapped">mean weight</th>
            </tr>
          </thead>
          <tbody>
            ${shown.map(
              ({ source, series, fit, meanWeight }) =>
                html`<tr>
                  <td>${dot(series)}<b>${source}</b></td>
                  <td data-label="mean">${fit.mean.toFixed(3)}</td>
                  <td data-label="less than the caption">${percent(fit.worse)}</td>
                  <td data-label="mean weight">${meanWeight.toFixed(2)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </div>
  </section>`;
}

function sourceTable(
  all: readonly SourceStatistics[],
  shown: readonly SourceStatistics[],
  columns: readonly (readonly [string, (source: SourceStatistics) => string])[],
): Html {
  return html`<div class="card table">
    <table>
      <thead>
        <tr>
          <th scope="col">source</th>
          ${columns.map(([name]) => html`<th scope="col" class="wrapped">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${shown.map(
          (source) =>
            html`<tr>
              <td>${dot(colourOf(all.indexOf(source)))}<b>${source.source}</b></td>
              ${columns.map(([name, of]) => html`<td data-label="${name}">${of(source)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
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
            <summary>${flag} <small>${count(times)}, ${share(times, rewrites)}</small></summary>
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

/** Series colours of the sources; the first, grey, is the captions'. */
function colourOf(source: number): number {
  return 1 + (source % (seriesColours - 1));
}

function dot(series: number): Html {
  return html`<svg class="dot" viewBox="0 0 11 11" aria-hidden="true"><circle class="series-${series}" cx="5.5" cy="5.5" r="5.5" /></svg>`;
}

/** Every `width` neighbouring counts as one. */
function inBins<T extends { counts: readonly number[] }>(all: readonly T[], width: number): (T & { counts: number[] })[] {
  return all.map((one) => {
    const counts = Array.from({ length: Math.ceil(one.counts.length / width) }, () => 0);
    one.counts.forEach((value, i) => (counts[Math.floor(i / width)]! += value));
    return { ...one, counts };
  });
}

/** Counts by length up to the longest text, and at least so far that the line at 77 is to be seen. */
function upToLongest<T extends { counts: readonly number[] }>(all: readonly T[]): T[] {
  const last = Math.max(83, ...all.map(({ counts }) => counts.findLastIndex((value) => value > 0)));
  return all.map((one) => ({ ...one, counts: one.counts.slice(0, last + 1) }));
}

function share(part: number, whole: number): string {
  return percent(part / Math.max(1, whole));
}

/** A share in large print: what is less than all must not look like all. */
function rounded(part: number, whole: number): string {
  const percents = (100 * part) / Math.max(1, whole);
  return percents > 99 && percents < 100 ? `${Math.floor(10 * percents) / 10} %` : `${Math.round(percents)} %`;
}

function decimal(value: number | undefined): string {
  return value === undefined ? "–" : value.toFixed(2);
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
