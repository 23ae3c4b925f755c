/**
 * Where two models agree and differ, picture by picture: counts over all pictures, and some of each kind to look at.
 */
import { type Html, html } from "../pages/index.ts";
import type { DemoMethod, DemoPicture, DemoPrediction, DemoResults, Wording } from "./demo-results.ts";
import { picture } from "./report-picture.ts";
import { baselineOf } from "./report-story.ts";

/** Two models that were asked the same of the same pictures. */
interface Comparison {
  baseline: DemoMethod;
  other: DemoMethod;
  /** The seed whose guesses are shown. */
  seed: number;
  pictures: ReadonlyMap<string, DemoPicture>;
}

/** The section of the page; empty where no seed of both models brought its guesses. */
export function predictionsSection(results: DemoResults): Html {
  const baseline = baselineOf(results);
  const other = results.methods.find(({ role }) => role === "human") ?? results.methods.find((method) => method !== baseline);
  const seed = other?.seeds.find((run) => guessesOf(other, run.seed).length > 0 && guessesOf(baseline, run.seed).length > 0)?.seed;
  if (!other || seed === undefined) return html``;
  const pictures = new Map(results.pictures.map((shown) => [shown.hexcode, shown]));
  const comparison = { baseline, other, seed, pictures };
  return html`<section>
    <h2>Right and wrong</h2>
    <p>
      Pictures of the held-out style and the first five guesses of ${baseline.label} and ${other.label}, from seed ${seed}. A green frame
      marks the right one. The pictures are taken at even distances from each kind, not picked.
    </p>
    ${compare(comparison, "otherWords")}${compare(comparison, "ownWords")}
  </section>`;
}

function compare(comparison: Comparison, wording: Wording): Html | undefined {
  const { baseline, other, seed, pictures } = comparison;
  const byPicture = (method: DemoMethod): Map<string, DemoPrediction> =>
    new Map(
      guessesOf(method, seed)
        .filter(({ words }) => words === wording)
        .map((prediction) => [prediction.hexcode, prediction]),
    );
  const [base, its] = [byPicture(baseline), byPicture(other)];
  const shared = [...its.keys()].filter((hexcode) => base.has(hexcode) && pictures.has(hexcode));
  if (shared.length === 0) return undefined;
  const hit = (predictions: Map<string, DemoPrediction>, hexcode: string): boolean => placeOf(predictions.get(hexcode)!) !== undefined;
  const kinds = [
    {
      title: `${other.label} has it among five, ${baseline.label} does not`,
      found: shared.filter((code) => hit(its, code) && !hit(base, code)),
      shown: 6,
    },
    {
      title: `${baseline.label} has it among five, ${other.label} does not`,
      found: shared.filter((code) => hit(base, code) && !hit(its, code)),
      shown: 3,
    },
    { title: "Both have it among five", found: shared.filter((code) => hit(base, code) && hit(its, code)), shown: 3 },
    { title: "Neither has", found: shared.filter((code) => !hit(base, code) && !hit(its, code)), shown: 3 },
  ];
  const heading = wording === "otherWords" ? "Asked in other people's words" : "Asked in the captions' own words";
  return html`<h3 class="group">${heading}</h3>
    ${kinds.map(
      ({ title, found, shown }) =>
        html`<p class="group"><b>${title}: ${found.length}</b> <span class="soft">of ${shared.length} pictures</span></p>
          <div class="predictions">
            ${spread(found, shown).map((hexcode) =>
              card(pictures, hexcode, wording, [
                [baseline, base.get(hexcode)!],
                [other, its.get(hexcode)!],
              ]),
            )}
          </div>`,
    )}`;
}

function card(
  pictures: ReadonlyMap<string, DemoPicture>,
  hexcode: string,
  wording: Wording,
  guesses: readonly (readonly [DemoMethod, DemoPrediction])[],
): Html {
  const shown = pictures.get(hexcode)!;
  return html`<div class="card prediction">
    <div class="asked">
      ${picture(shown.image, shown.name)}
      <div>
        <p><b>${shown.name}</b></p>
        ${wording === "otherWords" && html`<p class="small soft">asked as: ${shown.otherWords.slice(0, 8).join(", ")}</p>`}
      </div>
    </div>
    ${guesses.map(
      ([method, prediction]) =>
        html`<p class="label">${method.label} · ${placeInWords(prediction)}</p>
          <div class="guesses">${prediction.guesses.slice(0, 5).map((guess) => guessed(pictures.get(guess), guess === hexcode))}</div>`,
    )}
  </div>`;
}

function guessed(shown: DemoPicture | undefined, right: boolean): Html | undefined {
  return shown && picture(shown.image, shown.name, right ? "right" : undefined);
}

function guessesOf(method: DemoMethod, seed: number): readonly DemoPrediction[] {
  return method.seeds.find((run) => run.seed === seed)?.predictions ?? [];
}

/** `count` of the items at even distances, so that not only the first group of emoji is seen. */
function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)]!);
}

/** Place of the right concept among the five guesses, from 1; undefined when it is not among them. */
function placeOf({ guesses, hexcode }: DemoPrediction): number | undefined {
  const index = guesses.slice(0, 5).indexOf(hexcode);
  return index < 0 ? undefined : index + 1;
}

function placeInWords(prediction: DemoPrediction): string {
  const places = [
    "right at once",
    "right at the second guess",
    "right at the third guess",
    "right at the fourth guess",
    "right at the fifth guess",
  ];
  return places[(placeOf(prediction) ?? 0) - 1] ?? "not among five";
}
