/**
 * Charts of the report, as inline SVG without scripts: values of several models, or of several texts, with their intervals, how sure a model is against how
 * often it is right, and which classes are taken for which.
 *
 * Colours come from the page by class (`series-1`, ...), so that they follow the light and the dark theme and print.
 */
import { percent, points, shortPercent } from "../../support/index.ts";
import { type Html, html, n, niceTicks, seriesColours } from "../../pages/index.ts";
import type { Calibration } from "../results/calibration.ts";
import type { AblationTable } from "./ablation.ts";
import { metricTitle, taskTitle, type Report } from "./report.ts";

/** Series colour of a model; grey, the first, is for what is published. */
export function colourOf(model: number): number {
  return 1 + (model % (seriesColours - 1));
}

/** A value of a row, with its interval. */
interface Dot {
  value: number;
  low?: number | undefined;
  high?: number | undefined;
  colour: number;
  /** Shown when it is pointed at. */
  said: string;
}

interface DotRow {
  label: string;
  dots: readonly (Dot | undefined)[];
  ring?: { value: number; said: string } | undefined;
}

/** A row for each data set: a dot with its interval for each model, and a ring where something is published. */
export function valuesChart({ rows, models }: Report): Html {
  const drawn = rows.map(({ title, task, metric, cells, published }): DotRow => {
    const label = `${title}, ${metric.includes("@") ? metricTitle(metric) : taskTitle(task)}`;
    const ring = published.find((number) => number !== undefined);
    return {
      label,
      ring: ring && { value: ring.value, said: `published: ${percent(ring.value)} (${ring.mark})` },
      dots: cells.map((cell, model) => {
        if (!cell) return undefined;
        const said = `${models[model]}: ${label}, ${metricTitle(metric)} ${percent(cell.value)}`;
        return { value: cell.value, low: cell.interval?.low, high: cell.interval?.high, colour: colourOf(model), said };
      }),
    };
  });
  return dotChart("Values of all models", drawn);
}

/** A row for each data set: the mean over the seeds with its interval for each way to choose texts. */
export function ablationChart({ columns, variants }: AblationTable): Html {
  const drawn = columns.map(({ dataset, task, metric }, i): DotRow => ({
    label: `${dataset}, ${metric.includes("@") ? metricTitle(metric) : taskTitle(task)}`,
    dots: variants.map(({ title, cells }, variant) => {
      const cell = cells[i];
      if (!cell) return undefined;
      const { mean, half, count } = cell.value;
      const around = half === undefined ? "" : ` ± ${points(half)}`;
      return {
        value: mean,
        low: half === undefined ? undefined : mean - half,
        high: half === undefined ? undefined : mean + half,
        colour: colourOf(variant),
        said: `${title}: ${points(mean)}${around} %, ${count} ${count === 1 ? "seed" : "seeds"}`,
      };
    }),
  }));
  return dotChart("Values of all texts", drawn);
}

function dotChart(title: string, rows: readonly DotRow[]): Html {
  const width = 760;
  const labelWidth = 230;
  const step = 12 + 11 * Math.max(...rows.map(({ dots }) => dots.length));
  const height = rows.length * step + 30;
  const most = Math.max(...rows.flatMap(({ dots, ring }) => [...dots.map((dot) => dot?.high ?? dot?.value ?? 0), ring?.value ?? 0]));
  // Round ticks, beyond 100 % of which there is nothing.
  const ticks = niceTicks(0, Math.min(1, most)).filter((tick) => tick <= 1);
  const px = (value: number): number => labelWidth + Math.min(1, Math.max(0, value / ticks.at(-1)!)) * (width - labelWidth - 24);
  const grid = ticks.map(
    (tick) =>
      html`<path class="grid" d="M${n(px(tick))} 0V${height - 26}" />
        <text class="chart-tick" x="${n(px(tick))}" y="${height - 8}" text-anchor="middle">${shortPercent(tick)}</text>`,
  );
  const drawn = rows.map(({ label, dots, ring }, row) => {
    const top = row * step;
    return html`<g>
      <text class="chart-label" x="${labelWidth - 12}" y="${top + step / 2 + 4}" text-anchor="end">${short(label, 34)}</text>
      ${
        ring &&
        html`<circle class="ring" cx="${n(px(ring.value))}" cy="${top + step / 2}" r="6">
          <title>${ring.said}</title>
        </circle>`
      }
      ${dots.map((dot, i) => {
        if (!dot) return undefined;
        const y = top + 11 + 11 * i;
        return html`<g>
          <title>${dot.said}</title>
          ${dot.low !== undefined && dot.high !== undefined && html`<path class="whisker" d="M${n(px(dot.low))} ${y}H${n(px(dot.high))}" />`}
          <circle class="series-${dot.colour}" cx="${n(px(dot.value))}" cy="${y}" r="4.5" />
        </g>`;
      })}
    </g>`;
  });
  return html`<svg class="chart values" role="img" aria-label="${title}" viewBox="0 0 ${width} ${height}">${grid}${drawn}</svg>`;
}

