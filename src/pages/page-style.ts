/**
 * The look of this program's pages: one style sheet for screen (light and dark), phone and paper. No fonts, images or scripts from
 * elsewhere.
 *
 * The series colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart; the first is grey.
 */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --page: #f6f5f1; --card: #ffffff; --ink: #1d2129; --soft: #5b6270; --line: #e3e1d9; --mark: #f1efe8;
  --good: #00735c; --bad: #b23b1e;
  --s0: #7d8595; --s1: #e08a00; --s2: #0072b2; --s3: #009e73; --s4: #c0569a; --s5: #56a5d8; --s6: #8f7c00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161b; --card: #1d2027; --ink: #eceef2; --soft: #a2a9b8; --line: #333844; --mark: #272b34;
    --good: #4fd1ac; --bad: #ff9475;
    --s0: #939cae; --s1: #f0a93b; --s2: #58b4e9; --s3: #3cc79b; --s4: #dd86bd; --s5: #9cc9ea; --s6: #d9c441;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 0 20px 64px; }
a { color: var(--s2); text-underline-offset: 2px; }
h1 { font-size: clamp(1.75rem, 4.6vw, 2.9rem); line-height: 1.14; letter-spacing: -0.022em; margin: 0 0 16px; max-width: 22em; text-wrap: balance; }
h2 { font-size: 1.4rem; line-height: 1.25; letter-spacing: -0.012em; margin: 0 0 8px; }
h3 { font-size: 1rem; margin: 0 0 6px; }
p { margin: 0 0 12px; max-width: 68ch; }
section { margin-top: 52px; }
.lead { font-size: 1.12rem; color: var(--soft); }
.soft { color: var(--soft); }
.small { font-size: 0.86rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 20px; }
img { display: block; border-radius: 8px; background: #fff; }

.kicker { text-transform: uppercase; letter-spacing: 0.09em; font-size: 0.76rem; font-weight: 650; color: var(--soft); margin: 0 0 10px; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 14px; margin-top: 26px; }
.tile { border-top: 5px solid var(--line); }
.tile .number { font-size: 2.3rem; font-weight: 700; line-height: 1.15; letter-spacing: -0.03em; font-variant-numeric: tabular-nums; }
.tile .number small { font-size: 1.05rem; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.tile p { margin: 0; }
.edge-0 { border-top-color: var(--s0); } .edge-1 { border-top-color: var(--s1); } .edge-2 { border-top-color: var(--s2); }
.edge-3 { border-top-color: var(--s3); } .edge-4 { border-top-color: var(--s4); } .edge-5 { border-top-color: var(--s5); } .edge-6 { border-top-color: var(--s6); }

.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; margin-top: 18px; }
.wide { grid-column: 1 / -1; display: grid; grid-template-columns: 1fr 1fr; gap: 0 28px; }
.wide h3 { grid-column: 1 / -1; }
.wide figcaption { align-self: center; font-size: 0.95rem; }
figure { margin: 0; }
figcaption { font-size: 0.86rem; color: var(--soft); margin-top: 8px; }
.chart { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
.chart text { fill: var(--ink); }
.chart .chart-heading { font-weight: 650; }
.chart .chart-tick { fill: var(--soft); font-size: 12px; }
.chart .chart-value { font-variant-numeric: tabular-nums; }
.chart .grid { stroke: var(--line); fill: none; }
.chart .whisker { stroke: var(--ink); fill: none; stroke-width: 1.4; }
.chart .curve { fill: none; stroke-width: 2.4; stroke-linejoin: round; stroke-linecap: round; }
.chart .faint { stroke-width: 1; opacity: 0.3; }
.chart .area { opacity: 0.12; }
.chart .mark { stroke: var(--bad); fill: none; stroke-width: 1.4; stroke-dasharray: 4 3; }
.series-bad { fill: var(--bad); }
.series-0 { fill: var(--s0); } .series-1 { fill: var(--s1); } .series-2 { fill: var(--s2); } .series-3 { fill: var(--s3); } .series-4 { fill: var(--s4); } .series-5 { fill: var(--s5); } .series-6 { fill: var(--s6); }
.stroke-0 { stroke: var(--s0); } .stroke-1 { stroke: var(--s1); } .stroke-2 { stroke: var(--s2); } .stroke-3 { stroke: var(--s3); } .stroke-4 { stroke: var(--s4); } .stroke-5 { stroke: var(--s5); } .stroke-6 { stroke: var(--s6); }

.table { overflow-x: auto; padding: 4px 20px; margin-top: 18px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 10px 0 10px 16px; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th { font-size: 0.82rem; font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
tbody tr:last-child td { border-bottom: 0; }
td b { font-weight: 650; }
td small { display: block; color: var(--soft); font-size: 0.82rem; }
.dot { display: inline-block; width: 11px; height: 11px; margin-right: 8px; }
.good { color: var(--good); } .bad { color: var(--bad); }

.texts { list-style: none; margin: 0; padding: 0; font-size: 0.95rem; }
.texts li { background: var(--mark); border-radius: 7px; padding: 4px 10px; margin-top: 5px; overflow-wrap: anywhere; }
.label { font-size: 0.82rem; font-weight: 600; color: var(--soft); margin: 0; }

pre { background: var(--mark); border-radius: 10px; padding: 14px 16px; overflow-x: auto; font: 0.9rem/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; margin: 0 0 14px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; font-size: 0.92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.note { border-left: 4px solid var(--s1); padding: 12px 16px; background: var(--card); border-radius: 0 10px 10px 0; margin: 16px 0 0; }
.note p { margin: 0; }
footer { margin-top: 56px; color: var(--soft); font-size: 0.86rem; }

@media (max-width: 640px) {
  main { padding: 0 14px 40px; }
  section { margin-top: 40px; }
  .card { padding: 16px; }
  .two, .wide { grid-template-columns: 1fr; }
  .table { padding: 2px 16px; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 16px; padding: 14px 0; border-bottom: 1px solid var(--line); }
  tbody tr:last-child { border-bottom: 0; }
  td, td:first-child { border: 0; padding: 0; text-align: left; white-space: normal; }
  td:first-child { grid-column: 1 / -1; }
  td[data-label]::before { content: attr(data-label); display: block; font-size: 0.8rem; color: var(--soft); }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
}
@media print {
  :root { --page: #fff; --card: #fff; --ink: #111; --soft: #444; --line: #ccc; --mark: #f4f4f4; }
  body { font-size: 10.5pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { margin-top: 22pt; }
  .card, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
`;
