/**
 * Numbers of "Improving CLIP Training with Language Rewrites" (Fan et al., arXiv 2305.20088).
 *
 * Verified: the ImageNet numbers, in the table of the README of LijieFan/LaCLIP; the numbers by rewrites, off the plot asset/result.png
 * there. Remembered: the rows of single data sets (the paper's tables could not be read when this was written; the means of these rows
 * agree with the averages that are remembered, which is a check of the typing and no source). Of few-shot and linear probe no number is
 * known well enough to stand here: only that LaCLIP is above CLIP in most of them.
 *
 * Protocols: the README's evaluation of the CC3M, CC12M and RedCaps models has 7 templates for ImageNet, ImageNet's mean and a bilinear
 * resize; that of the LAION-400M models 80 templates, OpenAI's mean and a bicubic one. For the other data sets, prompts are said to be those
 * of the CLIP paper, whose counts SLIP's files give.
 */
import type { Mark, PublishedModel, PublishedNumber, PublishedProtocol } from "./published.ts";

const readme = "README of LijieFan/LaCLIP";
const plot = "plot asset/result.png of LijieFan/LaCLIP, read to 0.1";
const tables = "tables of arXiv 2305.20088, from memory";

/** Preparation of images, and templates for ImageNet. */
const slipLine: PublishedProtocol = { normalisation: "imagenet", interpolation: "bilinear", templates: 7 };
const laionLine: PublishedProtocol = { normalisation: "openai", interpolation: "bicubic", templates: 80 };

/** The 15 data sets in the order of the rows below, with the prompts in SLIP's files and the metric. */
const downstream: readonly { dataset: string; templates: number; metric?: "mean_per_class_recall" }[] = [
  { dataset: "food101", templates: 1 },
  { dataset: "cifar10", templates: 18 },
  { dataset: "cifar100", templates: 18 },
  { dataset: "sun397", templates: 2 },
  { dataset: "cars", templates: 8 },
  { dataset: "fgvc_aircraft", templates: 2, metric: "mean_per_class_recall" },
  { dataset: "dtd", templates: 8 },
  { dataset: "pets", templates: 1, metric: "mean_per_class_recall" },
  { dataset: "caltech101", templates: 34, metric: "mean_per_class_recall" },
  { dataset: "flowers", templates: 1, metric: "mean_per_class_recall" },
  { dataset: "stl10", templates: 2 },
  { dataset: "eurosat", templates: 3 },
  { dataset: "resisc45", templates: 18 },
  { dataset: "gtsrb", templates: 3 },
  { dataset: "country211", templates: 5 },
];

function imagenet(percent: number, mark: Mark, source: string, protocol: PublishedProtocol): PublishedNumber {
  return { dataset: "imagenet1k", task: "zero-shot", metric: "acc1", value: percent / 100, mark, source, protocol };
}

/** @param percents in the order of `downstream` */
function rows(protocol: PublishedProtocol, percents: readonly number[]): PublishedNumber[] {
  return downstream.map(({ dataset, templates, metric = "acc1" }, i) => ({
    dataset,
    task: "zero-shot",
    metric,
    value: percents[i]! / 100,
    mark: "remembered",
    source: tables,
    protocol: { ...protocol, templates },
  }));
}

/** A model that is trained on one of the three smaller data sets. */
function slipModel(
  method: string,
  data: string,
  first: readonly [percent: number, mark?: Mark, source?: string],
  percents: readonly number[] = [],
  backbone = "B",
): PublishedModel {
  const [percent, mark = "verified", source = readme] = first;
  return {
    name: `${method.toLowerCase()}-${data.toLowerCase()}-vit-${backbone.toLowerCase()}-16`,
    title: `${method}, ${data}, ViT-${backbone}/16`,
    numbers: [imagenet(percent, mark, source, slipLine), ...(percents.length === 0 ? [] : rows(slipLine, percents))],
  };
}

function laionModel(method: string, backbone: string, percent: number, percents: readonly number[] = []): PublishedModel {
  return {
    name: `${method.toLowerCase()}-laion400m-vit-${backbone.toLowerCase().replace("/", "-")}`,
    title: `${method}, LAION-400M, ViT-${backbone}`,
    numbers: [imagenet(percent, "verified", readme, laionLine), ...(percents.length === 0 ? [] : rows(laionLine, percents))],
  };
}

