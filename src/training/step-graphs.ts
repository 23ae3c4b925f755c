/**
 * Steps whose forward and backward pass are recorded once and then given to the device by one call, see `Graph`.
 *
 * A graph has the shapes that it was recorded with, and texts have other lengths in every batch. So rows of tokens are made as long as the
 * model takes them, and the number of all tokens is made a multiple by spare ones that no text reads: few shapes are left, each with a
 * graph of its own. A shape is recorded when it comes for the second time; the first step of it, and shapes beyond the most that are
 * kept, are computed as ever, with the same numbers bit by bit.
 *
 * Norm, decision and update stay outside: they are some ten calls, and the decision is the host's.
 */
import { type Clip, takesPackedTexts } from "../models/index.ts";
import type { LossReport } from "../objectives/index.ts";
import { NativeError, log } from "../support/index.ts";
import { Graph, type Tensor, full } from "../torch/index.ts";
import { backwardWhole } from "./cached-gradients.ts";
import { type StepTensors, bringToDevice, disposeTensors } from "./step-tensors.ts";
import type { StepContext, StepInput } from "./step.ts";

export interface StepGraphsOptions {
  /** Graphs that are kept at most; each has gradients of its own. Default 4. */
  most?: number;
  /** Makes the number of tokens a multiple. Default: 256, and more with the root of the number of texts, by which their sum varies. */
  tokenStep?: number | undefined;
}

/** A graph, and the tensors that it reads and writes. */
interface RecordedStep {
  graph: Graph;
  inputs: StepTensors;
  report: LossReport;
  gradients: [parameter: Tensor, gradient: Tensor][];
}

/** Why the steps of a run can't be recorded; undefined where they can be. */
export function graphObstacle({ device, ranks, microBatch, model }: Pick<StepContext, "device" | "ranks" | "microBatch" | "model">) {
  if (device === "cpu") return "the processor has no graphs";
  if (ranks !== undefined) return "gradients are exchanged with other processes";
  if (microBatch !== undefined) return "the batch is cut into micro-batches";
  if (model.recomputesBlocks) return "blocks are computed again in the backward pass";
  if (!takesPackedTexts(model.config, device)) return "there is no attention for texts of different lengths on this device";
  return undefined;
}

export class StepGraphs {
  readonly #most: number;
  readonly #tokenStep: number | undefined;
  readonly #recorded = new Map<string, RecordedStep>();
  readonly #seen = new Set<string>();
  #failed = false;

  constructor({ most = 4, tokenStep }: StepGraphsOptions = {}) {
    this.#most = most;
    this.#tokenStep = tokenStep;
  }

  /** Graphs that have been recorded. */
  get count(): number {
    return this.#recorded.size;
  }

  /** The same batch in one of few shapes, before it is brought to the device. */
  prepare(input: StepInput, { config }: Pick<Clip, "config">): StepInput {
    const { tokens, tokenLength } = input;
    const { contextLength } = config.text;
    const texts = tokens.length / tokenLength;
    const wide = new Int32Array(texts * contextLength);
    for (let text = 0; text < texts; text++) {
      wide.set(tokens.subarray(text * tokenLength, (text + 1) * tokenLength), text * contextLength);
    }
    const tokenStep = this.#tokenStep ?? 256 * Math.ceil(Math.sqrt(texts / 256));
    return { ...input, tokens: wide, tokenLength: contextLength, tokenStep };
  }

  /** `backwardWhole` of a batch that `prepare` has made ready. What it returns holds until the next step. */
  backward(context: StepContext, input: StepInput): LossReport {
    const brought = input.there === undefined ? bringToDevice(input, context.device, false) : undefined;
    const there = input.there ?? brought!;
    try {
      const recorded = this.#find(context, { ...input, there });
      return recorded === undefined ? this.#anew(context, { ...input, there }) : again(recorded, there, context);
    } finally {
      if (brought !== undefined) disposeTensors(brought);
    }
  }

  /** Frees all graphs. */
  dispose(): void {
    for (const recorded of this.#recorded.values()) disposeRecorded(recorded);
    this.#recorded.clear();
  }

  /** A step without a graph. Graphs keep their memory, and where too little is left beside it they are given up. */
  #anew(context: StepContext, input: StepInput): LossReport {
    try {
      return backwardWhole(context, input);
    } catch (error) {
      if (this.#recorded.size === 0 || !(error instanceof NativeError) || !/out of memory/i.test(error.message)) throw error;
      log.warn("Beside the recorded steps there is too little memory for others: steps are computed without graphs from now on.");
      this.dispose();
      this.#failed = true;
      context.model.zeroGrad();
      return backwardWhole(context, input);
    }
  }

  #find(context: StepContext, input: StepInput & { there: StepTensors }): RecordedStep | undefined {
    const shapes = Object.entries(input.there).map(([name, tensor]: [string, Tensor]) => `${name} ${tensor.shape.join("x")}`);
    const key = shapes.join(", ");
    const found = this.#recorded.get(key);
    if (found !== undefined) return found;
    const first = !this.#seen.has(key);
    this.#seen.add(key);
    if (first || this.#failed || this.#recorded.size >= this.#most) return undefined;
    const recorded = this.#record(context, input);
    if (recorded !== undefined) this.#recorded.set(key, recorded);
    return recorded;
  }

  #record(context: StepContext, input: StepInput & { there: StepTensors }): RecordedStep | undefined {
    const { model, device, scaler } = context;
    model.zeroGrad();
    const made: Partial<Record<string, Tensor>> = {};
    const inputs = made as unknown as StepTensors;
    try {
      for (const [name, tensor] of Object.entries(input.there) as [string, Tensor][]) made[name] = tensor.clone().keep();
      if (scaler !== undefined) inputs.lossScale = full([], Math.fround(scaler.scale), { device }).keep();
      const { graph, result: report } = Graph.record(device, () => backwardWhole(context, { ...input, there: inputs }));
      for (const tensor of [report.loss, ...Object.values(report.metrics)]) tensor.keep();
      const gradients = model.parameters().flatMap((parameter): RecordedStep["gradients"] => {
        const gradient = parameter.grad;
        return gradient === undefined ? [] : [[parameter, gradient.keep()]];
      });
      model.zeroGrad();
      return { graph, inputs, report, gradients };
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      this.#failed = true;
      model.zeroGrad();
      disposeTensors(inputs);
      log.warn(`A step could not be recorded as a graph, and steps are computed without: ${error.message.split("\n")[0]}`);
      return undefined;
    }
  }
}

/** Does a recorded step with the arrays of another batch. */
function again({ graph, inputs, report, gradients }: RecordedStep, there: StepTensors, { scaler }: StepContext): LossReport {
  for (const [name, tensor] of Object.entries(there) as [keyof StepTensors, Tensor][]) inputs[name]!.copy_(tensor);
  // As float32 has it: a factor that is too large for that is infinite, as where the loss is multiplied with it.
  inputs.lossScale?.fill_(Math.fround(scaler!.scale));
  graph.replay();
  for (const [parameter, gradient] of gradients) parameter.grad = gradient;
  return report;
}

function disposeRecorded({ graph, inputs, report, gradients }: RecordedStep): void {
  graph.dispose();
  disposeTensors(inputs);
  for (const tensor of [report.loss, ...Object.values(report.metrics), ...gradients.map(([, gradient]) => gradient)]) tensor.dispose();
}
