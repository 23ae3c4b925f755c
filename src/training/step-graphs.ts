/**
 * Steps that are recorded once and then given to the device by one call, see `Graph`: forward and backward pass, norm, the decision whether
 * the weights change, and their update.
 *
 * A graph has the shapes that it was recorded with, and texts have other lengths in every batch. So rows of tokens are made as long as the
 * model takes them, and the number of all tokens is made a multiple by spare ones that no text reads: few shapes are left, each with a
 * graph of its own. A shape is recorded when it comes for the second time; the first step of it, and shapes beyond the most that are
 * kept, are computed as ever, with the same numbers bit by bit.
 *
 * What changes from step to step beside the batch lies in scalars that are overwritten before: learning rate and number of the step, the
 * limits that decide, and the loss's scale. The host decides once more by what comes back, so that both must agree.
 */
import { type Clip, takesPackedTexts } from "../models/index.ts";
import { NativeError, log } from "../support/index.ts";
import { Graph, type Tensor, full, isOutOfMemory } from "../torch/index.ts";
import { type StepFindings, type StepLimits, findGradients, updateWithin } from "./step-findings.ts";
import { type StepTensors, bringToDevice, disposeTensors } from "./step-tensors.ts";
import type { StepContext, StepInput, StepJudge } from "./step.ts";

/** How many graphs are kept, and how rows of tokens are rounded up to meet them. */
export interface StepGraphsOptions {
  /** Graphs that are kept at most. Default 4. */
  most?: number;
  /** Makes the number of tokens a multiple. Default: 256, and more with the root of the number of texts, by which their sum varies. */
  tokenStep?: number | undefined;
}

/** What a step is given beside its batch. */
export interface StepPlan {
  measureGradient: boolean;
  lr: number;
  judge: StepJudge;
}

/** Scalars on the device. */
interface StepNumbers {
  limits: Record<keyof StepLimits, Tensor>;
  /** float32 */
  inverseScale?: Tensor;
}

/** A graph, and the tensors that it reads and writes. */
interface RecordedStep {
  graph: Graph;
  inputs: StepTensors;
  numbers: StepNumbers;
  findings: StepFindings;
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

/** Takes training steps as `trainStep` does, recorded where their shape has come before. */
export class StepGraphs {
  readonly #most: number;
  readonly #tokenStep: number | undefined;
  readonly #recorded = new Map<string, RecordedStep>();
  readonly #seen = new Set<string>();
  #failed = false;
  #replays = 0;

  constructor({ most = 4, tokenStep }: StepGraphsOptions = {}) {
    this.#most = most;
    this.#tokenStep = tokenStep;
  }

  /** Graphs that have been recorded. */
  get count(): number {
    return this.#recorded.size;
  }

