/**
 * The demo's story, start to end: draw the world, rewrite its captions, train CLIP and LaCLIP at the same cost, ask each about drawings
 * it has never seen, in its captions' own words and in another annotator's, and report what came out.
 *
 * Every part can be interrupted and started again: pictures, rewrites and training runs that are finished are used as they are.
 */
import { cpus } from "node:os";
import { join } from "node:path";
import { openLabelledFolder, openRewritesFolder } from "../data/index.ts";
import { type ZeroShotResult, zeroShot } from "../evaluation/index.ts";
import { loadModel, preset } from "../models/index.ts";
import { type Recipe, derive, emojiClip, emojiLaclip, runRecipe } from "../recipes/index.ts";
import { chooseEngine } from "../rewriting/index.ts";
import { formatDuration, log, percent } from "../support/index.ts";
import { hasFastBfloat16, torchInfo } from "../torch/index.ts";
import { type RunEvent, readEvents } from "../training/index.ts";
import type { Accuracy, DemoExample, DemoMethod, DemoPrediction, DemoResults, DemoSeed, Wording } from "./demo-results.ts";
import { takeDemoFolder } from "./earlier-demo.ts";
import { provenances } from "./emoji-packages.ts";
import { type EmojiWorld, buildEmojiWorld, heldOutStyle, trainingStyles } from "./emoji-world.ts";
import { writeHumanRewrites } from "./human-rewrites.ts";
import { writeReport } from "./report.ts";
import { type DemoRewriter, rewriteWorld } from "./rewriter.ts";
import { worldPictures } from "./world-pictures.ts";

/** What `laclip demo` was asked for. */
export interface DemoOptions {
  /** Folder for everything the demo makes. */
  out: string;
  /** GGUF file, hf: address or server; without it, see `rewriteWorld`. */
  llm?: string | undefined;
  /** Training runs a method, with seeds 1, 2, ... */
  seeds: number;
  /** Steps a run; default the recipe's. */
  steps?: number | undefined;
  /** Only so many concepts: for a quick look. */
  limit?: number | undefined;
  /** Where the models are trained and asked, see `findDevice`. Default "cpu". */
  device?: string | undefined;
  signal: AbortSignal;
  /** Program and version, for manifests and the report. */
  createdWith: string;
}

interface Method {
  name: string;
  label: string;
  texts: string;
  role: DemoMethod["role"];
  recipe: Recipe;
  rewrites?: string;
}

/**
 * Draws, rewrites, trains, evaluates and writes the report; what an earlier start finished is used as it is.
 * @throws UsageError when `--llm` names nothing, or `out` holds a demo with other settings; DataError when `out` holds somebody else's
 *   files where the demo's belong, or another demo is at work there; InterruptedError when stopped, with everything done so far saved
 */
export async function runDemo(options: DemoOptions): Promise<DemoResults> {
  // A slip in --llm shows now rather than after the drawing.
  if (options.llm !== undefined) await chooseEngine(options.llm).close();
  const lock = takeDemoFolder(options);
  try {
    const results = await findOut(options);
    log.info("4/4 The report.");
    writeReport(options.out, results);
    return results;
  } finally {
    lock.release();
  }
}

