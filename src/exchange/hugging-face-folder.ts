/**
 * Folders of Hugging Face's transformers: what `CLIPModel.from_pretrained`, `CLIPProcessor.from_pretrained` and transformers.js load.
 *
 * `CLIPModel` is CLIP as OpenAI and open_clip have it, with names of its own: queries, keys and values apart, and projections as linear
 * layers, which are the transpose of ours. LaCLIP's own form of the image tower has no place there.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type StoredTensor, writeSafetensors } from "../formats/index.ts";
import { type ClipConfig, type ModelContents, type Preprocessing, openaiPreprocessing } from "../models/index.ts";
import { DataError, ModelFormatError, isRecord, makeFolder, readJson, replaceFileSync, writeFileAtomic } from "../support/index.ts";
import { checkTensors } from "./check-tensors.ts";
import { huggingFaceConfig, huggingFacePreprocessing, readHuggingFaceConfig, readHuggingFacePreprocessing } from "./hugging-face-config.ts";
import { rowsOf, stacked, transposed } from "./stored-matrices.ts";
import { hasClipVocabulary, tokenizerFiles } from "./tokenizer-files.ts";
import { type Weights, readWeightsFile } from "./weights-file.ts";

const configFile = "config.json";
const weightsFile = "model.safetensors";
/** Where transformers put them before; read where the other is not there. */
const formerWeightsFile = "pytorch_model.bin";
const preprocessingFile = "preprocessor_config.json";
/** Where transformers 5 saves the same, with the processor of texts; it goes before the other. */
const processorFile = "processor_config.json";

/** A tensor of ours and where it stands there. */
interface Place {
  own: string;
  /** Shape of ours. */
  shape: number[];
  /** One name, or three for parts of equal height. */
  theirs: readonly string[];
  /** Whether it stands there with rows and columns exchanged. */
  turned?: boolean;
}

/** All tensors of a model, in the order of our files. */
function placesOf({ jointWidth, vision, text }: ClipConfig): Place[] {
  const one = (own: string, shape: number[], theirs: string): Place => ({ own, shape, theirs: [theirs] });
  const turned = (own: string, shape: number[], theirs: string): Place => ({ own, shape, theirs: [theirs], turned: true });
  const norm = (own: string, width: number, theirs: string): Place[] =>
    ["weight", "bias"].map((part) => one(`${own}.${part}`, [width], `${theirs}.${part}`));
  const linear = (own: string, [outputs, inputs]: [number, number], theirs: string): Place[] => [
    one(`${own}.weight`, [outputs, inputs], `${theirs}.weight`),
    one(`${own}.bias`, [outputs], `${theirs}.bias`),
  ];
  const joined = (own: string, shape: number[], theirs: string, part: string): Place => ({
    own: `${own}.in_proj_${part}`,
    shape,
    theirs: ["q_proj", "k_proj", "v_proj"].map((name) => `${theirs}.${name}.${part}`),
  });
  const attention = (own: string, width: number, theirs: string): Place[] => [
    joined(`${own}.attn`, [3 * width, width], `${theirs}.self_attn`, "weight"),
    joined(`${own}.attn`, [3 * width], `${theirs}.self_attn`, "bias"),
    ...linear(`${own}.attn.out_proj`, [width, width], `${theirs}.self_attn.out_proj`),
  ];
  const mlp = (own: string, width: number, theirs: string): Place[] => [
    ...linear(`${own}.mlp.c_fc`, [4 * width, width], `${theirs}.mlp.fc1`),
    ...linear(`${own}.mlp.c_proj`, [width, 4 * width], `${theirs}.mlp.fc2`),
  ];
  const blocks = (depth: number, own: string, theirs: string, block: (own: string, theirs: string) => Place[]): Place[] =>
    Array.from({ length: depth }, (_, n) => block(`${own}.resblocks.${n}`, `${theirs}.encoder.layers.${n}`)).flat();

  const { width, patchSize, imageSize } = vision;
  const tokens = (imageSize / patchSize) ** 2 + 1;
  return [
    one("positional_embedding", [text.contextLength, text.width], "text_model.embeddings.position_embedding.weight"),
    turned("visual.proj", [width, jointWidth], "visual_projection.weight"),
    turned("text_projection", [text.width, jointWidth], "text_projection.weight"),
    one("logit_scale", [], "logit_scale"),
    one("visual.class_embedding", [width], "vision_model.embeddings.class_embedding"),
    one("visual.positional_embedding", [tokens, width], "vision_model.embeddings.position_embedding.weight"),
    one("visual.conv1.weight", [width, 3, patchSize, patchSize], "vision_model.embeddings.patch_embedding.weight"),
    // Misspelt there, for ever.
    ...norm("visual.ln_pre", width, "vision_model.pre_layrnorm"),
    ...blocks(vision.depth, "visual.transformer", "vision_model", (own, theirs) => [
      ...norm(`${own}.ln_1`, width, `${theirs}.layer_norm1`),
      ...attention(own, width, theirs),
      ...norm(`${own}.ln_2`, width, `${theirs}.layer_norm2`),
      ...mlp(own, width, theirs),
    ]),
    ...norm("visual.ln_post", width, "vision_model.post_layernorm"),
    ...blocks(text.depth, "transformer", "text_model", (own, theirs) => [
      ...attention(own, text.width, theirs),
      ...norm(`${own}.ln_1`, text.width, `${theirs}.layer_norm1`),
      ...mlp(own, text.width, theirs),
      ...norm(`${own}.ln_2`, text.width, `${theirs}.layer_norm2`),
    ]),
    one("token_embedding.weight", [text.vocabularySize, text.width], "text_model.embeddings.token_embedding.weight"),
    ...norm("ln_final", text.width, "text_model.final_layer_norm"),
  ];
}

