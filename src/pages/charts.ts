/**
 * Charts as inline SVG without scripts: bars of shares, and histograms side by side.
 *
 * Colours come from the page by class (`series-0`, `series-1`, ...), so that they follow the light and the dark theme and print.
 * Each chart is drawn for a column of about 440 pixels, so that its text stays readable when a phone shows it a little smaller.
 */
import { percent, shortPercent } from "../support/index.ts";
import { type Html, html } from "./html.ts";

/** Number of colours that the page has for series; the first, grey, is for what the others are compared with. */
export const seriesColours = 7;

const width = 440;

/** A bar: a share of something. */
export interface ShareBar {
  label: string;
  /** 0..1 */
  share: number;
  /** What stands behind the bar. Default: the share in per cent. */
  text?: string;
  /** Index of the series colour, or "bad" for what was thrown out. */
  colour: number | "bad";
}

/**
 * Horizontal bars of shares on one scale, which ends at the largest of them.
 * @param options.full where the scale ends if no share is larger, 0..1. Default 0.05: small shares look small
 */
export function shareBars(title: string, bars: readonly ShareBar[], { full = 0.05 }: { full?: number } = {}): Html {
  const [barHeight, gap] = [18, 8];
  const labelWidth = 14 + 7.4 * Math.max(0, ...bars.map(({ label }) => label.length));
  const textWidth = 16 + 7.4 * Math.max(0, ...bars.map((bar) => textOf(bar).length));
  const scale = Math.max(20, width - labelWidth - textWidth) / Math.max(full, ...bars.map(({ share }) => share));
  const rows = bars.map((bar, i) => {
    const [y, middle] = [i * (barHeight + gap), i * (barHeight + gap) + barHeight / 2 + 4.5];
    const length = Math.max(1, bar.share * scale);
    return html`<g>
      <title>${bar.label}: ${textOf(bar)}</title>
      <text class="chart-label" x="${n(labelWidth - 8)}" y="${middle}" text-anchor="end">${bar.label}</text>
      <rect class="bar ${classOf(bar.colour)}" x="${n(labelWidth)}" y="${y}" width="${n(length)}" height="${barHeight}" rx="3" />
      <text class="chart-value" x="${n(labelWidth + length + 8)}" y="${middle}">${textOf(bar)}</text>
    </g>`;
  });
  return html`<svg class="chart" role="img" aria-label="${title}" viewBox="0 0 ${width} ${bars.length * (barHeight + gap)}">${rows}</svg>`;
}

function textOf({ text, share }: ShareBar): string {
  return text ?? percent(share);
}

function classOf(colour: number | "bad"): string {
  return colour === "bad" ? "series-bad" : `series-${colour % seriesColours}`;
}

/** How often each value came. */
export interface HistogramSeries {
  label: string;
  series: number;
  /** Count of each bin; bin i holds values from `i * binWidth` on. */
  counts: readonly number[];
}

/** What a histogram's axis says. */
export interface HistogramOptions {
  binWidth: number;
  /** What the values are, below the axis. */
  unit: string;
  /** A line across the chart. */
  mark?: { value: number; label: string };
  /** Value of the left edge of the first bin. Default 0. */
  start?: number;
}

/** Distributions as outlines over one another, each as shares of its own sum. */
export function histogram(title: string, all: readonly HistogramSeries[], { binWidth, unit, mark, start = 0 }: HistogramOptions): Html {
  const height = 250;
  const legendRows = legendOf(all);
  const [left, right, bottom] = [46, 14, 40];
  const top = 12 + legendRows.length * 18;
  const bins = Math.max(1, ...all.map(({ counts }) => counts.length));
  const end = start + bins * binWidth;
  const shares = all.map(({ counts }) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    return counts.map((count) => count / Math.max(1, sum));
  });
  const ticks = niceTicks(0, Math.max(0.01, ...shares.flat()));
  const px = (value: number): number => left + ((value - start) / (end - start)) * (width - left - right);
  const py = (share: number): number => height - bottom - (share / ticks.at(-1)!) * (height - top - bottom);
  const grid = ticks.map(
    (tick) =>
      html`<path class="grid" d="M${left} ${n(py(tick))}H${width - right}" />
        <text class="chart-tick" x="${left - 8}" y="${n(py(tick) + 4)}" text-anchor="end">${shortPercent(tick)}</text>`,
  );
  const axis = niceTicks(start, end)
    .filter((tick) => tick >= start && tick <= end)
    .map((tick) => html`<text class="chart-tick" x="${n(px(tick))}" y="${height - bottom + 18}" text-anchor="middle">${tick}</text>`);
  const outlines = all.map(({ label, series }, i) => {
    const steps = shares[i]!.map((share, bin) => `V${n(py(share))}H${n(px(start + (bin + 1) * binWidth))}`).join("");
    const outline = `M${n(px(start))} ${n(py(0))}${steps}V${n(py(0))}`;
    return html`<g>
      <title>${label}</title>
      <path class="area series-${series % seriesColours}" d="${outline}Z" /><path
        class="curve stroke-${series % seriesColours}"
        d="${outline}"
      />
    </g>`;
  });
  const line =
    mark &&
    html`<path class="mark" d="M${n(px(mark.value))} ${top - 4}V${height - bottom}" />
      <text class="chart-tick" x="${n(px(mark.value) - 5)}" y="${top + 6}" text-anchor="end">${mark.label}</text>`;
  const legend = legendRows.flatMap((row, i) =>
    row.map(
      ({ label, series, at }) =>
        html`<path class="curve stroke-${series % seriesColours}" d="M${n(left + at)} ${12 + i * 18}h16" /><text
            class="chart-label"
            x="${n(left + at + 22)}"
            y="${16 + i * 18}"
            >${label}</text
          >`,
    ),
  );
  return html`<svg class="chart" role="img" aria-label="${title}" viewBox="0 0 ${width} ${height}">
    ${grid}${axis}
    <text class="chart-tick" x="${width - right}" y="${height - 4}" text-anchor="end">${unit}</text>
    ${outlines}${line}${legend}
  </svg>`;
}

/** Names of the series in rows that fit the chart's width, with the place of each in its row. */
function legendOf(all: readonly HistogramSeries[]): { label: string; series: number; at: number }[][] {
  const rows: { label: string; series: number; at: number }[][] = [[]];
  let at = 0;
  for (const { label, series } of all) {
    const size = 40 + label.length * 7.4;
    if (at > 0 && at + size > width - 46) {
      rows.push([]);
      at = 0;
    }
    rows.at(-1)!.push({ label, series, at });
    at += size;
  }
  return rows;
}

/** Four to six round values that enclose `low` and `high`. */
export function niceTicks(low: number, high: number): number[] {
  const span = Math.max(high - low, 1e-6);
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => span / candidate <= 5) ?? 10 * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

/** A coordinate as SVG has it, to a tenth. */
export function n(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}
