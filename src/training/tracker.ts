/**
 * Servers that keep the curves of runs: MLflow and trackio, by their HTTP interfaces.
 *
 * Sources: MLflow's REST reference (experiments, runs, log-batch with at most 1,000 measures a call); trackio's `/api/bulk_log`.
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { EndpointError, UsageError, readJson, writeFileAtomic } from "../support/index.ts";

/** Measures of one moment. */
export interface TrackedPoint {
  step: number;
  /** Milliseconds since 1970. */
  time: number;
  measures: Record<string, number>;
}

/** How a start of a run ended. */
export type RunEnd = "finished" | "interrupted" | "failed";

/** Which server, and what the run is called there. */
export interface TrackerTarget {
  kind: "mlflow" | "trackio";
  /** http or https, without a slash at the end. */
  address: string;
  project: string;
  run: string;
  /** Settings of the run by name, for servers that show them. */
  settings: Record<string, string>;
  /** JSON file that remembers the server's name of the run, so that a resumed run goes on in it. */
  memory: string;
}

/** A server that takes points. What it throws is an EndpointError, and the points may be sent again. */
export interface Tracker {
  send(points: readonly TrackedPoint[]): Promise<void>;
  end(how: RunEnd): Promise<void>;
}

/**
 * Reads `mlflow`, `trackio`, `mlflow=http://host:5000`. Without an address: MLFLOW_TRACKING_URI or port 5000 of this machine;
 * TRACKIO_SERVER_URL or port 7860. Projects: MLFLOW_EXPERIMENT_NAME, TRACKIO_PROJECT, or "laclip".
 * @throws UsageError for other names, and for addresses that are not http or https
 */
export function trackerAddress(text: string): Pick<TrackerTarget, "kind" | "address" | "project"> {
  const [kind, ...rest] = text.split("=");
  if (kind !== "mlflow" && kind !== "trackio") {
    throw new UsageError(`--report-to ${text}: expected mlflow or trackio, with =http://host:port where it is not the usual one.`);
  }
  const env = process.env;
  const usual =
    kind === "mlflow" ? (env["MLFLOW_TRACKING_URI"] ?? "http://127.0.0.1:5000") : (env["TRACKIO_SERVER_URL"] ?? "http://127.0.0.1:7860");
  const address = (rest.join("=") || usual).replace(/\/+$/, "");
  if (!/^https?:\/\/./.test(address) || !URL.canParse(address)) {
    throw new UsageError(`--report-to ${kind}: "${address}" is no http or https address of a server.`);
  }
  const project = env[kind === "mlflow" ? "MLFLOW_EXPERIMENT_NAME" : "TRACKIO_PROJECT"] ?? "laclip";
  return { kind, address, project };
}

export function openTracker(target: TrackerTarget): Tracker {
  return target.kind === "mlflow" ? new Mlflow(target) : new Trackio(target);
}

/** Most measures of one call, and longest value of a setting. */
const mlflowMeasures = 1000;
const mlflowSettings = 100;
const mlflowValue = 500;

const mlflowMemory = z.object({ mlflow: z.object({ address: z.string(), run: z.string() }) });

class Mlflow implements Tracker {
  readonly #target: TrackerTarget;
  #run: string | undefined;

  constructor(target: TrackerTarget) {
    this.#target = target;
  }