/** Whether a folder is one of Hugging Face's, perhaps of another model than CLIP. Run folders of ours have a `config.json` too, of another kind. */
export function isHuggingFaceFolder(folder: string): boolean {
  const path = join(folder, configFile);
  if (!existsSync(path)) return false;
  const content = readJson(path, "model description");
  return isRecord(content) && (content.model_type !== undefined || content.architectures !== undefined);
}

/** What was written, and what was not. */
export interface HuggingFaceFiles {
  /** Names of the files in the folder. */
  files: string[];
  /** Whether files of a tokenizer are among them: only CLIP's own vocabulary has them. Without them, `CLIPProcessor` can't be loaded. */
  tokenizer: boolean;
  /** Weights that have no place there, since only training uses them: the head for SimCLR's loss. */
  leftOut: string[];
}

/**
 * Writes a model as transformers' `CLIPModel`, in float32, with its image processor and CLIP's tokenizer; `config.json` last, so that a
 * folder with it is whole. Other files of the folder are left as they are.
 * @throws UsageError for a model that `CLIPModel` has no place for; ModelFormatError when its weights do not fit its description
 */
export function writeHuggingFace(folder: string, { config, preprocessing, weights }: ModelContents): HuggingFaceFiles {
  const description = huggingFaceConfig(config);
  const places = placesOf(config);
  const leftOut = [...weights.keys()].filter((name) => name.startsWith("image_mlp."));
  const expected = new Map(places.map(({ own, shape }) => [own, shape]));
  const stored = checkTensors(new Map([...weights].filter(([name]) => !leftOut.includes(name))), expected, "the model");

  const tokenizer = hasClipVocabulary(config.text);
  const texts: Record<string, string> = {
    [preprocessingFile]: json(huggingFacePreprocessing(preprocessing, config.vision.imageSize)),
    ...(tokenizer && tokenizerFiles(config.text.contextLength)),
    [configFile]: json(description),
  };
  makeFolder(folder);
  replaceFileSync(join(folder, weightsFile), (beside) => {
    const tensors = places.flatMap((place) => takenApart(place, stored.get(place.own)!));
    writeSafetensors(beside, tensors, { format: "pt" });
  });
  for (const [name, text] of Object.entries(texts)) writeFileAtomic(join(folder, name), text);
  return { files: [weightsFile, ...Object.keys(texts)], tokenizer, leftOut };
}

