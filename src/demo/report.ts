/**
 * Writes down what the demo found: `results.json` for programs and `report.html` for people.
 *
 * The page is one file that loads nothing (src/pages/page.ts). Captions, rewrites and names are data and are escaped wherever they stand.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { DataError, formatDuration, points, readJson, shortPercent, signedPoints, writeFileAtomic } from "../support/index.ts";
import { type Html, html, renderPage } from "../pages/index.ts";
import { type DemoMethod, type DemoPicture, type DemoResults, type Wording, resultRows } from "./demo-results.ts";
import { interval } from "../evaluation/index.ts";
import { barChart, lineChart, percentInterval } from "./report-charts.ts";
import { baselineOf, figure, gain, isBeyondChance, tellStory } from "./report-story.ts";
import { picture } from "./report-picture.ts";
import { predictionsSection } from "./report-predictions.ts";
import { reportStyle } from "./report-style.ts";

/** Where the report lies. */
export interface ReportFiles {
  json: string;
  html: string;
}

/** The report's files in a demo's folder. */
export function reportFiles(folder: string): ReportFiles {
  return { json: join(folder, "results.json"), html: join(folder, "report.html") };
}

/**
 * Writes `results.json` and `report.html` into `folder`, which exists. The JSON begins with `rows` (method, seed, top-1, top-5, steps,
 * seconds) and holds everything the page shows, with pictures by path relative to `folder`.
 * @throws DataError when a picture that is shown can't be read, or one of the files is there and no report of the demo; LaclipError
 *   when the disk is full
 */
export function writeReport(folder: string, results: DemoResults): ReportFiles {
  const files = reportFiles(folder);
  refuseForeignReport(files);
  const near = (path: string): string => relative(folder, path).replaceAll("\\", "/");
  const pictures = results.pictures.map((picture) => ({
    ...picture,
    image: near(picture.image),
    training: picture.training.map(({ style, image }) => ({ style, image: near(image) })),
  }));
  writeFileAtomic(files.json, linewise({ rows: resultRows(results), ...results, pictures }));
  writeFileAtomic(files.html, renderReport(results));
  return files;
}

/** Throws DataError when a report would be written over a file that is none. */
export function refuseForeignReport({ json, html: page }: ReportFiles): void {
  const foreign =
    existsSync(json) && !isResults(json) ? json : existsSync(page) && !readFileSync(page, "utf8").includes(titleBegins) ? page : undefined;
  if (foreign === undefined) return;
  throw new DataError(`${foreign}: this was not written by the demo; its report would replace it.`, {
    mend: "Give another --out, or move this file elsewhere.",
  });
}

function isResults(path: string): boolean {
  try {
    const { rows, methods, rewriter } = Object(readJson(path, "results of the demo")) as Record<string, unknown>;
    return Array.isArray(rows) && Array.isArray(methods) && typeof rewriter === "object";
  } catch (error) {
    if (error instanceof DataError) return false;
    throw error;
  }
}

const titleBegins = "<title>laclip demo: ";

/** JSON with a line for each member and each element of a member: to be read, compared and searched line by line. */
function linewise(value: Readonly<Record<string, unknown>>): string {
  const members = Object.entries(value).map(([key, member]) => {
    const lines = Array.isArray(member)
      ? `[\n  ${member.map((element) => JSON.stringify(element)).join(",\n  ")}\n ]`
      : JSON.stringify(member);
    return ` ${JSON.stringify(key)}: ${lines}`;
  });
  return `{\n${members.join(",\n")}\n}\n`;
}

/** The page as text. */
export function renderReport(results: DemoResults): string {
  const story = tellStory(results);
  const page = new Page(results);
  const body = html`${page.strip()}
    <header>
      <p class="kicker">laclip demo · ${results.created.slice(0, 10)}</p>
      <h1>${story.headline}</h1>
      <p class="lead">${story.lead}</p>
      ${page.tiles()}
    </header>
    ${page.howItWorks()} ${page.result(story.findings)} ${page.curves()} ${page.rewrites()} ${predictionsSection(results)}
    ${page.reproduce()} ${page.licences()}
    <footer>Made by <code>laclip demo</code>. Everything on this page is in the file itself; it loads nothing.</footer>`;
  return renderPage({ title: `laclip demo: ${story.headline}`, body, style: reportStyle });
}

