/**
 * Failures on demand, so that tests can see a run through what otherwise happens once in weeks.
 *
 * `LACLIP_FAULTS` lists them as `name@step` or `name@step=value`, with commas; steps are counted from 0. Each happens once a process.
 */
import type { Objective } from "../objectives/index.ts";
import { UsageError } from "../support/index.ts";
import { noGrad, ops } from "../torch/index.ts";

/**
 * - `nan`: the loss of the step is not a number, and so are its gradients
 * - `infinite-gradient`: the loss is as it was, its gradients are infinite
 * - `spike=FACTOR`: the loss is so many times what it was
 * - `kill-step`: the process is killed in the middle of the step: its loss is there, its gradients are not all
 * - `full-disk`: the disk is full in the middle of the checkpoint after so many steps
 * - `kill-write=N`: the process is killed at the N-th point of writing that checkpoint, see `checkpoint-files.ts`
 * - `slow-write=MILLISECONDS`: writing that checkpoint takes so much longer
 * - `slow-batch=MILLISECONDS`: the batch of the step comes so much later
 */
const names = ["nan", "infinite-gradient", "spike", "kill-step", "full-disk", "kill-write", "slow-write", "slow-batch"] as const;
export type FaultName = (typeof names)[number];

/** The failures that a run is to meet, for tests. */
export class Faults {
  readonly #planned = new Map<string, number>();

  /** @throws UsageError for anything that is not in the list above */
  constructor(text = process.env["LACLIP_FAULTS"] ?? "") {
    for (const part of text.split(",").filter((word) => word.trim() !== "")) {
      const [, name, step, value = "1"] = /^([a-z-]+)@(\d+)(?:=([\d.]+))?$/.exec(part.trim()) ?? [];
      if (name === undefined || !(names as readonly string[]).includes(name)) {
        throw new UsageError(
          `LACLIP_FAULTS: "${part}" is no fault; expected NAME@STEP or NAME@STEP=VALUE with a name of ${names.join(", ")}.`,
        );
      }
      this.#planned.set(`${name}@${Number(step)}`, Number(value));
    }
  }

  /** The value of a fault that is due at `step`, 1 where none was given; undefined when there is none. */
  take(name: FaultName, step: number): number | undefined {
    const key = `${name}@${step}`;
    const value = this.#planned.get(key);
    this.#planned.delete(key);
    return value;
  }

  /** The objective with the faults of its losses; `step` says which step is being made. */
  wrap(objective: Objective, step: () => number): Objective {
    if (this.#planned.size === 0) return objective;
    const forward: Objective["forward"] = (...input) => {
      const report = objective.forward(...input);
      this.#killIn(step());
      let { loss } = report;
      if (this.take("nan", step()) !== undefined) loss = loss.mul(NaN);
      const factor = this.take("spike", step());
      if (factor !== undefined) loss = loss.mul(factor);
      if (this.take("infinite-gradient", step()) !== undefined) {
        // The root of zero: nothing is added to the loss, and its slope is infinite.
        const constant = noGrad(() => loss.mul(1));
        loss = loss.add(ops.sqrt(loss.sub(constant)));
      }
      return { ...report, loss };
    };
    // Where the loss is taken by rows, its gradients are there when it returns: they are spoiled by their scale.
    const backwardByRows: Objective["backwardByRows"] = (input, rows, scale = 1) => {
      const nan = this.take("nan", step()) === undefined ? 1 : NaN;
      const factor = nan * (this.take("spike", step()) ?? 1);
      const infinite = this.take("infinite-gradient", step()) === undefined ? 1 : Infinity;
      const report = objective.backwardByRows(input, rows, scale * factor * infinite);
      this.#killIn(step());
      return factor === 1 ? report : { ...report, loss: report.loss.mul(factor) };
    };
    const changed: Partial<Objective> = { forward, backwardByRows };
    return new Proxy(objective, {
      get: (target, key) => {
        const value: unknown = Reflect.get(Object.hasOwn(changed, key) ? changed : target, key);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }

  #killIn(step: number): void {
    if (this.take("kill-step", step) !== undefined) process.kill(process.pid, "SIGKILL");
  }
}
