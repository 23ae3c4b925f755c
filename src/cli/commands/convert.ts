/** `laclip convert`: a model from another project's form into ours, or the other way round. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ModelForm, checkNewFolder, modelForms, readModel, writeModel } from "../../exchange/index.ts";
import { imagenetPreprocessing, openaiPreprocessing } from "../../models/index.ts";
import { log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { version } from "../version.ts";

const normalisations = { imagenet: imagenetPreprocessing, openai: openaiPreprocessing } as const;

interface ConvertFlags {
  to: ModelForm;
  activation?: "gelu" | "quick-gelu";
  heads?: { image: number; text: number };
  pixels?: keyof typeof normalisations;
  json?: boolean;
}

export function convertCommand(): Command {
  const built = command("convert")
    .argument(
      "<model>",
      "a model folder of this program, of open_clip or of Hugging Face; or a file of weights: .safetensors, or PyTorch's .pt, .pth, .bin",
    )
    .argument("<out>", "a new folder")
    .addOption(new Option("--to <form>", "whose form the new folder has").choices(modelForms).default("laclip"))
    .addOption(
      new Option("--activation <name>", "of weights in OpenAI's and open_clip's names, which don't show it").choices([
        "gelu",
        "quick-gelu",
      ]),
    )
    .option("--heads <image,text>", "of weights: attention heads of the towers (default: what models of these sizes have)", parseHeads)
    .addOption(
      new Option(
        "--pixels <values>",
        "of weights: whose mean, deviation and resize images are made ready by (default: by the weights' names)",
      ).choices(Object.keys(normalisations)),
    )
    .action(run);
  return examples(
    built,
    "laclip convert cc12m_laclip.pt models/laclip-cc12m",
    "laclip convert ViT-B-32.pt models/openai-b32",
    "laclip convert runs/b16/model out/b16 --to open-clip",
  );
}

async function run(path: string, out: string, { to, activation, heads, pixels, json }: ConvertFlags): Promise<void> {
  // Reading may take a while, and would be in vain.
  checkNewFolder(out);
  const { form, ...model } = await readModel(path, { activation, heads, preprocessing: pixels && normalisations[pixels] });
  const signal = interruptSignal("stopping; nothing is left behind");
  const { files, parameters, notes } = await writeModel(out, to, model, { version, signal });
  const { config, preprocessing } = model;
  if (json) return print({ path, form, out, to, files, parameters, config, preprocessing, notes });
  const { vision, text } = config;
  const tower = ({ width, depth, heads: count }: typeof text | typeof vision): string => `${width} wide, ${depth} deep, ${count} heads`;
  print(
    [
      `Images: ${vision.imageSize} pixels in patches of ${vision.patchSize}; ${tower(vision)}; ${vision.activation ?? "gelu"}`,
      `Texts: ${text.contextLength} tokens; ${tower(text)}; ${text.activation ?? "quick-gelu"}`,
      `Pixels: mean ${preprocessing.mean.join(", ")}; deviation ${preprocessing.std.join(", ")}; ${preprocessing.interpolation}`,
      `${parameters.toLocaleString("en")} parameters in ${out}: ${files.join(", ")}`,
    ].join("\n"),
  );
  for (const note of notes) log.info(note);
}

function parseHeads(value: string): { image: number; text: number } {
  const [image, text, ...more] = value.split(",").map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : Number.NaN));
  if (!image || !text || more.length > 0) throw new InvalidArgumentError("Expected two numbers, as in 12,8.");
  return { image, text };
}
