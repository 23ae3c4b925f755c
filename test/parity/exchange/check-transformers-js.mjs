/**
 * Holds a folder that was written with `laclip convert --to onnx` against transformers.js: features of images and texts, image processor,
 * tokenizer.
 *
 *   npm install --prefix /tmp/tjs --ignore-scripts @huggingface/transformers
 *   laclip embed images PHOTOS --model MODEL --no-features --device cpu --out images.npy
 *   laclip embed texts texts.txt --model MODEL --no-features --device cpu --out texts.npy
 *   node test/parity/exchange/check-transformers-js.mjs /tmp/tjs FOLDER PHOTOS images.npy texts.txt texts.npy
 *
 * FOLDER is what MODEL was written to. Differences are relative to the largest feature. Texts, and images of the model's own size, must agree;
 * all other images are resized by another program there, which in Node looks at four pixels for each new one even where an image becomes many
 * times smaller. Ends with 1 where they don't agree to 1e-4, or the pipeline for zero-shot classification fails.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { readNpy } from "../../../dist/src/formats/index.js";

const limit = 1e-4;

const [installed, folder, photos, imageFile, textList, textFile] = process.argv.slice(2);
const load = createRequire(path.join(path.resolve(installed), "any.js"));
const { AutoProcessor, AutoTokenizer, CLIPTextModelWithProjection, CLIPVisionModelWithProjection, RawImage, env, pipeline } =
  load("@huggingface/transformers");
const linesOf = (file) => readFileSync(file, "utf8").trimEnd().split("\n");

env.allowRemoteModels = false;
env.localModelPath = path.dirname(path.resolve(folder));
const name = path.basename(path.resolve(folder));

function distance(actual, expected) {
  let [far, largest] = [0, 0];
  for (const [i, value] of expected.entries()) {
    far = Math.max(far, Math.abs(actual[i] - value));
    largest = Math.max(largest, Math.abs(value));
  }
  return far / largest;
}

const tokenizer = await AutoTokenizer.from_pretrained(name);
const textModel = await CLIPTextModelWithProjection.from_pretrained(name);
const texts = linesOf(textList);
const { text_embeds: textFeatures } = await textModel(tokenizer(texts, { padding: true, truncation: true }));
const ofTexts = distance(textFeatures.data, readNpy(textFile).data);
console.log(`${texts.length} texts: ${ofTexts.toExponential(1)}`);

const processor = await AutoProcessor.from_pretrained(name);
const visionModel = await CLIPVisionModelWithProjection.from_pretrained(name);
const names = linesOf(imageFile.replace(/\.npy$/, ".names.txt"));
const { data, shape } = readNpy(imageFile);
const { crop_size: own } = JSON.parse(readFileSync(path.join(folder, "preprocessor_config.json"), "utf8"));
let ofOwnSize = 0;
for (const [row, image] of names.entries()) {
  const read = await RawImage.read(path.join(photos, image));
  const { image_embeds: features } = await visionModel(await processor(read));
  const far = distance(features.data, data.subarray(row * shape[1], (row + 1) * shape[1]));
  const isOwn = read.width === own.width && read.height === own.height;
  if (isOwn) ofOwnSize = Math.max(ofOwnSize, far);
  console.log(`${image}: ${far.toExponential(1)}${isOwn ? ", of the model's own size" : ""}`);
}

const classify = await pipeline("zero-shot-image-classification", name);
const scores = await classify(path.join(photos, names[0]), ["cat", "dog"]);
console.log(scores);
const whole = scores.reduce((sum, { score }) => sum + score, 0);
process.exitCode = ofTexts < limit && ofOwnSize < limit && Math.abs(whole - 1) < limit ? 0 : 1;
