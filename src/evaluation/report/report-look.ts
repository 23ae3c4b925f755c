/** What only the page of a report has: its style, and the script that sorts the table and copies it. */

export const reportStyle = `
main > header { padding-top: 36px; }
.models { display: flex; flex-wrap: wrap; gap: 4px 20px; max-width: none; }
.dot { border-radius: 50%; }
.dot.series-1 { background: var(--s1); } .dot.series-2 { background: var(--s2); } .dot.series-3 { background: var(--s3); }
.dot.series-4 { background: var(--s4); } .dot.series-5 { background: var(--s5); } .dot.series-6 { background: var(--s6); }
.dot.hollow { border: 2px solid var(--s0); }
.row { display: flex; align-items: baseline; justify-content: space-between; gap: 16px; }
button { font: inherit; color: inherit; cursor: pointer; }
#copy { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 4px 14px; font-size: 0.9rem; }
#copy:hover { background: var(--mark); }
.sort { background: none; border: 0; padding: 0; font-weight: 600; text-align: inherit; }
.sort::after { content: " ↕"; opacity: 0.35; }
th[aria-sort="ascending"] .sort::after { content: " ↑"; opacity: 1; }
th[aria-sort="descending"] .sort::after { content: " ↓"; opacity: 1; }
th { white-space: normal; }
#results td small { white-space: normal; max-width: 15em; margin-left: auto; }
#results td .range { white-space: nowrap; }
#results td:nth-child(2), #results td:nth-child(3), #results th:nth-child(2), #results th:nth-child(3) { text-align: left; }
.ablation td:nth-child(2), .ablation th:nth-child(2) { text-align: left; white-space: nowrap; }
.ablation td small { margin-left: auto; }
tfoot td { border-top: 2px solid var(--line); border-bottom: 0; }
.remembered { color: var(--soft); font-style: italic; }
.flag { color: var(--s1); font-weight: 650; }
.legend { margin: 12px 0 18px; padding-left: 20px; }
.chart .ring { fill: none; stroke: var(--s0); stroke-width: 2; }
.chart .gap { stroke: var(--bad); stroke-width: 1.6; fill: none; }
.chart.values { font-size: 12px; }
.chart .count { font-size: 11px; }
.two .chart { max-width: 460px; }
.two .reliability { max-width: 360px; }
.below { margin-top: 18px; }
details { margin-top: 14px; }
summary { cursor: pointer; font-weight: 600; }
summary small { font-weight: 400; color: var(--soft); }
.classification { border-top: 1px solid var(--line); padding-top: 12px; }
.group { margin: 26px 0 0; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(232px, 1fr)); gap: 14px; margin-top: 12px; }
.worst .card { padding: 14px; }
.pictures { display: grid; grid-template-columns: 96px 96px; gap: 8px; }
.pictures figcaption { margin-top: 2px; font-size: 0.76rem; line-height: 1.25; overflow-wrap: anywhere; }
@media (max-width: 640px) { #results td small { margin-left: 0; } tbody td:empty { display: none; } .two { grid-template-columns: 1fr; } tfoot tr { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 16px; padding: 14px 0; } }
@media print { #copy, .sort::after { display: none; } }
`;

export const reportScript = `
const table = document.getElementById("results");
const heads = [...table.tHead.rows[0].cells];
heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const falling = head.getAttribute("aria-sort") === "ascending" || (column > 2 && !head.hasAttribute("aria-sort"));
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value;
  const order = (a, b) => (column > 2 ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b)));
  const rows = [...table.tBodies[0].rows].sort((a, b) => (falling ? -order(a, b) : order(a, b)));
  table.tBodies[0].append(...rows);
}));
const copy = document.getElementById("copy");
copy.addEventListener("click", async () => {
  const source = document.getElementById("markdown");
  try {
    await navigator.clipboard.writeText(source.textContent);
    copy.textContent = "Copied";
  } catch {
    source.parentElement.open = true;
    getSelection().selectAllChildren(source);
    copy.textContent = "Selected: press Ctrl-C";
  }
});
`;
