/**
 * What an inspection found, as a page for people: one file that loads nothing (src/pages/page.ts), with a contact sheet of samples.
 *
 * Captions, ids, paths and rewrites are data: they are escaped wherever they stand.
 */
import { percent, percentOf, thousands } from "../support/index.ts";
import { type Html, histogram, html, renderPage, shareBars } from "../pages/index.ts";
import type { CaptionSurvey } from "./caption-survey.ts";
import { sideBin } from "./image-survey.ts";
import type { ImageSurvey } from "./image-survey.ts";
import { type DataInspection, type ShownSample, inspectedName } from "./inspect-data.ts";
import { captionFacts, concerns, describeSamples, describeSampling, imageFacts, rewriteFacts } from "./inspection-facts.ts";
import type { Facts } from "./inspection-facts.ts";

/** What only this page has. */
const style = `
main > header { padding-top: 36px; }
.note ul { margin: 0; padding-left: 20px; }
.note li { overflow-wrap: anywhere; }
.next { margin-top: 18px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(232px, 1fr)); gap: 14px; margin-top: 18px; align-items: start; }
.sample { padding: 0; overflow: hidden; }
.sample img { width: 100%; height: 190px; object-fit: contain; border-radius: 0; background: var(--mark); }
.sample .none { height: 190px; display: grid; place-content: center; text-align: center; padding: 16px; background: var(--mark); overflow-wrap: anywhere; }
.sample .words { padding: 12px 14px 14px; overflow-wrap: anywhere; }
.sample .caption { font-weight: 600; line-height: 1.4; margin: 0 0 6px; white-space: pre-line; }
.sample .texts { font-size: 0.88rem; }
.sample .texts li { line-height: 1.4; }
.sample .texts b { display: block; font-size: 0.74rem; font-weight: 600; color: var(--soft); }
.sample .about { font: 0.74rem/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; color: var(--soft); margin: 8px 0 0; }
.sample .about + .about { margin-top: 0; }
@media (max-width: 640px) { .sheet { grid-template-columns: 1fr; } .sample img, .sample .none { height: 240px; } }
`;

/**
 * The page as text.
 * @param created when it was made, for its heading
 */
export function renderInspection(inspection: DataInspection, created = new Date()): string {
  const { path, samples } = inspection;
  const name = inspectedName(inspection);
  const found = concerns(inspection);
  const body = html`<header>
      <p class="kicker">laclip inspect data · ${created.toISOString().slice(0, 10)}</p>
      <h1>${thousands(samples)} samples of ${name}</h1>
      <p class="lead">${describeSamples(inspection)}. ${describeSampling(inspection)}</p>
      ${tiles(inspection)}
      ${
        found.length > 0 &&
        html`<div class="note">
          <ul>
            ${found.map((concern) => html`<li>${concern}</li>`)}
          </ul>
        </div>`
      }
    </header>
    ${captions(inspection)} ${images(inspection)} ${rewrites(inspection)} ${sheet(inspection)}
    <footer>
      Made by <code>laclip inspect data</code> from <code>${path}</code>. Everything on this page is in the file itself; it loads nothing.
    </footer>`;
  return renderPage({ title: `Data: ${name}`, body, style });
}

function tiles({ rows, samples, captions: { repeated, length }, images: { broken, looked } }: DataInspection): Html {
  const all: { label: string; number: string; says: string; edge: number }[] = [
    {
      label: "usable",
      number: percentOf(samples, rows),
      says: `${thousands(samples)} of ${thousands(rows)} have a caption and an image`,
      edge: 3,
    },
    {
      label: "broken images",
      number: percentOf(broken, looked),
      says: `${thousands(broken)} of ${thousands(looked)} can't be decoded`,
      edge: 1,
    },
    {
      label: "repeated captions",
      number: percentOf(repeated, samples),
      says: `${thousands(repeated)} are the same as an earlier one`,
      edge: 2,
    },
    { label: "cut off", number: percent(length.truncated), says: "of the captions are longer than 77 CLIP tokens", edge: 4 },
  ];
  return html`<div class="tiles">
    ${all.map(
      ({ label, number, says, edge }) =>
        html`<div class="card tile edge-${edge}">
          <p class="label">${label}</p>
          <p class="number">${number}</p>
          <p class="small soft">${says}</p>
        </div>`,
    )}
  </div>`;
}

function list(facts: Facts): Html {
  return html`<dl>
    ${facts.map(
      ([name, value]) =>
        html`<dt>${name}</dt>
          <dd>${value}</dd>`,
    )}
  </dl>`;
}

/** Neighbouring counts of a histogram that share a bar. */
const binWidth = 4;