class Page {
  readonly #results: DemoResults;
  readonly #baseline: DemoMethod;
  readonly #pictures: ReadonlyMap<string, DemoPicture>;

  constructor(results: DemoResults) {
    this.#results = results;
    this.#baseline = baselineOf(results);
    this.#pictures = new Map(results.pictures.map((picture) => [picture.hexcode, picture]));
  }

  /** A first look at the pictures, evenly from all of them. */
  strip(): Html | undefined {
    const { pictures } = this.#results;
    if (pictures.length === 0) return undefined;
    const count = Math.min(18, pictures.length);
    const shown = Array.from({ length: count }, (_, i) => pictures[Math.floor((i * pictures.length) / count)]!);
    return html`<div class="strip">${shown.map(({ image, name }) => picture(image, name))}</div>`;
  }

  tiles(): Html {
    return html`<div class="tiles">
      ${this.#results.methods.map((method, series) => {
        const value = figure(method, "otherWords", "top5");
        const half = value.half === undefined ? "" : ` ± ${points(value.half)}`;
        return html`<div class="card tile edge-${series % 5}">
          <p class="label">${method.label}</p>
          <p class="number">${points(value.mean)}<small>${half} %</small></p>
          <p class="small soft">right thing among the first five of ${this.#results.world.concepts}, in other people's words</p>
        </div>`;
      })}
    </div>`;
  }

  howItWorks(): Html {
    const { world, rewriter, examples } = this.#results;
    const example = examples.map(({ hexcode }) => this.#pictures.get(hexcode)).find((found) => found !== undefined);
    const styles = world.trainingStyles.join(", ");
    return html`<section>
      <h2>How it works</h2>
      <p>
        CLIP learns from pictures and their captions which text belongs to which picture. LaCLIP changes one thing: each time a picture is
        seen, its text is drawn at random from the caption and its rewrites. The pictures, the model, the number of steps and the cost of a
        step stay the same.
      </p>
      <div class="steps">
        <div class="card">
          <h3>1. Train on three styles</h3>
          <div class="row">${example?.training.map(({ image, style }) => picture(image, `${example.name}, ${style}`))}</div>
          <p class="soft">Each emoji, drawn by ${styles}. The original caption is its name${example && html`: “${example.name}”`}.</p>
        </div>
        <div class="card">
          <h3>2. Say it differently</h3>
          <p class="soft">
            ${rewriter.isLanguageModel ? `A language model (${rewriter.label}) rewrites every caption.` : `The rewriter here is ${rewriter.label}, not a language model: it swaps, drops and replaces words.`}
            Beside it stands an upper bound: what other people wrote about the same emoji, put into phrases.
          </p>
        </div>
        <div class="card">
          <h3>3. Ask about a fourth</h3>
          <div class="row">${example && picture(example.image, `${example.name}, ${world.heldOutStyle}`, "question")}</div>
          <p class="soft">
            Which of ${world.concepts} things is this ${world.heldOutStyle} drawing? Asked once in the words of the captions, once in words
            of an annotator whom nobody trained
            on${example && example.otherWords.length > 0 && html`: “${example.otherWords.slice(0, 5).join(", ")}”`}.
          </p>
        </div>
      </div>
      ${
        !rewriter.isLanguageModel &&
        html`<div class="note">
          <p><b>The rewriter of this run is the ${rewriter.label} baseline, not a language model.</b> ${rewriter.why}</p>
        </div>`
      }
      ${rewriter.isLanguageModel && html`<p class="small soft">${rewriter.why}</p>`}
    </section>`;
  }

  result(findings: readonly string[]): Html {
    const { methods, world } = this.#results;
    const bars = (wording: Wording, top: "top1" | "top5"): { label: string; series: number; value: ReturnType<typeof figure> }[] =>
      methods.map((method, i) => ({ label: shortened(method.label), series: i % 5, value: figure(method, wording, top) }));
    const panel = (wording: Wording, title: string): Html =>
      html`<figure class="card">
        <h3>${title}</h3>
        ${barChart(title, [
          { heading: "First guess right", bars: bars(wording, "top1") },
          { heading: "Among the first five", bars: bars(wording, "top5") },
        ])}
      </figure>`;
    const chance = (guesses: number): string => `${((100 * guesses) / world.concepts).toPrecision(2)} %`;
    return html`<section>
      <h2>Result</h2>
      <p>
        Zero-shot classification of ${world.heldOutStyle} drawings into ${world.concepts} classes. Guessing gives ${chance(1)} and
        ${chance(5)}.
      </p>
      <div class="two">${panel("otherWords", "In other people's words")}${panel("ownWords", "In the captions' own words")}</div>
      ${this.#table()}
      ${
        findings.length > 0 &&
        html`<ul>
          ${findings.map((finding) => html`<li>${finding}</li>`)}
        </ul>`
      }
    </section>`;
  }

  #table(): Html {
    const { methods } = this.#results;
    const several = methods.some(({ seeds }) => seeds.length > 1);
    const cells = [
      ["otherWords", "top1", "other words, top-1"],
      ["otherWords", "top5", "other words, top-5"],
      ["ownWords", "top1", "own words, top-1"],
      ["ownWords", "top5", "own words, top-5"],
    ] as const;
    const row = (method: DemoMethod, i: number): Html => {
      const difference = method === this.#baseline ? undefined : gain(method, this.#baseline, "otherWords", "top5");
      const [its, base] = [figure(method, "otherWords", "top5").mean, figure(this.#baseline, "otherWords", "top5").mean];
      const certain = difference !== undefined && isBeyondChance(difference, its, base, this.#results.world.concepts);
      const colour = certain && (difference.mean > 0 ? "good" : "bad");
      const change =
        difference && `${signedPoints(difference.mean)}${difference.half === undefined ? "" : ` ± ${points(difference.half)}`}`;
      const seeds = method.seeds.length;
      return html`<tr>
        <td>
          <svg class="dot" viewBox="0 0 11 11" aria-hidden="true"><circle class="series-${i % 5}" cx="5.5" cy="5.5" r="5.5" /></svg
          ><b>${method.label}</b><small>${method.texts}</small>
        </td>
        ${cells.map(([wording, top, label]) => html`<td data-label="${label}">${percentInterval(figure(method, wording, top))}</td>`)}
        <td data-label="change, other words top-5" class="${colour}">${change ?? "–"}</td>
        <td data-label="training">
          ${method.seeds[0]!.steps} steps<small
            >${formatDuration(interval(method.seeds.map((seed) => seed.seconds)).mean)}${several && `, ${seeds} ${seeds === 1 ? "seed" : "seeds"}`}</small
          >
        </td>
      </tr>`;
    };
    return html`<div class="card table">
      <table>
        <thead>
          <tr>
            <th scope="col">method and texts</th>
            ${cells.map(([, , label]) => html`<th scope="col">${label}</th>`)}
            <th scope="col">change, points<br />other, top-5</th>
            <th scope="col">training</th>
          </tr>
        </thead>
        <tbody>
          ${methods.map(row)}
        </tbody>
      </table>
    </div>`;
  }

  curves(): Html {
    const { methods } = this.#results;
    const loss = methods.map(({ label, seeds }, i) => ({
      label: shortened(label),
      series: i % 5,
      lines: seeds.map(({ lossCurve }) => lossCurve.map((point) => ({ x: point.step, y: point.loss }))).filter((line) => line.length > 1),
    }));
    const zeroShot = (wording: Wording): { label: string; series: number; lines: { x: number; y: number }[][] }[] =>
      methods.map(({ label, seeds }, i) => ({
        label: shortened(label),
        series: i % 5,
        lines: seeds
          .map(({ curve = [] }) => curve.map((point) => ({ x: point.step, y: point[wording].top5 })))
          .filter((line) => line.length > 1),
      }));
    const lossTitle = "Training loss";
    const panels = [
      {
        title: lossTitle,
        curves: loss,
        format: (value: number) => String(value),
        zero: false,
        caption:
          "Symmetric contrastive loss of the batch. More varied texts are harder to fit: a higher loss is expected and says nothing about understanding.",
      },
      {
        title: "Other people's words, top-5",
        curves: zeroShot("otherWords"),
        format: (value: number) => shortPercent(value),
        zero: true,
        caption: "Zero-shot on the held-out style while training goes on.",
      },
      {
        title: "The captions' own words, top-5",
        curves: zeroShot("ownWords"),
        format: (value: number) => shortPercent(value),
        zero: true,
        caption: "The same question in the words the models were trained with.",
      },
    ].filter(({ curves }) => curves.some(({ lines }) => lines.length > 0));
    if (panels.length === 0) return html``;
    return html`<section>
      <h2>On the way</h2>
      <div class="two">
        ${panels.map(
          ({ title, curves, format, zero, caption }) =>
            html`<figure class="card${title === lossTitle && " wide"}">
              <h3>${title}</h3>
              ${lineChart(
                title,
                curves.filter(({ lines }) => lines.length > 0),
                format,
                zero,
              )}
              <figcaption>${caption}</figcaption>
            </figure>`,
        )}
      </div>
    </section>`;
  }

  rewrites(): Html {
    const { examples, rewriter } = this.#results;
    const cards = examples.flatMap((example) => {
      const shown = this.#pictures.get(example.hexcode);
      if (!shown) return [];
      return html`<div class="card example">
        <div class="pictures">
          ${shown.training.map(({ image, style }) => picture(image, `${shown.name}, ${style}`))}${picture(shown.image, `${shown.name}, held out`)}
        </div>
        <div>
          <p class="label">original caption</p>
          <p class="caption">${shown.name}</p>
          <div class="sources">
            ${example.rewrites.map(
              ({ label, texts }) =>
                html`<div>
                  <p class="label">${label}</p>
                  <ul class="texts">
                    ${texts.map((text) => html`<li>${text}</li>`)}
                  </ul>
                </div>`,
            )}
          </div>
        </div>
      </div>`;
    });
    if (cards.length === 0) return html``;
    return html`<section>
      <h2>The same picture in other words</h2>
      <p>
        Original captions with what the rewriter (${rewriter.label}) and other people made of them. The human texts were not written for
        this page: they are names, keywords and tags that people gave these emoji, put into phrases.
      </p>
      <div class="examples">${cards}</div>
    </section>`;
  }

  reproduce(): Html {
    const { command, environment, model } = this.#results;
    return html`<section>
      <h2>Do it again</h2>
      <pre>${command}</pre>
      <div class="card">
        <dl>
          <dt>model</dt>
          <dd>${model.description}, images of ${model.imageSize} × ${model.imageSize}, batch ${model.batch}</dd>
          ${Object.entries(environment).map(
            ([name, value]) =>
              html`<dt>${name}</dt>
                <dd>${value}</dd>`,
          )}
        </dl>
      </div>
    </section>`;
  }

  licences(): Html {
    return html`<section>
      <h2>Pictures and words by</h2>
      <div class="card">
        <ul class="licences">
          ${this.#results.licences.map(
            (licence) =>
              html`<li>
                <b>${licence.package}</b>: ${licence.material}, by ${licence.by}. ${licence.attribution}.
                ${licence.licenceUrl.startsWith("https://") ? html`<a href="${licence.licenceUrl}">${licence.licence}</a>` : licence.licence}
              </li>`,
          )}
        </ul>
      </div>
    </section>`;
  }
}

function shortened(label: string): string {
  return label.length <= 22 ? label : `${label.slice(0, 21).trimEnd()}…`;
}