/** A model on CC12M whose rewrites are fewer, or are made otherwise. */
function ablation(name: string, title: string, percent: number): PublishedModel {
  return { name, title: `${title}, CC12M, ViT-B/16`, numbers: [imagenet(percent, "figure", plot, slipLine)] };
}

/** Models of the paper, each with all that is known of it. */
export const laclipModels: readonly PublishedModel[] = [
  slipModel("CLIP", "CC3M", [15.8], [10.3, 54.9, 21.8, 25.0, 0.8, 1.4, 10.5, 12.8, 43.3, 10.2, 77.6, 14.1, 19.1, 6.9, 0.6]),
  slipModel("LaCLIP", "CC3M", [21.5], [14.2, 57.1, 27.5, 35.1, 1.6, 1.6, 16.6, 15.6, 52.7, 14.7, 86.2, 15.0, 24.3, 6.4, 1.0]),
  slipModel("CLIP", "CC12M", [40.2], [50.8, 64.9, 38.5, 44.7, 24.1, 2.4, 19.4, 64.1, 77.4, 33.2, 91.0, 20.1, 38.9, 7.3, 5.1]),
  slipModel("LaCLIP", "CC12M", [48.4], [60.7, 75.1, 43.9, 57.0, 36.3, 5.6, 31.0, 72.4, 83.3, 39.9, 95.1, 27.3, 44.3, 12.7, 8.9]),
  slipModel("SLIP", "CC12M", [42.1, "remembered", tables]),
  slipModel(
    "LaSLIP",
    "CC12M",
    [49.7, "remembered", tables],
    [62.9, 82.0, 50.2, 59.6, 32.2, 4.4, 30.1, 70.6, 82.4, 37.4, 95.0, 20.2, 45.6, 10.1, 9.2],
  ),
  slipModel("LaCLIP-MT", "CC12M", [49.0, "remembered", tables]),
  slipModel("CLIP", "CC12M", [36.9, "remembered", tables], [], "S"),
  slipModel("LaCLIP", "CC12M", [46.3, "remembered", tables], [], "S"),
  slipModel("CLIP", "CC12M", [44.0, "remembered", tables], [], "L"),
  slipModel("LaCLIP", "CC12M", [49.1, "remembered", tables], [], "L"),
  slipModel("CLIP", "RedCaps", [42.9], [81.5, 70.4, 39.9, 33.2, 19.2, 1.9, 19.7, 82.7, 72.8, 53.9, 92.8, 23.3, 33.6, 8.3, 6.2]),
  slipModel("LaCLIP", "RedCaps", [46.2], [85.0, 74.8, 40.7, 40.3, 21.3, 2.2, 23.9, 78.2, 76.4, 59.0, 91.4, 27.1, 41.3, 5.6, 7.6]),
  slipModel("LaCLIP-MT", "RedCaps", [48.1, "remembered", tables]),
  laionModel("CLIP", "B/32", 62.0, [85.5, 93.0, 71.7, 66.8, 83.5, 16.7, 52.8, 90.1, 91.2, 63.9, 97.3, 42.4, 63.3, 46.1, 17.8]),
  laionModel("LaCLIP", "B/32", 64.4),
  laionModel("CLIP", "B/16", 67.0),
  laionModel("LaCLIP", "B/16", 69.3),
  laionModel("CLIP", "L/14", 71.8),
  laionModel("LaCLIP", "L/14", 74.5),
  ablation("laclip-cc12m-1-rewrite", "LaCLIP with 1 rewrite (ChatGPT)", 44.5),
  ablation("laclip-cc12m-2-rewrites", "LaCLIP with 2 rewrites (+ Bard)", 46.5),
  ablation("laclip-cc12m-3-rewrites", "LaCLIP with 3 rewrites (+ COCO)", 47.7),
  ...[40.2, 41.1, 41.7, 41.2].map((percent, i) => ablation(`eda-cc12m-${i + 1}`, `CLIP with ${i + 1} by EDA`, percent)),
  ...[40.1, 41.0, 41.5, 41.6].map((percent, i) =>
    ablation(`back-translation-cc12m-${i + 1}`, `CLIP with ${i + 1} by back-translation`, percent),
  ),
];