async function findOut(options: DemoOptions): Promise<DemoResults> {
  const { out, seeds } = options;
  log.info("1/4 The world: emoji in four drawing styles, with the names and keywords that people gave them.");
  const world = await buildEmojiWorld({ out, ...(options.limit === undefined ? {} : { limit: options.limit }) });

  log.info("2/4 Other words for the captions.");
  const human = await writeHumanRewrites(world, join(out, "rewrites", "human"));
  const rewriter = await rewriteWorld({ ...options, world, out });

  const methods = methodsOf(options, rewriter, human, world);
  log.info(`3/4 Training: ${methods.length} methods, ${seeds} ${seeds === 1 ? "seed" : "seeds"}, the same steps and cost for each.`);
  const trained = new Map<string, DemoSeed[]>(methods.map(({ name }) => [name, []]));
  // Seeds outside, methods inside: an interrupted demo has compared the methods on the seeds it got to.
  for (let seed = 1; seed <= seeds; seed++) {
    for (const method of methods) trained.get(method.name)!.push(await trainAndAsk(method, seed, world, options));
  }

  return {
    created: new Date().toISOString(),
    command: commandLine(options),
    world: {
      concepts: world.concepts.length,
      trainingImages: world.samples.length,
      trainingStyles: trainingStyles.map((style) => world.styleLabels[style]),
      heldOutStyle: world.styleLabels[heldOutStyle],
    },
    model: describeModel(methods[0]!.recipe),
    rewriter: { label: rewriter.label, isLanguageModel: rewriter.isLanguageModel, why: rewriter.why },
    methods: methods.map(({ name, label, texts, role }) => ({ name, label, texts, role, seeds: trained.get(name)! })),
    pictures: worldPictures(world),
    examples: await examplesOf(world, [
      { label: rewriter.label, folder: rewriter.folder },
      { label: "People", folder: human },
    ]),
    environment: environment(options, methods[0]!.recipe),
    licences: Object.values(provenances),
  };
}

function methodsOf({ steps, limit }: DemoOptions, rewriter: DemoRewriter, human: string, world: EmojiWorld): Method[] {
  const training = {
    precision: hasFastBfloat16() ? ("bf16" as const) : ("fp32" as const),
    ...(steps === undefined ? {} : { steps, warmupSteps: Math.min(emojiClip.training.warmupSteps, Math.ceil(steps / 10)) }),
    ...(limit === undefined ? {} : { batchSize: Math.min(emojiClip.training.batchSize, world.samples.length) }),
  };
  return [
    { name: "clip", label: "CLIP", texts: "the name only", role: "baseline", recipe: derive(emojiClip, { training }) },
    {
      name: `laclip-${rewriter.name}`,
      label: `LaCLIP, ${rewriter.label}`,
      texts: `the name and ${rewriter.texts}`,
      role: "rewriter",
      recipe: derive(emojiLaclip, { training }),
      rewrites: rewriter.folder,
    },
    {
      name: "laclip-human",
      label: "LaCLIP, human texts",
      texts: "the name and what other people wrote about the picture",
      role: "human",
      recipe: derive(emojiLaclip, { training }),
      rewrites: human,
    },
  ];
}

/** One training run and its evaluation in both wordings. */
async function trainAndAsk(
  method: Method,
  seed: number,
  world: EmojiWorld,
  { out, signal, device = "cpu" }: DemoOptions,
): Promise<DemoSeed> {
  const folder = join(out, "runs", `${method.name}-seed${seed}`);
  const { run, steps } = await runRecipe({
    recipe: derive(method.recipe, { training: { seed } }),
    // Names of one word leave EDA nothing to change: those pictures keep their caption, and the folder was made for this world.
    data: { file: world.trainCsv, rewrites: method.rewrites, minimumMatched: 0 },
    out: folder,
    device,
    signal,
    label: `${method.label}, seed ${seed}`,
  });
  const events = readEvents(join(run.path, "events.jsonl"));
  const asked = await ask(run.model, world, device);
  const { ownWords, otherWords } = asked.evaluations;
  log.info(`   ${method.label}, seed ${seed}: own words ${percent(ownWords.top1)}, other words ${percent(otherWords.top1)} top-1`);
  return { seed, steps, seconds: trainingSeconds(events), lossCurve: lossCurve(events), ...asked };
}

/** Zero-shot classification of the held-out style. */
async function ask(model: string, world: EmojiWorld, device: string): Promise<Pick<DemoSeed, "evaluations" | "predictions">> {
  const loaded = loadModel(model, { device });
  const predictions: DemoPrediction[] = [];
  const classify = async (words: Wording, classes: string): Promise<Accuracy> => {
    const { folders, names, items, templates } = openLabelledFolder(world.heldOut.folder, { classes });
    const result = await zeroShot(loaded, items, { names, templates: templates ?? ["{}"] }, { device });
    predictions.push(...asPredictions(result, folders, words));
    return { top1: result.metrics.acc1, top5: result.metrics.acc5 };
  };
  try {
    const ownWords = await classify("ownWords", world.heldOut.ownWords);
    const otherWords = await classify("otherWords", world.heldOut.otherWords);
    return { evaluations: { ownWords, otherWords }, predictions };
  } finally {
    loaded.model.dispose();
  }
}

