/**
 * The measured part of the page on a rewrites folder: lengths, variety, faithfulness, and how well rewrites fit their images.
 */
import { percent, percentOf, thousands } from "../../support/index.ts";
import { type Html, histogram, html, seriesColours } from "../../pages/index.ts";
import { describeMeasures } from "./statistics-text.ts";
import type { LengthStatistics, RewritesStatistics, SourceStatistics } from "./statistics.ts";

/** Distribution of lengths in CLIP tokens. */
export function lengths({ sources, captionLength }: RewritesStatistics): Html | undefined {
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

/** How alike texts are. */
export function variety({ sources }: RewritesStatistics): Html | undefined {
  const shown = sources.filter(({ sampled }) => sampled > 0);
  if (shown.length === 0) return undefined;
  const columns: [string, (source: SourceStatistics) => string][] = [
    ["words", (source) => source.meanWords.toFixed(1)],
    ["same as another rewrite", (source) => percentOf(source.duplicates, source.sampled)],
    ["BLEU, other rewrites", (source) => decimal(source.siblingBleu)],
    ["BLEU, caption", (source) => decimal(source.captionBleu)],
    ["self\u2011BLEU", (source) => decimal(source.selfBleu)],
    ["distinct\u20111", (source) => source.distinct1.toFixed(3)],
    ["distinct\u20112", (source) => source.distinct2.toFixed(3)],
    ["of texts", (source) => thousands(source.diversityTexts)],
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

/** What rewrites keep of their captions. */
export function faithfulness(sources: readonly SourceStatistics[]): Html | undefined {
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

/** How well rewrites fit their images, where that was measured. */
export function fits(sources: readonly SourceStatistics[]): Html | undefined {
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

/** Series colours of the sources; the first, grey, is the captions'. */
export function colourOf(source: number): number {
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

function decimal(value: number | undefined): string {
  return value === undefined ? "–" : value.toFixed(2);
}