/**
 * Reads a folder of transformers' `CLIPModel` as a model in open_clip's form; weights become float32. Tokenizer files are not looked at: texts
 * are read by CLIP's vocabulary, as always here.
 * @throws DataError when it is no such folder; ModelFormatError when a file is damaged, or tells of a model that our towers can't be
 */
export async function readHuggingFace(folder: string): Promise<ModelContents> {
  const path = join(folder, configFile);
  if (!existsSync(path)) {
    throw new DataError(
      existsSync(folder) ? `${folder}: not a folder of Hugging Face: it has no ${configFile}.` : `${folder}: no such folder.`,
    );
  }
  const config = readHuggingFaceConfig(readJson(path, "model description"), path);
  const preprocessing = readPreprocessing(folder, config.vision.imageSize);
  const file = weightsOf(folder);
  const places = placesOf(config);
  const { weights: given } = await readWeightsFile(file);
  // Files of transformers before 4.31 count positions in tensors of their own.
  for (const name of given.keys()) if (name.endsWith(".embeddings.position_ids")) given.delete(name);
  const stored = checkTensors(given, new Map(places.flatMap((place) => place.theirs.map((name) => [name, shapeThere(place)]))), file);

  const weights: Weights = new Map();
  for (const place of places) {
    weights.set(place.own, putTogether(place, stored));
    // Dropped as soon as they are copied, or a large model would be in memory twice.
    for (const name of place.theirs) {
      stored.delete(name);
      given.delete(name);
    }
  }
  return { config, preprocessing, weights };
}

/** Shape of each of the tensors that stand there for one of ours. */
function shapeThere({ shape, theirs, turned }: Place): number[] {
  if (turned) return shape.toReversed();
  return theirs.length === 1 ? shape : [shape[0]! / theirs.length, ...shape.slice(1)];
}

function takenApart({ theirs, turned }: Place, tensor: StoredTensor): [string, StoredTensor][] {
  const whole = turned ? transposed(tensor) : tensor;
  if (theirs.length === 1) return [[theirs[0]!, whole]];
  const rows = whole.shape[0]! / theirs.length;
  return theirs.map((name, part) => [name, rowsOf(whole, part * rows, (part + 1) * rows)]);
}

function putTogether({ theirs, turned }: Place, stored: ReadonlyMap<string, StoredTensor>): StoredTensor {
  const parts = theirs.map((name) => stored.get(name)!);
  if (parts.length > 1) return stacked(parts);
  return turned ? transposed(parts[0]!) : parts[0]!;
}

function weightsOf(folder: string): string {
  const file = [weightsFile, formerWeightsFile].map((name) => join(folder, name)).find((path) => existsSync(path));
  if (file !== undefined) return file;
  if (existsSync(join(folder, "onnx"))) {
    throw new ModelFormatError(`${folder}: its weights lie in ONNX graphs, from which no model is made again.`, {
      mend: "Give the model that the graphs were made of.",
    });
  }
  if (![weightsFile, formerWeightsFile].some((name) => existsSync(join(folder, `${name}.index.json`))))
    throw new ModelFormatError(`${folder}: it has no ${weightsFile}.`, { mend: "Copy or download the folder again." });
  throw new ModelFormatError(`${folder}: its weights lie in several files; only a single ${weightsFile} is read.`, {
    mend: `Write it once with transformers: \`CLIPModel.from_pretrained("${folder}").save_pretrained("OUT", max_shard_size="100GB")\`.`,
  });
}

function readPreprocessing(folder: string, imageSize: number): Preprocessing {
  for (const name of [processorFile, preprocessingFile]) {
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    const content = readJson(path, "description of image preparation");
    if (name === preprocessingFile) return readHuggingFacePreprocessing(content, imageSize, path);
    if (isRecord(content) && content.image_processor !== undefined) {
      return readHuggingFacePreprocessing(content.image_processor, imageSize, path);
    }
  }
  return openaiPreprocessing;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