function asPredictions({ predictions }: ZeroShotResult, folders: readonly string[], words: Wording): DemoPrediction[] {
  return predictions.map(({ label, top }) => ({ hexcode: folders[label]!, words, guesses: top.map((guess) => folders[guess.label]!) }));
}

/** Wall-clock time of all steps, also of a run that was interrupted. */
function trainingSeconds(events: readonly RunEvent[]): number {
  let before = 0;
  let seconds = 0;
  for (const event of events) {
    if (event.event !== "train") continue;
    seconds += Number(event["train/batch_time"]) * (event.step - before);
    before = event.step;
  }
  return seconds;
}

function lossCurve(events: readonly RunEvent[]): { step: number; loss: number }[] {
  return events.flatMap((event) => (event.event === "train" ? [{ step: event.step, loss: Number(event["train/loss"]) }] : []));
}

/** A dozen captions spread over the world, with what each rewriter made of them. */
async function examplesOf(world: EmojiWorld, folders: readonly { label: string; folder: string }[]): Promise<DemoExample[]> {
  const count = Math.min(12, world.concepts.length);
  const chosen = Array.from({ length: count }, (_, i) => world.samples[Math.floor(((i + 0.5) * world.concepts.length) / count)]!);
  const texts = await Promise.all(folders.map(async ({ folder }) => await textsOf(folder, new Set(chosen.map(({ id }) => id)))));
  return chosen.map(({ id, concept }) => ({
    hexcode: concept.hexcode,
    rewrites: folders.map(({ label }, i) => ({ label, texts: texts[i]!.get(id) ?? [] })),
  }));
}

async function textsOf(folder: string, ids: ReadonlySet<string>): Promise<Map<string, string[]>> {
  const texts = new Map<string, string[]>();
  for await (const batch of (await openRewritesFolder(folder)).read()) {
    for (const { id, text } of batch) {
      if (ids.has(id)) texts.set(id, [...(texts.get(id) ?? []), text]);
    }
  }
  return texts;
}

function describeModel({ model, training }: Recipe): DemoResults["model"] {
  const { vision, text } = preset(model.preset);
  return {
    description: `LaCLIP's two towers in small: image tower ${vision.width} wide and ${vision.depth} deep, patches of ${vision.patchSize} px; text tower ${text.width} wide and ${text.depth} deep`,
    imageSize: vision.imageSize,
    batch: training.batchSize,
  };
}

function environment({ createdWith }: DemoOptions, { training }: Recipe): Record<string, string> {
  const { version, threads, build } = torchInfo();
  return {
    program: createdWith,
    libtorch: `${version} (${build.libtorch.kind})`,
    node: process.version,
    processor: `${cpus()[0]?.model.trim() ?? "unknown"}, ${threads} threads`,
    precision: training.precision,
  };
}

function commandLine({ llm, seeds, steps, limit }: DemoOptions): string {
  const flags = [
    ...(llm === undefined ? [] : ["--llm", llm]),
    ...(seeds === 1 ? [] : ["--seeds", String(seeds)]),
    ...(steps === undefined ? [] : ["--steps", String(steps)]),
    ...(limit === undefined ? [] : ["--limit", String(limit)]),
  ];
  return `npm run demo${flags.length > 0 ? ` -- ${flags.join(" ")}` : ""}`;
}

/** Word for a run's length in the closing lines. */
export function totalTraining(results: Pick<DemoResults, "methods">): string {
  return formatDuration(results.methods.flatMap(({ seeds }) => seeds).reduce((sum, { seconds }) => sum + seconds, 0));
}
