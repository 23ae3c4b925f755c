/**
 * Charts of the report, as inline SVG without scripts: bars with intervals, and curves.
 *
 * Colours come from the page by class (`series-0`, `series-1`, ...), so that they follow the light and the dark theme and print.
 * Each chart is drawn for a column of about 440 pixels, so that its text stays readable when a phone shows it a little smaller.
 */
import { percent, points } from "../support/index.ts";
import { type Html, html, n, niceTicks } from "../pages/index.ts";
import type { Interval } from "../evaluation/index.ts";

/** A bar of a chart: a share, with its interval. */
export interface Bar {
  label: string;
  /** Index of the series colour. */
  series: number;
  value: Interval;
}

/** Horizontal bars of shares (0 to 1), in groups with a heading each, on one scale. */
export function barChart(title: string, groups: readonly { heading: string; bars: readonly Bar[] }[]): Html {
  const width = 440;
  const labelWidth = 20 + 6.7 * Math.max(...groups.flatMap((group) => group.bars.map((bar) => bar.label.length)));
  const [barHeight, gap, headingHeight] = [22, 8, 30];
  const all = groups.flatMap((group) => group.bars.map((bar) => bar.value));
  const scale = (width - labelWidth - 96) / Math.max(1e-6, ...all.map(({ mean, half }) => mean + (half ?? 0)));
  let y = 0;
  const parts: Html[] = [];
  for (const { heading, bars } of groups) {
    parts.push(html`<text class="chart-heading" x="0" y="${y + 17}">${heading}</text>`);
    y += headingHeight;
    for (const { label, series, value } of bars) {
      const end = labelWidth + value.mean * scale;
      const middle = y + barHeight / 2;
      const reach = value.half === undefined ? 0 : value.half * scale;
      parts.push(
        html`<g>
          <title>${label}: ${percentInterval(value)}</title>
          <text class="chart-label" x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${label}</text>
          <rect
            class="bar series-${series}"
            x="${labelWidth}"
            y="${y}"
            width="${n(Math.max(1, value.mean * scale))}"
            height="${barHeight}"
            rx="3"
          />
          ${
            reach > 0 &&
            html`<path
              class="whisker"
              d="M${n(Math.max(labelWidth, end - reach))} ${middle}H${n(end + reach)}M${n(Math.max(labelWidth, end - reach))} ${middle - 5}v10M${n(end + reach)} ${middle - 5}v10"
            />`
          }
          <text class="chart-value" x="${n(end + reach + 8)}" y="${middle + 4}">${percentInterval(value)}</text>
        </g>`,
      );
      y += barHeight + gap;
    }
    y += 6;
  }
  return html`<svg class="chart" role="img" aria-label="${title}" viewBox="0 0 ${width} ${y}">${parts}</svg>`;
}

/** A curve of a chart. */
export interface Curve {
  label: string;
  series: number;
  /** One line for each seed; drawn faintly under their mean where there are several. */
  lines: readonly (readonly { x: number; y: number }[])[];
}

/** Curves over training steps, each named by the legend above them. `format` writes the values of the y axis. */
export function lineChart(title: string, curves: readonly Curve[], format: (value: number) => string, startAtZero: boolean): Html {
  const [width, height] = [440, 250];
  const [left, right, top, bottom] = [46, 18, 34, 40];
  const points = curves.flatMap((curve) => curve.lines.flat());
  const xMost = Math.max(1, ...points.map((point) => point.x));
  const yLeast = startAtZero ? 0 : Math.min(...points.map((point) => point.y));
  const ticks = niceTicks(yLeast, Math.max(...points.map((point) => point.y)));
  const [low, high] = [ticks[0]!, ticks.at(-1)!];
  const px = (x: number): number => left + (x / xMost) * (width - left - right);
  const py = (y: number): number => height - bottom - ((y - low) / (high - low)) * (height - top - bottom);
  const path = (line: readonly { x: number; y: number }[]): string =>
    line.map(({ x, y }, i) => `${i === 0 ? "M" : "L"}${n(px(x))} ${n(py(y))}`).join("");

  const grid = ticks.map(
    (tick) =>
      html`<path class="grid" d="M${left} ${n(py(tick))}H${width - right}" />
        <text class="chart-tick" x="${left - 8}" y="${n(py(tick) + 4)}" text-anchor="end">${format(tick)}</text>`,
  );
  const steps = niceTicks(0, xMost).filter((tick) => tick <= xMost);
  const axis = steps.map(
    (tick) => html`<text class="chart-tick" x="${n(px(tick))}" y="${height - bottom + 18}" text-anchor="middle">${tick}</text>`,
  );
  const drawn = curves.map(
    ({ lines, series, label }) =>
      html`<g>
        <title>${label}</title>
        ${lines.length > 1 && lines.map((line) => html`<path class="curve faint stroke-${series}" d="${path(line)}" />`)}
        <path class="curve stroke-${series}" d="${path(meanLine(lines))}"
      /></g>`,
  );
  let legendAt = left;
  const legend = curves.map(({ label, series }) => {
    const at = legendAt;
    legendAt += 34 + label.length * 6.6;
    return html`<path class="curve stroke-${series}" d="M${n(at)} 12h16" /><text class="chart-label" x="${n(at + 22)}" y="16"
        >${label}</text
      >`;
  });
  return html`<svg class="chart" role="img" aria-label="${title}" viewBox="0 0 ${width} ${height}">
    ${grid}${axis}
    <text class="chart-tick" x="${width - right}" y="${height - 2}" text-anchor="end">training step</text>
    ${drawn}${legend}
  </svg>`;
}

/** Mean over the lines at the places where all of them have a point. */
function meanLine(lines: readonly (readonly { x: number; y: number }[])[]): { x: number; y: number }[] {
  const at = new Map<number, number[]>();
  for (const line of lines) for (const { x, y } of line) at.set(x, [...(at.get(x) ?? []), y]);
  return [...at.entries()]
    .filter(([, values]) => values.length === lines.length)
    .sort(([a], [b]) => a - b)
    .map(([x, values]) => ({ x, y: values.reduce((sum, value) => sum + value, 0) / values.length }));
}

/** "8.7 %", or "8.7 ± 0.6 %" where there are several runs. */
export function percentInterval({ mean, half }: Interval): string {
  return half === undefined ? percent(mean) : `${points(mean)} ± ${percent(half)}`;
}
