/**
 * What zero-shot classification adds to the model's own work: images a second of `zeroShot`, from JPEG files to predictions, against those of
 * the image tower alone on a batch that lies ready.
 *
 *   node dist/bench/zero-shot/compare.js [--model vit-b-32] [--images 512] [--batch 64] [--classes 100] [--rounds 5]
 *
 * Both are measured in turn in one go; the ratios are the result: of time, and of the processor's time, which says what decoding and
 * scoring cost where all cores are busy anyway. The texts of the classes are timed apart, since they are computed once for
 * any number of images: `--classes 1000 --templates 80` is what ImageNet takes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { type ZeroShotClasses, classVectors, zeroShot } from "../../src/evaluation/index.ts";
import { Clip, byteImages, imagenetPreprocessing, normalizeImages, preset } from "../../src/models/index.ts";
import { noGrad, scope } from "../../src/torch/index.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "vit-b-32" },
    images: { type: "string", default: "512" },
    batch: { type: "string", default: "64" },
    classes: { type: "string", default: "100" },
    templates: { type: "string", default: "1" },
    rounds: { type: "string", default: "5" },
  },
});
const [images, batch, classCount, templateCount, rounds] = [
  values.images,
  values.batch,
  values.classes,
  values.templates,
  values.rounds,
].map(Number) as [number, number, number, number, number];
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

const folder = mkdtempSync(join(tmpdir(), "laclip-zero-shot-bench-"));
try {
  const items = await photographs();
  const model = new Clip(preset(values.model), { seed: 1 });
  const size = model.config.vision.imageSize;
  const pixels = Uint8Array.from({ length: batch * size * size * 3 }, (_, i) => (i * 2654435761) % 251);
  const ready = normalizeImages(byteImages(pixels, batch, size, imagenetPreprocessing));
  const classes: ZeroShotClasses = {
    names: Array.from({ length: classCount }, (_, i) => [`thing number ${i}`]),
    templates: Array.from({ length: templateCount }, (_, i) => `a photo of a {}, take ${i}.`),
  };

  const towerAlone = (): Rate =>
    measured(() => {
      let done = 0;
      for (; done < images; done += batch) noGrad(() => scope(() => model.encodeImages(ready).select(0, 0).select(0, 0).item()));
      return done;
    });
  const texts = async (): Promise<Rate> => {
    const start = now();
    (await classVectors(model, classes)).dispose();
    return since(start, classCount * templateCount);
  };
  const whole = async (): Promise<Rate> => {
    const start = now();
    const { predictions } = await zeroShot({ model, preprocessing: imagenetPreprocessing }, items, classes, { batchSize: batch });
    return since(start, predictions.length);
  };

  towerAlone();
  const textRates = [await texts(), await texts(), await texts()];
  const text = { seconds: median(textRates.map(({ seconds }) => seconds)), processor: median(textRates.map(({ processor }) => processor)) };
  const [alone, all]: [Rate[], Rate[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    alone.push(towerAlone());
    const { seconds, processor, done } = await whole();
    all.push({ seconds: seconds - text.seconds, processor: processor - text.processor, done });
  }
  const row = (name: string, rates: readonly Rate[]): string => {
    const each = median(rates.map(({ done, seconds }) => done / seconds));
    const cost = median(rates.map(({ done, processor }) => (1000 * processor) / done));
    return `| ${name} | ${each.toFixed(1)} | ${cost.toFixed(1)} |`;
  };
  const ratios = (of: (rate: Rate) => number): string => {
    const found = all.map((rate, i) => of(alone[i]!) / alone[i]!.done / (of(rate) / rate.done));
    return `**${median(found).toFixed(3)}** (${Math.min(...found).toFixed(3)} to ${Math.max(...found).toFixed(3)})`;
  };
  console.log(
    `| ${values.model}, batches of ${batch}, ${images} JPEG of 500 x 375 | images a second | processor ms an image |\n|---|--:|--:|`,
  );
  console.log(row("image tower alone", alone));
  console.log(row("zero-shot, from files to predictions", all));
  console.log(
    `| ratio, least and most of ${rounds} rounds | ${ratios(({ seconds }) => seconds)} | ${ratios(({ processor }) => processor)} |`,
  );
  console.log(`\nTexts, once and not counted above: ${classCount} classes x ${templateCount} prompts in ${text.seconds.toFixed(2)} s.`);
  model.dispose();
} finally {
  rmSync(folder, { recursive: true });
}

interface Rate {
  seconds: number;
  /** Seconds of all threads together. */
  processor: number;
  /** Images or texts. */
  done: number;
}

function now(): { time: number; processor: NodeJS.CpuUsage } {
  return { time: performance.now(), processor: process.cpuUsage() };
}

function since({ time, processor }: ReturnType<typeof now>, done: number): Rate {
  const { user, system } = process.cpuUsage(processor);
  return { seconds: (performance.now() - time) / 1000, processor: (user + system) / 1e6, done };
}

function measured(work: () => number): Rate {
  const start = now();
  const done = work();
  return since(start, done);
}

/** JPEG files with some detail in them, as many as images are asked for but no more than 256 different ones. */
async function photographs(): Promise<{ path: string; label: number }[]> {
  const paths: string[] = [];
  for (let i = 0; i < Math.min(images, 256); i++) {
    const [width, height] = [500, 375];
    const data = new Uint8Array(width * height * 3);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const wave = Math.sin((x * (i + 3)) / 97) + Math.cos((y * (i + 5)) / 83) + Math.sin((x + y) / (7 + (i % 11)));
        for (let c = 0; c < 3; c++) data[at++] = 128 + 40 * wave + ((x * 31 + y * 17 + c * 59) % 13);
      }
    }
    const path = join(folder, `${i}.jpg`);
    writeFileSync(
      path,
      await sharp(data, { raw: { width, height, channels: 3 } })
        .jpeg({ quality: 90 })
        .toBuffer(),
    );
    paths.push(path);
  }
  return Array.from({ length: images }, (_, i) => ({ path: paths[i % paths.length]!, label: i % classCount }));
}
