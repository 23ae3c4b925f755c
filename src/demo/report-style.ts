/**
 * What the demo's report needs beside the look of all pages (src/pages): its pictures, examples and guesses.
 */
export const reportStyle = `
.strip { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 8px; height: 56px; overflow: hidden; margin: 28px 0 30px; }
.strip img { width: 52px; height: 52px; padding: 4px; border: 1px solid var(--line); }
.steps { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 14px; margin-top: 18px; }
.steps p { margin: 0; font-size: 0.95rem; }
.row { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 0 0 12px; }
.row img { width: 58px; height: 58px; padding: 4px; border: 1px solid var(--line); }
.row .question { border: 2px dashed var(--s2); }
.examples { display: grid; gap: 14px; margin-top: 18px; }
.example { display: grid; grid-template-columns: 150px 1fr; gap: 20px; }
.example .pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; align-content: start; }
.example .pictures img { width: 100%; aspect-ratio: 1; height: auto; padding: 5px; border: 1px solid var(--line); }
.caption { font-size: 1.15rem; font-weight: 650; margin: 0 0 10px; }
.sources { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px 22px; }
.predictions { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 14px; margin-top: 14px; }
.prediction { padding: 16px; }
.asked { display: grid; grid-template-columns: 72px 1fr; gap: 14px; align-items: start; margin-bottom: 12px; }
.asked img { width: 72px; height: 72px; padding: 4px; border: 2px solid var(--line); }
.asked p { margin: 0; overflow-wrap: anywhere; }
.guesses { display: grid; grid-template-columns: repeat(5, 44px); gap: 8px; margin: 4px 0 10px; }
.guesses img { width: 100%; height: auto; aspect-ratio: 1; padding: 2px; border: 2px solid transparent; }
.guesses .right { border-color: var(--good); box-shadow: 0 0 0 2px var(--good); }
.group { margin: 26px 0 0; }
.licences { padding-left: 18px; margin: 0; font-size: 0.92rem; } .licences li { margin-bottom: 8px; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  .example { grid-template-columns: 1fr; gap: 14px; }
  .example .pictures { grid-template-columns: repeat(4, 1fr); }
}
@media print {
  .prediction, .example { break-inside: avoid; }
}
`;
