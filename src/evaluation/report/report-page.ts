/**
 * A report as a page for people: one file that loads nothing (src/pages/page.ts). A table that is sorted by a click and copied as Markdown;
 * then for each classification what goes wrong: confusions, the worst classes with pictures, and whether the model is as right as it is
 * sure.
 *
 * Names of classes, models and files are data: they are escaped wherever they stand.
 */
import { type Html, html, renderPage } from "../../pages/index.ts";
import { LaclipError, percent, points, signedPoints } from "../../support/index.ts";
import { readWrongPictures } from "../all/wrong-pictures.ts";
import { calibration } from "../results/calibration.ts";
import { classScores, confusedPairs, confusionMatrix } from "../results/confusion.ts";
import { readClassifiedItems } from "../results/outcomes.ts";
import type { StoredResult } from "../results/result.ts";
import type { AblationTable } from "./ablation.ts";
import { ablationChart, colourOf, confusionChart, reliabilityChart, valuesChart } from "./report-charts.ts";
import { reportScript, reportStyle } from "./report-look.ts";
import { Flags, isClearlyOther, legend, reportMarkdown, withHalf } from "./report-tables.ts";
import { type Report, type ReportCell, type ReportRow, markSign, metricTitle, taskTitle } from "./report.ts";

/** Classes up to which all confusions are drawn. */
const mostDrawn = 40;

/**
 * The page as text.
 * @param created when it was made, for its heading
 */
export async function renderReport(report: Report, created = new Date()): Promise<string> {
  const flags = new Flags();
  const table = resultsTable(report, flags);
  const details = await classificationSections(report);
  const { models, rows } = report;
  const datasets = new Set(rows.map(({ dataset }) => dataset)).size;
  const compared = rows.some(({ cells }) => cells.some((cell) => cell?.comparison !== undefined));
  const title = models.length === 1 ? models[0]! : `${models.length} models`;
  const body = html`<header>
      <p class="kicker">laclip evaluate · ${created.toISOString().slice(0, 10)}</p>
      <h1>${title} on ${datasets} data ${datasets === 1 ? "set" : "sets"}</h1>
      <p class="models">
        ${models.map((model, i) => html`<span><i class="dot series-${colourOf(i)}"></i>${model}</span>`)}
        ${report.published.map(({ title: name }) => html`<span><i class="dot hollow"></i>${name}, published</span>`)}
      </p>
    </header>
    <section>
      <div class="row">
        <h2>Results</h2>
        <button type="button" id="copy">Copy as Markdown</button>
      </div>
      ${table}
      <ul class="legend small soft">
        ${legend(report, flags).map((line) => html`<li>${line}</li>`)}
        ${compared && html`<li>In small, below the interval: the difference to ${models[0]} on the same items, and its p.</li>`}
      </ul>
      <figure class="card">${valuesChart(report)}</figure>
      <details>
        <summary>As Markdown</summary>
        <pre id="markdown">${reportMarkdown(report)}</pre>
      </details>
    </section>
    ${report.ablations.map(ablationSection)} ${details}
    <footer>Made by <code>laclip evaluate report</code>. Everything on this page is in the file itself; it loads nothing.</footer>`;
  return renderPage({ title: `Evaluation of ${title}`, body, style: reportStyle, script: reportScript });
}

