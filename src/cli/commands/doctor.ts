/**
 * `laclip doctor`: what this machine has, how fast it is, and what to mend.
 */
import type { Command } from "commander";
import { UsageError, exitCodes, gibibytes } from "../../support/index.ts";
import { coloured, command, examples, print } from "../command.ts";
import { deviceFlag } from "../device-option.ts";
import { type Diagnosis, diagnose } from "../diagnosis.ts";
import { parseWhole } from "../options.ts";
import type { OverfitFlags } from "./doctor-overfit.ts";

type DoctorFlags = OverfitFlags & { overfit?: boolean };

/** How the help of a flag begins that has no meaning for the plain doctor. */
const belongs = "with --overfit: ";

export function doctorCommand(): Command {
  const doctor = command("doctor")
    .option("--overfit", "instead: train on one batch until it is learnt by heart, and say what is wrong when it is not")
    .option("--recipe <recipe>", `${belongs}a recipe's name or file`, "emoji-clip")
    .option("--data <file>", belongs + "the data, as of `laclip train` (default: pictures drawn on the spot)")
    .option("--images <folder>", `${belongs}folder that image paths are relative to`)
    .option("--rewrites <folder>", `${belongs}rewrites folder`)
    .option(
      "--set <key=value>",
      `${belongs}change a number of the recipe; may be repeated`,
      (value, before: string[]) => [...before, value],
      [] as string[],
    )
    .option("--device <name>", `${belongs}${deviceFlag("to train")[1]}`)
    .option("--batch-size <samples>", `${belongs}samples of the batch`, parseWhole(2), 16)
    .option("--steps <count>", `${belongs}steps at most`, parseWhole(1), 300)
    .action(run);
  return examples(
    doctor,
    "laclip doctor",
    "laclip doctor --json | jq .gemm",
    "laclip doctor --overfit --data captions.csv --images images --recipe emoji-clip",
  );
}

async function run(flags: DoctorFlags, doctor: Command): Promise<void> {
  // Loaded only when asked for: the plain doctor must run where the library does not load.
  if (flags.overfit === true) return await (await import("./doctor-overfit.ts")).doctorOverfit(flags);
  const idle = doctor.options.filter(
    (option) => option.description.startsWith(belongs) && doctor.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (idle.length > 0) {
    throw new UsageError(`doctor: ${idle.map(({ long }) => long).join(", ")} without --overfit would change nothing.`, {
      mend: "Add --overfit to train on one batch, or leave it out to have the machine looked at.",
    });
  }
  const diagnosis = await diagnose();
  print(flags.json === true ? diagnosis : describe(diagnosis));
  if (!diagnosis.ok) process.exitCode = exitCodes.failure;
}

/** The diagnosis as lines for a person. */
export function describe(found: Diagnosis): string {
  const { node, libtorch, blas, threads, gemm, gpus, ranks, sharp, images, llamaCpp, disk, memoryBytes, notes, problems } = found;
  const rows: [name: string, value: string][] = [
    ["Node", `${node.version} (${node.arch})`],
    ["libtorch", libtorch === null ? "not set up" : `${libtorch.version}, ${libtorch.kind}, ${libtorch.path}`],
    ["addon", libtorch === null ? "not built" : libtorch.addon],
    ["BLAS", blas === null ? "unknown" : [blas.name, blas.file].filter((part) => part !== null).join(", ")],
    ["threads", `${threads.used ?? "unknown"} on ${threads.processors} processors`],
    ...gemm.map(({ device, float32, bfloat16 }): [string, string] => [
      `GEMM on ${device}`,
      `${float32.toFixed(0)} GFLOP/s float32, ${bfloat16.toFixed(0)} GFLOP/s bfloat16`,
    ]),
    ["GPU", gpus.length === 0 ? "no NVIDIA GPU" : gpus.join(", ")],
    ["many processes", describeRanks(ranks)],
    ["sharp", sharp === null ? "does not load" : `${sharp.version}, libvips ${sharp.libvips}`],
    [
      "images",
      images.addon === null
        ? "sharp alone"
        : images.libjpeg === null
          ? "addon without libjpeg-turbo, sharp"
          : `addon with libjpeg-turbo ${images.libjpeg}, sharp`,
    ],
    [
      "llama.cpp",
      llamaCpp === null
        ? "not available: `--llm FILE.gguf` needs `npm install node-llama-cpp`; servers and `--llm eda` work without"
        : `node-llama-cpp ${llamaCpp.version}, ${llamaCpp.gpu === null ? "CPU" : `${llamaCpp.gpu} on ${llamaCpp.devices.join(", ")}`}`,
    ],
    ["disk", `${gibibytes(disk.freeBytes)} GiB free of ${gibibytes(disk.totalBytes)} GiB (${disk.folder})`],
    ["memory", `${gibibytes(memoryBytes)} GiB`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    ...rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    "",
    ...notes.map((note) => coloured("yellow", note)),
    ...(problems.length === 0
      ? [coloured("green", "All is well.")]
      : problems.flatMap(({ what, mend }) => [coloured("red", `To mend: ${what}`), `  ${coloured("cyan", mend)}`])),
  ].join("\n");
}

function describeRanks(ranks: Diagnosis["ranks"]): string {
  if (ranks === null) return "unknown";
  const gloo = ranks.gloo
    ? "Gloo between CPUs"
    : "no Gloo between CPUs (it takes the distribution's libtorch-dev and libgloo-dev, and `npm run setup`)";
  return ranks.nccl ? `${gloo}, NCCL between GPUs` : gloo;
}
