import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import sharp from "sharp";
import { html } from "../pages/index.ts";
import { DataError } from "../support/index.ts";
import type { DemoMethod, DemoResults, DemoSeed } from "./demo-results.ts";
import { provenances } from "./emoji-packages.ts";
import { interval, pairedDifference } from "../evaluation/index.ts";
import { renderReport, writeReport } from "./report.ts";
import { tellStory } from "./report-story.ts";
import { resultTable } from "./result-table.ts";

const scratch = mkdtempSync(join(tmpdir(), "laclip-report-"));
const image = join(scratch, "picture.png");
before(async () => {
  await sharp({ create: { width: 64, height: 64, channels: 3, background: "teal" } })
    .png()
    .toFile(image);
});
after(() => rmSync(scratch, { recursive: true }));

const hostile = `<script>document.title="owned"</script>"'><img src=x onerror=alert(1)>&amp;`;

function run(seed: number, own: number, other: number): DemoSeed {
  return {
    seed,
    steps: 300,
    seconds: 150 + seed,
    lossCurve: [1, 100, 200, 300].map((step) => ({ step, loss: 5 - step / 100 })),
    evaluations: { ownWords: { top1: own / 2, top5: own }, otherWords: { top1: other / 2, top5: other } },
    curve: [100, 300].map((step) => ({ step, ownWords: { top1: 0.1, top5: own }, otherWords: { top1: 0.01, top5: other } })),
    predictions: (["ownWords", "otherWords"] as const).flatMap((words) => [
      { hexcode: "A", words, guesses: ["B", "A"] },
      { hexcode: "B", words, guesses: seed === 0 && other > 0.05 ? ["B", "A"] : ["A"] },
    ]),
  };
}

function results({ seeds, human = 0.09, text = "cat face" }: { seeds: number; human?: number; text?: string }): DemoResults {
  const method = (name: string, label: string, role: DemoMethod["role"], own: number, other: number): DemoMethod => ({
    name,
    label,
    role,
    texts: text,
    seeds: Array.from({ length: seeds }, (_, seed) => run(seed, own + 0.002 * seed, other + 0.002 * (seed % 2))),
  });
  return {
    created: "2026-01-02T03:04:05.000Z",
    command: "laclip demo --seeds 2",
    world: { concepts: 845, trainingImages: 2535, trainingStyles: ["OpenMoji", "Noto Emoji"], heldOutStyle: "Twemoji" },
    model: { description: text, imageSize: 48, batch: 256 },
    rewriter: { label: "EDA", isLanguageModel: false, why: text },
    methods: [
      method("clip", "CLIP", "baseline", 0.29, 0.03),
      method("laclip-eda", "LaCLIP, EDA", "rewriter", 0.29, 0.03),
      method("laclip-human", "LaCLIP, human texts", "human", 0.27, human),
    ],
    pictures: ["A", "B"].map((hexcode) => ({ hexcode, name: text, otherWords: [text], image, training: [{ style: text, image }] })),
    examples: [{ hexcode: "A", rewrites: [{ label: text, texts: [text, `a ${text}`] }] }],
    environment: { libtorch: text },
    licences: Object.values(provenances),
  };
}

test("results.json has a row for each method and seed, with pictures relative to it", () => {
  const files = writeReport(scratch, results({ seeds: 2 }));
  const written = JSON.parse(readFileSync(files.json, "utf8")) as DemoResults & { rows: Record<string, unknown>[] };
  assert.equal(written.rows.length, 6);
  assert.deepEqual(Object.keys(written.rows[0]!), ["method", "seed", "ownWords", "otherWords", "steps", "seconds"]);
  assert.deepEqual(written.rows[5], {
    method: "laclip-human",
    seed: 1,
    ownWords: { top1: 0.136, top5: 0.272 },
    otherWords: { top1: 0.046, top5: 0.092 },
    steps: 300,
    seconds: 151,
  });
  assert.equal(written.pictures[0]!.image, "picture.png");
  assert.equal(written.methods[0]!.seeds[1]!.lossCurve.length, 4);
});

test("whatever stands in captions, labels and the environment is escaped", () => {
  const page = renderReport(results({ seeds: 1, text: hostile }));
  assert.ok(page.includes("&lt;script&gt;document.title=&quot;owned&quot;"));
  assert.doesNotMatch(page, /<script/i);
  assert.doesNotMatch(page, /<img src=x/);
  const withoutValues = page.replace(/="[^"]*"/g, "");
  assert.doesNotMatch(withoutValues, /<[^>]*onerror/i, "no attribute is broken out of");
  assert.equal(
    html`<p title="${'" onclick="x'}">${["<", html`<b>&</b>`, false, undefined, 3]}</p>`.markup,
    '<p title="&quot; onclick=&quot;x">&lt;<b>&</b>3</p>',
  );
});