  /** Steps that were given to the device by one call. */
  get replays(): number {
    return this.#replays;
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

  /**
   * A step on a batch that `prepare` has made ready, up to its update where it was recorded, else up to the decision. What it returns
   * holds until the next step.
   */
  find(context: StepContext, input: StepInput, plan: StepPlan): StepFindings {
    const brought = input.there === undefined ? bringToDevice(input, context.device, false) : undefined;
    const there = input.there ?? brought!;
    try {
      const recorded = this.#recordedFor(context, { ...input, there }, plan);
      if (recorded === undefined) return this.#anew(context, { ...input, there }, plan);
      this.#replays++;
      return again(recorded, there, context, plan);
    } finally {
      if (brought !== undefined) disposeTensors(brought);
    }
  }

  /** Frees all graphs, which keep their memory, and records no more: without them there is more of it. What was found is gone with them. */
  giveUp(): void {
    log.warn("Beside the recorded steps there is too little memory for others: steps are computed without graphs from now on.");
    this.dispose();
    this.#failed = true;
  }

  /** Frees all graphs. */
  dispose(): void {
    for (const recorded of this.#recorded.values()) disposeRecorded(recorded);
    this.#recorded.clear();
  }

  /** A step without a graph. */
  #anew(context: StepContext, input: StepInput, plan: StepPlan): StepFindings {
    try {
      return findGradients(context, input, plan);
    } catch (error) {
      if (this.#recorded.size === 0 || !isOutOfMemory(error)) throw error;
      this.giveUp();
      context.model.zeroGrad();
      return findGradients(context, input, plan);
    }
  }

  #recordedFor(context: StepContext, input: StepInput & { there: StepTensors }, plan: StepPlan): RecordedStep | undefined {
    const shapes = Object.entries(input.there).map(([name, tensor]: [string, Tensor]) => `${name} ${tensor.shape.join("x")}`);
    const key = [...shapes, plan.measureGradient ? "norm" : "no norm"].join(", ");
    const found = this.#recorded.get(key);
    if (found !== undefined) return found;
    const first = !this.#seen.has(key);
    this.#seen.add(key);
    if (first || this.#failed || this.#recorded.size >= this.#most) return undefined;
    const recorded = this.#record(context, input, plan);
    if (recorded !== undefined) this.#recorded.set(key, recorded);
    return recorded;
  }

  #record(context: StepContext, input: StepInput & { there: StepTensors }, { measureGradient }: StepPlan): RecordedStep | undefined {
    const { model, device, scaler } = context;
    model.zeroGrad();
    const made: Partial<Record<string, Tensor>> = {};
    const inputs = made as unknown as StepTensors;
    // What stands in for a GPU does what it records, and must change no weights by it.
    const limit = (): Tensor => full([], -Infinity, { device, dtype: "float64" }).keep();
    const numbers: StepNumbers = { limits: { loss: limit(), gradientNorm: limit() } };
    try {
      for (const [name, tensor] of Object.entries(input.there) as [string, Tensor][]) made[name] = tensor.clone().keep();
      if (scaler !== undefined) {
        inputs.lossScale = full([], 1, { device }).keep();
        numbers.inverseScale = full([], 1, { device }).keep();
      }
      const { graph, result: findings } = Graph.record(device, () => {
        const found = findGradients(context, { ...input, there: inputs }, { measureGradient, unscale: numbers.inverseScale });
        // The loss saw the scale from before the update, which writes over it.
        const before = { logScale: found.logScale.clone(), logitBias: found.logitBias?.clone() };
        return { ...found, ...before, leftOut: updateWithin(context, found, numbers.limits) };
      });
      for (const tensor of tensorsOf(findings)) tensor.keep();
      return { graph, inputs, numbers, findings };
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      this.#failed = true;
      disposeInputs(inputs, numbers);
      log.warn(`A step could not be recorded as a graph, and steps are computed without: ${error.message.split("\n")[0]}`);
      return undefined;
    } finally {
      // Those of the recording live in the graph's memory, and are used up within it.
      model.zeroGrad();
    }
  }
}

/** Does a recorded step with the arrays of another batch. */
function again(recorded: RecordedStep, there: StepTensors, { scaler, optimizer }: StepContext, { lr, judge }: StepPlan): StepFindings {
  const { graph, inputs, numbers, findings } = recorded;
  for (const [name, tensor] of Object.entries(there) as [keyof StepTensors, Tensor][]) inputs[name]!.copy_(tensor);
  if (scaler !== undefined) {
    // As float32 has it: a factor that is too large for that is infinite, as where the loss is multiplied with it.
    inputs.lossScale!.fill_(Math.fround(scaler.scale));
    numbers.inverseScale!.fill_(scaler.inverse);
  }
  numbers.limits.loss.fill_(judge.limits.loss);
  numbers.limits.gradientNorm.fill_(judge.limits.gradientNorm);
  optimizer.announce(lr);
  judge.committed?.();
  graph.replay();
  return findings;
}

function tensorsOf({ metrics, ...scalars }: StepFindings): Tensor[] {
  return [...Object.values(metrics), ...(Object.values(scalars) as (Tensor | undefined)[])].flatMap((tensor) => tensor ?? []);
}

function disposeInputs(inputs: StepTensors, { limits, inverseScale }: StepNumbers): void {
  disposeTensors(inputs);
  for (const tensor of [limits.loss, limits.gradientNorm]) tensor.dispose();
  inverseScale?.dispose();
}

function disposeRecorded({ graph, inputs, numbers, findings }: RecordedStep): void {
  graph.dispose();
  disposeInputs(inputs, numbers);
  for (const tensor of tensorsOf(findings)) tensor.dispose();
}