/** How often a model is right, by how sure it is; on the line it is as right as it says. Below: how many images are how sure. */
export function reliabilityChart(title: string, { bins }: Calibration, colour: number): Html {
  const [size, left, top] = [300, 46, 10];
  const side = 220;
  const histogramTop = top + side + 34;
  const histogramHeight = 46;
  const total = Math.max(
    1,
    bins.reduce((sum, { images }) => sum + images, 0),
  );
  const most = Math.max(1, ...bins.map(({ images }) => images));
  const px = (value: number): number => left + value * side;
  const py = (value: number): number => top + (1 - value) * side;
  const barWidth = side / bins.length - 1.5;
  const ticks = niceTicks(0, 1).map(
    (tick) =>
      html`<path class="grid" d="M${left} ${n(py(tick))}h${side}" />
        <text class="chart-tick" x="${left - 6}" y="${n(py(tick) + 4)}" text-anchor="end">${shortPercent(tick)}</text>
        <text class="chart-tick" x="${n(px(tick))}" y="${top + side + 17}" text-anchor="middle">${100 * tick}</text>`,
  );
  const bars = bins.map(({ from, to, images, confidence, accuracy }) => {
    if (images === 0) return undefined;
    const said = `${images} images with a confidence of ${points(from, 0)} to ${percent(to, 0)}: ${percent(confidence)} sure, ${percent(accuracy)} right`;
    const tall = (images / most) * histogramHeight;
    return html`<g>
      <title>${said}</title>
      <rect
        class="series-${colour}"
        x="${n(px(from) + 0.75)}"
        y="${n(py(accuracy))}"
        width="${n(barWidth)}"
        height="${n(Math.max(1, accuracy * side))}"
      />
      <path class="gap" d="M${n(px(confidence))} ${n(py(accuracy))}V${n(py(confidence))}" />
      <rect
        class="series-0"
        x="${n(px(from) + 0.75)}"
        y="${n(histogramTop + histogramHeight - tall)}"
        width="${n(barWidth)}"
        height="${n(Math.max(0.8, tall))}"
      />
    </g>`;
  });
  return html`<svg class="chart reliability" role="img" aria-label="${title}" viewBox="0 0 ${size} ${histogramTop + histogramHeight + 22}">
    ${ticks}${bars}
    <path class="mark" d="M${n(px(0))} ${n(py(0))}L${n(px(1))} ${n(py(1))}" />
    <text class="chart-tick" x="${left + side}" y="${histogramTop + histogramHeight + 16}" text-anchor="end">
      confidence, %; images: ${total}
    </text>
  </svg>`;
}

/** Right classes down, guesses across; the darker, the larger the share of the class. For up to some forty classes. */
export function confusionChart(title: string, matrix: readonly Uint32Array[], classes: readonly string[]): Html {
  const cell = Math.max(9, Math.min(30, 400 / matrix.length));
  const longest = Math.min(18, Math.max(...classes.map((name) => name.length)));
  const label = 12 + 6.6 * longest;
  const width = label + cell * matrix.length + 4;
  const height = label * 0.75 + cell * matrix.length + 4;
  const top = label * 0.75;
  const rows = matrix.map((row, right) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    const y = top + right * cell;
    const cells = Array.from(row, (count, guess) => {
      if (count === 0) return undefined;
      const share = count / total;
      const said =
        right === guess
          ? `${classes[right]}: ${count} of ${total} right`
          : `${count} of ${total} ${classes[right]} taken for ${classes[guess]}`;
      return html`<g>
        <title>${said}</title>
        <rect
          class="${right === guess ? "series-3" : "series-bad"}"
          x="${n(label + guess * cell)}"
          y="${n(y)}"
          width="${n(cell - 1)}"
          height="${n(cell - 1)}"
          fill-opacity="${(0.08 + 0.92 * share).toFixed(2)}"
        />
        ${cell >= 20 && html`<text class="count" x="${n(label + (guess + 0.5) * cell)}" y="${n(y + cell / 2 + 4)}" text-anchor="middle">${count}</text>`}
      </g>`;
    });
    return html`<text class="chart-tick" x="${n(label - 6)}" y="${n(y + cell / 2 + 4)}" text-anchor="end"
        >${short(classes[right]!, longest)}</text
      >${cells}`;
  });
  const heads = classes.map((name, guess) => {
    const x = n(label + (guess + 0.5) * cell);
    return html`<text class="chart-tick" x="${x}" y="${n(top - 6)}" transform="rotate(-45 ${x} ${n(top - 6)})"
      >${short(name, longest)}</text
    >`;
  });
  return html`<svg class="chart confusion" role="img" aria-label="${title}" viewBox="0 0 ${n(width + label * 0.5)} ${n(height)}">
    ${heads}${rows}
  </svg>`;
}

function short(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