test("the page refers to nothing outside itself, and its policy is the hash of its style", () => {
  const page = renderReport(results({ seeds: 2 }));
  const loaded = [...page.matchAll(/\s(?:src|srcset|href|xlink:href|action|poster)="([^"]*)"/g)].map((found) => found[1]!);
  const links = loaded.filter((target) => !target.startsWith("data:image/png;base64,"));
  assert.ok(loaded.length > links.length, "pictures are in the page");
  const licenceUrls = new Set<string>(Object.values(provenances).map(({ licenceUrl }) => licenceUrl));
  for (const link of links) assert.ok(licenceUrls.has(link), `${link} is neither inline nor a link to a licence`);
  assert.doesNotMatch(page, /url\(|@import|\sstyle="/);
  const style = page.slice(page.indexOf("<style>") + "<style>".length, page.indexOf("</style>"));
  const hash = createHash("sha256").update(style).digest("base64");
  assert.ok(page.includes(`style-src &#39;sha256-${hash}&#39;`));
  assert.ok(page.includes("default-src &#39;none&#39;"));
});

test("the story claims a gain only where the runs carry it", () => {
  assert.match(tellStory(results({ seeds: 5 })).headline, /LaCLIP with human texts recognises 2\.9 times as many pictures as CLIP/);
  assert.match(tellStory(results({ seeds: 1 })).headline, /times as many/);
  assert.match(tellStory(results({ seeds: 1, human: 0.034 })).headline, /can’t be told apart/);
  assert.match(tellStory(results({ seeds: 5, human: 0.01 })).headline, /fewer pictures than CLIP/);
  const { findings } = tellStory(results({ seeds: 5 }));
  assert.match(
    findings[0]!,
    /LaCLIP, EDA, in another annotator's words: 3\.1 %.*0\.0 ± 0\.0 points over 5 seeds, which chance alone may explain/,
  );
  assert.match(findings[2]!, /\+6\.0 ± 0\.0 points over 5 seeds, a gain beyond chance/);
  assert.match(findings[3]!, /a loss beyond chance/);
});

test("the table of the command has a line for each method, in per cent", () => {
  const lines = resultTable(results({ seeds: 2 })).split("\n");
  assert.match(lines[0]!, /^Zero-shot, Twemoji .* 845 classes, per cent; chance 0\.12$/);
  // Two seeds 0.1 and 0.2 points apart: the interval is half of that times 12.706, Student's t of one degree of freedom. 14.55 may go either way.
  assert.match(lines[3]!, /^CLIP +14\.[56] ± 0\.6 \/ 29\.1 ± 1\.3 +1\.[56] ± 0\.6 \/ 3\.1 ± 1\.3 +300 +1\d\d$/);
  assert.equal(lines.length, 6);
  assert.match(resultTable(results({ seeds: 1 })), /^LaCLIP, human texts +13\.5 \/ 27\.0 +4\.5 \/ 9\.0 +300 +150$/m);
});

test("intervals are Student's t, and differences are taken seed by seed", () => {
  const { mean, half } = interval([1, 2, 3]);
  assert.equal(mean, 2);
  assert.ok(Math.abs(half! - 2.4841) < 1e-3, String(half));
  assert.equal(interval([4]).half, undefined);
  const values = [10, 20, 30].map((value, seed) => ({ seed, value }));
  const others = [28, 19, 9].map((value, i) => ({ seed: 2 - i, value }));
  assert.deepEqual(pairedDifference(values, [...others, { seed: 7, value: 0 }])?.mean, 4 / 3);
  assert.equal(pairedDifference(values, [{ seed: 9, value: 1 }]), undefined);
});

test("pictures are counted by which of the two models has them among its five guesses", () => {
  const page = renderReport(results({ seeds: 1 })).replace(/\s+/g, " ");
  const counted = (title: string): number => page.split(title).length - 1;
  assert.match(page, /LaCLIP, human texts has it among five, CLIP does not: 1<\/b> <span class="soft">of 2 pictures/);
  assert.match(page, /Both have it among five: 1<\/b>/);
  assert.match(page, /Neither has: 0<\/b>/);
  assert.equal(counted("right at the second guess"), 4, "A, by two models, in two wordings");
  assert.equal(counted("not among five"), 2, "B, by CLIP, in two wordings");
});

test("a picture that can't be read is named", () => {
  const broken = results({ seeds: 1 });
  assert.throws(
    () => renderReport({ ...broken, pictures: [{ ...broken.pictures[0]!, image: join(scratch, "gone.png") }] }),
    (error) => error instanceof DataError && error.message.includes("gone.png"),
  );
});

function chromium(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return ["chromium", "chromium-browser", "google-chrome"]
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find((path) => existsSync(path));
}

test(
  "a browser lays the page out, applies its style and runs nothing in it",
  { skip: chromium() ? false : "Chromium is not installed" },
  async () => {
    const files = writeReport(scratch, results({ seeds: 2, text: hostile }));
    const shot = join(scratch, "shot.png");
    const flags = [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      `--user-data-dir=${join(scratch, "profile")}`,
    ];
    const browse = promisify(execFile);
    const page = `file://${files.html}`;
    await browse(chromium()!, [...flags, "--hide-scrollbars", "--window-size=900,1400", `--screenshot=${shot}`, page], {
      timeout: 120_000,
    });
    const { data, info } = await sharp(shot).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    // The page's own background; without its style sheet a browser paints white.
    assert.deepEqual([...data.subarray(0, 3)], [0xf6, 0xf5, 0xf1]);
    const teal = [0, 128, 128];
    let painted = 0;
    for (let at = 0; at < data.length; at += info.channels) if (teal.every((value, i) => data[at + i] === value)) painted++;
    assert.ok(painted > 1000, `the pictures are not shown (${painted} pixels)`);

    const { stdout } = await browse(chromium()!, [...flags, "--dump-dom", page], { timeout: 120_000, maxBuffer: 1 << 26 });
    assert.match(stdout, /<title>laclip demo: In other people’s words/);
    assert.doesNotMatch(stdout, /<script|<img src="x"/);
  },
);
