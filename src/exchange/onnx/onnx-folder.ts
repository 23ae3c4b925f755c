/**
 * Folders with a model as ONNX graphs, which onnxruntime runs anywhere and transformers.js loads as a model of type "clip".
 *
 * Names of files, inputs and outputs are those of Hugging Face's exports. transformers.js only feeds the graphs, so that LaCLIP's image tower,
 * for which transformers has no place, is there like any other; `config.json` then says no more of it than its sizes.
 */
import { join } from "node:path";
import { writeParts } from "../../formats/index.ts";
import { type ClipConfig, type ModelContents, weightShapes } from "../../models/index.ts";
import { UsageError, formatBytes, makeFolder, writeFileSynced } from "../../support/index.ts";
import { checkTensors } from "../check-tensors.ts";
import { huggingFaceConfig, huggingFacePreprocessing } from "../hugging-face-config.ts";
import { hasClipVocabulary, tokenizerFiles } from "../tokenizer-files.ts";
import type { Weights } from "../weights-file.ts";
import { OnnxGraph, type Value } from "./onnx-graph.ts";
import { OnnxTowers } from "./onnx-towers.ts";

/** How the graphs are written. */
export interface OnnxOptions {
  /** Of this program, which the graphs say they were made by. */
  version?: string | undefined;
  /** Bytes that a file may have at most. Default 2 GiB less one, where Protocol Buffers end. */
  largestFile?: number;
}

/** What was written beside the graphs of the towers. */
export interface OnnxFiles {
  /** Whether files of a tokenizer are there: only CLIP's own vocabulary has them. */
  tokenizer: boolean;
  /** Whether there is `model.onnx`, both towers in one graph. There is not where it would be larger than such a file may be. */
  joined: boolean;
}

/**
 * Writes the graphs, their description and the tokenizer.
 * @throws UsageError when a tower is larger than a file may be; ModelFormatError when weights do not fit their description
 */
export function writeOnnx(
  folder: string,
  { config, preprocessing, weights }: ModelContents,
  { version, largestFile = 2 ** 31 - 1 }: OnnxOptions = {},
): OnnxFiles {
  const checked = checkTensors(weights, weightShapes(config), "the model");
  const graphs = { "vision_model.onnx": visionGraph, "text_model.onnx": textGraph, "model.onnx": joinedGraph };
  const models = Object.entries(graphs).map(([name, graph]) => ({ name, file: graph(config, checked).model(version) }));
  const tooLarge = models.filter(({ file }) => file.byteLength > largestFile);
  const tower = tooLarge.find(({ name }) => name !== "model.onnx");
  if (tower) {
    throw new UsageError(
      `A file of ONNX has at most ${formatBytes(largestFile)}; ${tower.name} would have ${formatBytes(tower.file.byteLength)}.`,
    );
  }
  makeFolder(join(folder, "onnx"));
  for (const model of models) if (!tooLarge.includes(model)) writeParts(join(folder, "onnx", model.name), model.file.parts());

  const tokenizer = hasClipVocabulary(config.text);
  const texts: Record<string, string> = {
    "preprocessor_config.json": json(huggingFacePreprocessing(preprocessing, config.vision.imageSize)),
    ...(tokenizer && tokenizerFiles(config.text.contextLength)),
    "config.json": json(description(config)),
  };
  for (const [name, text] of Object.entries(texts)) writeFileSynced(join(folder, name), text);
  return { tokenizer, joined: tooLarge.length === 0 };
}

/**
 * `config.json`. Of what transformers' own class can't be, it gives the sizes alone, without the name of the class. transformers.js would look
 * for 8-bit graphs in browsers, if it were not told that these are float32.
 */
function description({ logitBias, ...config }: ClipConfig): Record<string, unknown> {
  const { vision } = config;
  const isTheirs = vision.form === "open-clip" && logitBias === undefined;
  const { architectures, ...sizes } = huggingFaceConfig({ ...config, vision: { ...vision, form: "open-clip", qkNorm: false } });
  return { ...(isTheirs && { architectures }), ...sizes, "transformers.js_config": { dtype: "fp32" } };
}

function visionGraph(config: ClipConfig, weights: Weights): OnnxGraph {
  const graph = new OnnxGraph();
  const embeds = new OnnxTowers(graph, config, weights).encodeImages(pixelValues(graph, config, "batch_size"));
  graph.output("image_embeds", embeds, ["batch_size", config.jointWidth]);
  return graph;
}

function textGraph(config: ClipConfig, weights: Weights): OnnxGraph {
  const graph = new OnnxGraph();
  const embeds = new OnnxTowers(graph, config, weights).encodeTexts(inputIds(graph, "batch_size"));
  graph.output("text_embeds", embeds, ["batch_size", config.jointWidth]);
  return graph;
}

/** Features of length 1, as transformers has them in this graph, and how alike they are. */
function joinedGraph(config: ClipConfig, weights: Weights): OnnxGraph {
  const graph = new OnnxGraph();
  const towers = new OnnxTowers(graph, config, weights);
  const [images, texts] = ["image_batch_size", "text_batch_size"] as const;
  const ids = inputIds(graph, texts);
  const pixels = pixelValues(graph, config, images);
  const unit = (x: Value): Value => {
    const length = graph.compute("ReduceL2", [x], { axes: [-1], keepdims: 1 });
    return graph.compute("Div", [x, graph.compute("Max", [length, graph.float(1e-12)])]);
  };
  const image = unit(towers.encodeImages(pixels));
  const text = unit(towers.encodeTexts(ids));
  const turn = (x: Value): Value => graph.compute("Transpose", [x], { perm: [1, 0] });
  const scale = graph.compute("Exp", [graph.weight("logit_scale", weights.get("logit_scale")!)]);
  const scaled = graph.compute("Mul", [graph.compute("MatMul", [text, turn(image)]), scale]);
  const bias = weights.get("logit_bias");
  const logits = bias ? graph.compute("Add", [scaled, graph.weight("logit_bias", bias)]) : scaled;
  graph.output("logits_per_image", turn(logits), [images, texts]);
  graph.output("logits_per_text", logits, [texts, images]);
  graph.output("text_embeds", text, [texts, config.jointWidth]);
  graph.output("image_embeds", image, [images, config.jointWidth]);
  return graph;
}

function pixelValues(graph: OnnxGraph, { vision: { imageSize } }: ClipConfig, batch: string): Value {
  return graph.input("pixel_values", "F32", [batch, 3, imageSize, imageSize]);
}

function inputIds(graph: OnnxGraph, batch: string): Value {
  const ids = graph.input("input_ids", "I64", [batch, "sequence_length"]);
  // Taken because transformers.js gives it and warns where it is not wanted. Nothing needs it: padding lies behind the end of a text.
  graph.input("attention_mask", "I64", [batch, "sequence_length"]);
  return ids;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