function resultsTable({ models, published, rows, means }: Report, flags: Flags): Html {
  const head = ["data set", "task", "metric", ...models, ...published.map(({ title }) => title)];
  return html`<div class="card table">
    <table id="results">
      <thead>
        <tr>
          ${head.map((name) => html`<th scope="col"><button type="button" class="sort">${name}</button></th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map((row) =>
          resultsRow(
            row,
            models,
            published.map(({ title }) => title),
            flags,
          ),
        )}
      </tbody>
      ${
        means.length > 0 &&
        html`<tfoot>
          ${means.map(
            ({ task, datasets, values }) =>
              html`<tr>
                <td><b>mean of ${datasets}</b></td>
                <td>${taskTitle(task)}</td>
                <td></td>
                ${values.map((value) => html`<td><b>${points(value)}</b></td>`)} ${published.map(() => html`<td></td>`)}
              </tr>`,
          )}
        </tfoot>`
      }
    </table>
  </div>`;
}

function resultsRow(row: ReportRow, models: readonly string[], publishedTitles: readonly string[], flags: Flags): Html {
  return html`<tr>
    <td data-value="${row.title}"><b>${row.title}</b></td>
    <td data-label="task" data-value="${row.task}">${taskTitle(row.task)}</td>
    <td data-label="metric" data-value="${row.metric}">${metricTitle(row.metric)}</td>
    ${row.cells.map((cell, i) => html`<td data-label="${models[i]}" data-value="${cell?.value ?? -1}">${cell && cellHtml(cell, models[0]!, flags)}</td>`)}
    ${row.published.map(
      (number, i) =>
        html`<td data-label="${publishedTitles[i]}" data-value="${number?.value ?? -1}">
          ${number && html`<span class="${number.mark}" title="${number.source}">${points(number.value)}${markSign(number.mark)}</span><small>${number.mark}</small>`}
        </td>`,
    )}
  </tr>`;
}

function cellHtml(cell: ReportCell, first: string, flags: Flags): Html {
  const { value, interval, comparison, published, skipped } = cell;
  const flag = published === undefined ? "" : flags.sign(published.differences);
  return html`<b>${points(value)}</b>${isClearlyOther(cell) && "*"}
    ${interval && html`<small class="range">${points(interval.low)}–${points(interval.high)}</small>`}
    ${
      comparison &&
      html`<small title="to ${first}" class="${isClearlyOther(cell) ? (comparison.difference.value > 0 ? "good" : "bad") : ""}">
        ${signedPoints(comparison.difference.value)}, p ${pValue(comparison.adjustedP)}
      </small>`
    }
    ${
      published &&
      html`<small title="${published.differences.join("; ")}"
        >Δ ${signedPoints(published.difference)}${markSign(published.number.mark)} to ${published.model}
        <span class="flag">${flag}</span></small
      >`
    }
    ${skipped > 0 && html`<small class="bad">${skipped} images left out</small>`}`;
}

/** "0.03", "< 0.001" */
function pValue(p: number): string {
  return p < 0.001 ? "< 0.001" : p.toFixed(p < 0.1 ? 3 : 2);
}

function ablationSection(ablation: AblationTable): Html {
  const { title, columns, variants } = ablation;
  return html`<section>
    <h2>What the texts do</h2>
    <p>
      Runs that differ in their texts and seeds alone: ${title}. Mean over the seeds with its 95 % interval (Student's t); below it the
      difference to the first row, seed by seed.
    </p>
    <div class="card table">
      <table class="ablation">
        <thead>
          <tr>
            <th>texts</th>
            <th>seeds</th>
            ${columns.map(({ dataset, task, metric }) => html`<th>${dataset}<br />${taskTitle(task)}, ${metricTitle(metric)}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${variants.map(
            ({ title: texts, seeds, cells }, variant) =>
              html`<tr>
                <td><i class="dot series-${colourOf(variant)}"></i>${texts}</td>
                <td data-label="seeds">${seeds.join(", ")}</td>
                ${cells.map((cell, i) => {
                  if (!cell) return html`<td></td>`;
                  const { value, difference } = cell;
                  const beyond = difference?.half !== undefined && Math.abs(difference.mean) > difference.half;
                  return html`<td data-label="${columns[i]!.dataset}, ${taskTitle(columns[i]!.task)}">
                    <b>${withHalf(value)}</b>
                    ${
                      difference &&
                      html`<small class="${beyond ? (difference.mean > 0 ? "good" : "bad") : ""}"
                        >${signedPoints(difference.mean)}${difference.half !== undefined && ` ± ${points(difference.half)}`}</small
                      >`
                    }
                  </td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <figure class="card below">${ablationChart(ablation)}</figure>
  </section>`;
}

/** A section for each classification whose predictions lie beside its result. */
async function classificationSections({ rows, models }: Report): Promise<Html[]> {
  const sections: Html[] = [];
  for (const { title, task, cells } of rows) {
    for (const [model, cell] of cells.entries()) {
      const drawn = cell && (await classificationDetails(cell, `${models[model]!} on ${title}`, colourOf(model)));
      if (!drawn) continue;
      sections.push(
        html`<details class="classification" ${sections.length === 0 && html` open`}>
          <summary>${title} <small>${taskTitle(task)}, ${models[model]}: ${percent(cell.value)}</small></summary>
          ${drawn}
        </details>`,
      );
    }
  }
  if (sections.length === 0) return [];
  return [
    html`<section>
      <h2>What goes wrong</h2>
      ${sections}
    </section>`,
  ];
}

/** "top-1 48.4, top-5 76.1, mean per class 48.3 %": a reader may want another than the one that the set is told of by. */
function scoreList({ result: { metrics, laclip } }: StoredResult): string {
  const scores = ["acc1", "acc5", "mean_per_class_recall", "lp_acc1", "lp_acc5", "lp_mean_per_class_recall"].flatMap((name) => {
    const value = metrics[name];
    return typeof value === "number" ? [`${metricTitle(name)} ${percent(value)}`] : [];
  });
  const { images, classes } = laclip!.counts;
  const strength = typeof metrics["C"] === "number" ? [`C ${Number(metrics["C"].toPrecision(3))}`] : [];
  return [...scores, ...strength, ...(images === undefined ? [] : [`${images} images of ${classes} classes`])].join(" · ");
}

async function classificationDetails({ stored }: ReportCell, title: string, colour: number): Promise<Html | undefined> {
  const items = await readClassifiedItems(stored).catch((error: unknown) => {
    if (!LaclipError.is(error)) throw error;
    return undefined; // the report has noted it
  });
  const { classes, logitScale } = stored.result.laclip ?? {};
  if (!items || items.length === 0 || classes === undefined) return undefined;
  const matrix = confusionMatrix(items, classes.length);
  const scores = classScores(matrix);
  const pictures = readWrongPictures(stored);
  const calibrated = calibration(items);
  const pairs = confusedPairs(matrix).slice(0, 8);
  const worst = scores.filter(({ recall }) => recall < 1).slice(0, 12);
  return html`<p class="soft">${scoreList(stored)}</p>
    <div class="two">
      <figure class="card">
        <h3>Confidence</h3>
        ${reliabilityChart(`Reliability of ${title}`, calibrated, colour)}
        <figcaption>
          Right as often as sure? Bars on the dashed line would be. Expected calibration error ${points(calibrated.expectedError)} points in
          ${calibrated.bins.length} bins, log loss
          ${calibrated.logLoss.toFixed(3)}${logitScale !== undefined && `, at the model's own scale of ${logitScale.toFixed(1)}`}. On the
          whole it is ${points(Math.abs(calibrated.overconfidence))} points ${calibrated.overconfidence > 0 ? "surer" : "less sure"} than
          right.
        </figcaption>
      </figure>
      <figure class="card">
        <h3>Taken for one another</h3>
        ${matrix.length <= mostDrawn && confusionChart(`Confusions of ${title}`, matrix, classes)}
        <figcaption>
          ${matrix.length <= mostDrawn && "Right class down, guess across; green is right."}
          ${pairs.length > 0 && "Most: "}${pairs.map(({ labels: [a, b], images }, i) => html`${i > 0 && ", "}<b>${classes[a]}</b> and <b>${classes[b]}</b> (${images})`)}
        </figcaption>
      </figure>
    </div>
    ${
      worst.length > 0 &&
      html`<h3 class="group">The classes that are missed most</h3>
        <div class="worst">
          ${worst.map(
            ({ label, images, right, takenFor }) =>
              html`<div class="card">
                <p>
                  <b>${classes[label]}</b> <span class="soft">${right} of ${images} right</span><br /><small class="soft"
                    >taken for
                    ${takenFor.slice(0, 3).map(({ label: guess, images: count }, i) => `${i > 0 ? ", " : ""}${classes[guess]!} (${count})`)}</small
                  >
                </p>
                <div class="pictures">
                  ${pictures
                    .filter((picture) => picture.label === label)
                    .map(
                      ({ item, guess, confidence, jpeg }) =>
                        html`<figure>
                          <img src="data:image/jpeg;base64,${jpeg}" alt="${item}" title="${item}" width="96" height="96" />
                          <figcaption>${classes[guess]}, ${Math.round(100 * confidence)} %</figcaption>
                        </figure>`,
                    )}
                </div>
              </div>`,
          )}
        </div>`
    }`;
}
