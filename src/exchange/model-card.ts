/** The README.md beside a model: what it is and how it is loaded. Hugging Face's Hub reads the lines at its head. */
import { basename, resolve } from "node:path";
import type { ModelContents } from "../models/index.ts";

/** Whose folder it is. */
export type CardOf = "open-clip" | "hugging-face" | "onnx";

const libraries = { "open-clip": "open_clip", "hugging-face": "transformers", onnx: "transformers.js" } as const;

/**
 * The text of README.md. It says nothing of data, results and licence, which nobody but the model's owner knows.
 * @param folder where the model will lie; its last part is the model's name
 */
export function modelCard(of: CardOf, folder: string, { config, preprocessing }: Omit<ModelContents, "weights">): string {
  const { vision, text, jointWidth } = config;
  const name = basename(resolve(folder));
  const isTimm = of === "open-clip" && vision.form !== "open-clip";
  const activations = `${vision.activation ?? "gelu"} for images, ${text.activation ?? "quick-gelu"} for texts`;
  return `---
library_name: ${libraries[of]}
pipeline_tag: zero-shot-image-classification
tags:
- clip
---
# ${name}

A CLIP model. Data, results and licence: to be written by whoever trained it.

- **Images:** ${vision.imageSize} pixels in patches of ${vision.patchSize}; a vision transformer ${vision.width} wide, ${vision.depth} deep, ${vision.heads} heads${vision.qkNorm ? ", norms on queries and keys" : ""}
- **Texts:** up to ${text.contextLength} tokens; a transformer ${text.width} wide, ${text.depth} deep, ${text.heads} heads
- **Features:** ${jointWidth} numbers
- **Activation:** ${activations}
- **Pixels:** mean ${preprocessing.mean.join(", ")}; deviation ${preprocessing.std.join(", ")}; resized ${preprocessing.interpolation}

## Use

\`\`\`${of === "onnx" ? "js" : "python"}
${uses[of](name)}
\`\`\`
${isTimm ? "\nThe image tower is timm's, with options (`timm_model_kwargs`) that open_clip knows since May 2026: its main branch, or a release after 3.3.0.\n" : ""}`;
}

function openClipUse(name: string): string {
  return `import open_clip

model, preprocess = open_clip.create_model_from_pretrained("local-dir:${name}")
tokenizer = open_clip.get_tokenizer("local-dir:${name}")`;
}

function huggingFaceUse(name: string): string {
  return `from transformers import CLIPModel, CLIPProcessor

model = CLIPModel.from_pretrained("${name}")
processor = CLIPProcessor.from_pretrained("${name}")`;
}

function onnxUse(name: string): string {
  return `import { AutoProcessor, AutoTokenizer, CLIPTextModelWithProjection, CLIPVisionModelWithProjection, RawImage, env } from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = "./"; // the folder that "${name}" lies in
const tokenizer = await AutoTokenizer.from_pretrained("${name}");
const textModel = await CLIPTextModelWithProjection.from_pretrained("${name}");
const { text_embeds } = await textModel(tokenizer(["a photo of a cat"], { padding: true, truncation: true }));
const processor = await AutoProcessor.from_pretrained("${name}");
const visionModel = await CLIPVisionModelWithProjection.from_pretrained("${name}");
const { image_embeds } = await visionModel(await processor(await RawImage.read("cat.jpg")));`;
}

const uses = { "open-clip": openClipUse, "hugging-face": huggingFaceUse, onnx: onnxUse } as const;
