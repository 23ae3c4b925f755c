/**
 * The commands: one file each under `commands/`, loaded only when it is asked for, so that `rewrite` and `tokenize` run on machines
 * without libtorch.
 */
import type { Command } from "commander";

/** Name, what it is for (in the overview and at the head of its `--help`), and what loads the module that builds the command. */
export const commands: readonly [name: string, description: string, load: () => Promise<() => Command>][] = [
  ["demo", "rewrite, train, evaluate, report: on real pictures, in minutes", async () => (await import("./commands/demo.ts")).demoCommand],
  [
    "rewrite",
    "every caption in other words, by a language model or EDA",
    async () => (await import("./commands/rewrite.ts")).rewriteCommand,
  ],
  [
    "rewrites",
    "look at a rewrites folder, or bring it into another form",
    async () => (await import("./commands/rewrites.ts")).rewritesCommand,
  ],
  ["batch", "rewrite through batch files, OpenAI's or vLLM's", async () => (await import("./commands/batch.ts")).batchCommand],
  ["pairs", "example pairs for rewriting: look, generate, import", async () => (await import("./commands/pairs.ts")).pairsCommand],
  ["data", "pack data into tars, check tars, measure how fast data come", async () => (await import("./commands/data.ts")).dataCommand],
  ["inspect", "look at a data set before training on it", async () => (await import("./commands/inspect.ts")).inspectCommand],
  [
    "tokenize",
    "token ids as the model sees them, of lines on standard input",
    async () => (await import("./commands/tokenize.ts")).tokenizeCommand,
  ],
  ["train", "train CLIP or LaCLIP on image-text pairs", async () => (await import("./commands/train.ts")).trainCommand],
  ["launch", "several processes on this machine, training together", async () => (await import("./commands/launch.ts")).launchCommand],
  ["evaluate", "score a model, and look at scores", async () => (await import("./commands/evaluate.ts")).evaluateCommand],
  ["embed", "features of images or texts", async () => (await import("./commands/embed.ts")).embedCommand],
  ["convert", "a model into or from another project's form", async () => (await import("./commands/convert.ts")).convertCommand],
  ["doctor", "what this machine has, how fast it is, what to mend", async () => (await import("./commands/doctor.ts")).doctorCommand],
];