  async send(points: readonly TrackedPoint[]): Promise<void> {
    const run_id = (this.#run ??= await this.#openRun());
    const metrics = points.flatMap(({ step, time, measures }) =>
      Object.entries(measures).map(([key, value]) => ({ key, value, timestamp: time, step })),
    );
    for (let from = 0; from < metrics.length; from += mlflowMeasures) {
      await this.#post("runs/log-batch", { run_id, metrics: metrics.slice(from, from + mlflowMeasures) });
    }
  }

  async end(how: RunEnd): Promise<void> {
    const run_id = (this.#run ??= await this.#openRun());
    const status = { finished: "FINISHED", interrupted: "KILLED", failed: "FAILED" }[how];
    await this.#post("runs/update", { run_id, status, end_time: Date.now() });
  }

  /** The run of an earlier start, or a new one. */
  async #openRun(): Promise<string> {
    const { address, memory, run, settings } = this.#target;
    const known = mlflowMemory.safeParse(existsSync(memory) ? readJson(memory, "memory of trackers") : {});
    if (known.success && known.data.mlflow.address === address) {
      const id = known.data.mlflow.run;
      await this.#post("runs/update", { run_id: id, status: "RUNNING" });
      return id;
    }
    const experiment_id = await this.#openExperiment();
    const created = await this.#post("runs/create", { experiment_id, run_name: run, start_time: Date.now() });
    const id = read(z.object({ run: z.object({ info: z.object({ run_id: z.string() }) }) }), created, address).run.info.run_id;
    const params = Object.entries(settings).map(([key, value]) => ({ key, value: value.slice(0, mlflowValue) }));
    for (let from = 0; from < params.length; from += mlflowSettings) {
      await this.#post("runs/log-batch", { run_id: id, params: params.slice(from, from + mlflowSettings) });
    }
    writeFileAtomic(memory, `${JSON.stringify({ mlflow: { address, run: id } }, null, 2)}\n`);
    return id;
  }

  async #openExperiment(): Promise<string> {
    const { address, project } = this.#target;
    const asked = await ask(`${address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=${encodeURIComponent(project)}`, {
      headers: this.#headers(),
    });
    const id = z.object({ experiment_id: z.string() });
    if (asked.status !== 404) return read(z.object({ experiment: id }), asked.body, address).experiment.experiment_id;
    return read(id, await this.#post("experiments/create", { name: project }), address).experiment_id;
  }

  async #post(path: string, body: unknown): Promise<unknown> {
    return await post(`${this.#target.address}/api/2.0/mlflow/${path}`, body, this.#headers());
  }

  #headers(): Record<string, string> {
    const { MLFLOW_TRACKING_TOKEN: token, MLFLOW_TRACKING_USERNAME: user, MLFLOW_TRACKING_PASSWORD: password = "" } = process.env;
    if (token !== undefined) return { authorization: `Bearer ${token}` };
    return user === undefined ? {} : { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
  }
}

class Trackio implements Tracker {
  readonly #target: TrackerTarget;

  constructor(target: TrackerTarget) {
    this.#target = target;
  }

  async send(points: readonly TrackedPoint[]): Promise<void> {
    const { address, project, run } = this.#target;
    const token = process.env["TRACKIO_WRITE_TOKEN"];
    const body = {
      project,
      run,
      metrics_list: points.map(({ measures }) => measures),
      steps: points.map(({ step }) => step),
      timestamps: points.map(({ time }) => new Date(time).toISOString()),
    };
    await post(`${address}/api/bulk_log`, body, token === undefined ? {} : { "x-trackio-write-token": token });
  }

  /** Runs have no end there. */
  async end(): Promise<void> {}
}

/** Seconds after which a server that does not answer counts as away. */
const patience = 10;

async function post(url: string, body: unknown, headers: Record<string, string>): Promise<unknown> {
  const answer = await ask(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  if (answer.status === 404) throw new EndpointError(`${url}: the server answers 404: there is no such thing.`);
  return answer.body;
}

/** The answer as JSON; a 404 is left to the caller. @throws EndpointError for other refusals and when there is no answer */
async function ask(url: string, init: RequestInit): Promise<{ status: number; body: unknown }> {
  let status: number;
  let text: string;
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(patience * 1000) });
    [status, text] = [response.status, await response.text()];
  } catch (error) {
    const cause = (error as { cause?: { message?: string } }).cause?.message ?? (error as Error).message;
    throw new EndpointError(`${url}: no answer (${cause}).`, { cause: error });
  }
  if (status >= 400 && status !== 404) throw new EndpointError(`${url}: the server answers ${status}: ${text.slice(0, 200)}`);
  try {
    return { status, body: text === "" ? {} : JSON.parse(text) };
  } catch (error) {
    throw new EndpointError(`${url}: the answer is no JSON: ${text.slice(0, 200)}`, { cause: error });
  }
}

function read<T>(schema: z.ZodType<T>, body: unknown, address: string): T {
  const parsed = schema.safeParse(body);
  if (!parsed.success) throw new EndpointError(`${address}: the answer lacks what was asked for: ${JSON.stringify(body).slice(0, 200)}`);
  return parsed.data;
}