function captions(inspection: DataInspection): Html {
  const { length, mostFrequent } = inspection.captions;
  return html`<section>
    <h2>Captions</h2>
    <div class="two">
      <figure class="card">
        <h3>CLIP tokens of a caption</h3>
        ${histogram("CLIP tokens of a caption", [{ label: "captions", series: 2, counts: binned(length) }], {
          binWidth,
          unit: "tokens",
          mark: { value: 77, label: "77" },
        })}
        <figcaption>
          Start and end included. CLIP reads 77 tokens; what lies right of the line is cut off. The last bin holds all longer ones.
        </figcaption>
      </figure>
      <div class="card">
        <h3>In numbers</h3>
        ${list(captionFacts(inspection))}
        ${
          mostFrequent.length > 0 &&
          html`<h3 class="next">Most frequent</h3>
            <ul class="texts">
              ${mostFrequent.slice(0, 6).map(({ text, count: times }) => html`<li>${thousands(times)} times: ${cut(text)}</li>`)}
            </ul>`
        }
      </div>
    </div>
  </section>`;
}

/** Counts up to the longest caption, and at least so far that the line at 77 is to be seen. */
function binned({ histogram: counts }: CaptionSurvey["length"]): number[] {
  const last = Math.max(
    83,
    counts.findLastIndex((value) => value > 0),
  );
  const bins = Array.from({ length: Math.ceil((last + 1) / binWidth) }, () => 0);
  counts.slice(0, last + 1).forEach((value, i) => (bins[Math.floor(i / binWidth)]! += value));
  return bins;
}

function images(inspection: DataInspection): Html {
  const { formats, looked, broken, brokenExamples, same, shorterSides } = inspection.images;
  return html`<section>
    <h2>Images</h2>
    <div class="two">
      <figure class="card">
        <h3>Shorter side</h3>
        ${looked > broken && histogram("Shorter sides of the images", [{ label: "images", series: 3, counts: upToLast(shorterSides) }], { binWidth: sideBin, unit: "pixels" })}
        <h3 class="next">Formats</h3>
        ${looked > 0 && shareBars("Formats of the images", bars(formats, looked, broken))}
        <figcaption>Formats go by the first bytes of each file, whatever its name says. Red: can't be decoded.</figcaption>
      </figure>
      <div class="card">
        <h3>In numbers</h3>
        ${list(imageFacts(inspection))}
      </div>
      ${
        brokenExamples.length > 0 &&
        html`<div class="card">
          <h3>Broken, such as</h3>
          <ul class="texts">
            ${brokenExamples.map((example) => html`<li>${example}</li>`)}
          </ul>
        </div>`
      }
      ${
        same.length > 0 &&
        html`<div class="card">
          <h3>The same file</h3>
          <ul class="texts">
            ${same.map(({ count: times, ids }) => html`<li>${thousands(times)} times: ${ids.join(", ")}${times > ids.length && ", \u2026"}</li>`)}
          </ul>
        </div>`
      }
    </div>
  </section>`;
}

/** Counts up to the last that is not 0, and at least some, so that one size is not a wall. */
function upToLast(counts: readonly number[]): number[] {
  return counts.slice(0, Math.max(8, counts.findLastIndex((value) => value > 0) + 2));
}

function bars(formats: ImageSurvey["formats"], looked: number, broken: number): Parameters<typeof shareBars>[1] {
  const good = Object.entries(formats).map(([format, number], i) => ({ label: format, share: number / looked, colour: (i % 6) + 1 }));
  return broken === 0 ? good : [...good, { label: "broken", share: broken / looked, colour: "bad" as const }];
}

function rewrites(inspection: DataInspection): Html | undefined {
  const facts = rewriteFacts(inspection);
  if (!facts) return undefined;
  return html`<section>
    <h2>Rewrites</h2>
    <div class="card">${list(facts)}</div>
  </section>`;
}

function sheet({ shown, samples }: DataInspection): Html | undefined {
  if (shown.length === 0) return undefined;
  return html`<section>
    <h2>${shown.length === samples ? "All samples" : "Some samples"}</h2>
    ${shown.length < samples && html`<p>Drawn by chance, not picked.</p>`}
    <div class="sheet">${shown.map(sampleCard)}</div>
  </section>`;
}

function sampleCard({ id, caption, rewrites: texts, picture }: ShownSample): Html {
  const seen = picture?.jpeg
    ? html`<img src="data:image/jpeg;base64,${picture.jpeg.toString("base64")}" alt="${caption}" loading="lazy" />`
    : html`<div class="none bad small">${picture?.about ?? "not looked at"}</div>`;
  return html`<div class="card sample">
    ${seen}
    <div class="words">
      <p class="caption">${cut(caption)}</p>
      ${
        texts.length > 0 &&
        html`<ul class="texts">
          ${texts.map(({ source, text }) => html`<li><b>${source}</b>${cut(text)}</li>`)}
        </ul>`
      }
      <p class="about">${id}</p>
      ${picture?.jpeg && html`<p class="about">${picture.about}</p>`}
    </div>
  </div>`;
}

/** Captions may be whole pages of text. */
function cut(text: string): string {
  return text.length > 400 ? `${text.slice(0, 399)}\u2026` : text;
}
