/** Tracking servers on loopback: what they are sent, that a resumed run goes on there, and that nobody waits for one that is away. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Reporter } from "./reporter.ts";
import { type TrackerTarget, trackerAddress } from "./tracker.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-reporter-"));
after(() => rmSync(root, { recursive: true }));

interface Asked {
  path: string;
  body: Record<string, unknown>;
  token: string | undefined;
}

/** A server that answers by `answer`, and everything it was asked. */
async function serve(answer: (path: string) => [status: number, body: unknown], port = 0) {
  const asked: Asked[] = [];
  const server: Server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      const path = request.url!;
      const token = request.headers["x-trackio-write-token"] as string | undefined;
      asked.push({ path, token, body: (text === "" ? {} : JSON.parse(text)) as Record<string, unknown> });
      const [status, body] = answer(path);
      response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { asked, address, stop: () => new Promise((resolve) => server.close(resolve)) };
}

const target = (kind: TrackerTarget["kind"], address: string, memory = "memory.json"): TrackerTarget => ({
  kind,
  address,
  project: "laclip",
  run: "b16",
  settings: { "training.steps": "100" },
  memory: join(root, memory),
});
const event = (step: number) => ({
  time: "2026-01-02T03:04:05.000Z",
  event: "train",
  step,
  "train/loss": 3 / step,
  "train/lr": 1e-3,
  note: "a word",
});

/** MLflow's answers: the experiment is not there at first. */
function mlflowAnswer(path: string): [number, unknown] {
  if (path.includes("experiments/get-by-name")) return [404, { error_code: "RESOURCE_DOES_NOT_EXIST" }];
  if (path.endsWith("experiments/create")) return [200, { experiment_id: "7" }];
  if (path.endsWith("runs/create")) return [200, { run: { info: { run_id: "abc" } } }];
  return [200, {}];
}

describe("MLflow", () => {
  test("gets experiment, run, settings, measures and the end; a resumed run goes on in the same", async () => {
    const server = await serve(mlflowAnswer);
    const first = new Reporter({ target: target("mlflow", server.address), everySeconds: 0.05 });
    first.add(event(1));
    first.add({ time: "2026-01-02T03:04:05.000Z", event: "checkpoint", step: 1, pause: 2 });
    first.add(event(2));
    await first.close("interrupted");
    const call = (path: string): Asked[] => server.asked.filter((one) => one.path.endsWith(path));
    assert.deepEqual(call("runs/create")[0]!.body["run_name"], "b16");
    assert.equal(call("runs/create")[0]!.body["experiment_id"], "7");
    const batches = call("runs/log-batch").map(({ body }) => body);
    assert.deepEqual(batches[0]!["params"], [{ key: "training.steps", value: "100" }]);
    const metrics = batches.flatMap((body) => (body["metrics"] ?? []) as { key: string; value: number; step: number; timestamp: number }[]);
    assert.deepEqual(
      metrics.map(({ key, value, step }) => [key, value, step]),
      [
        ["train/loss", 3, 1],
        ["train/lr", 1e-3, 1],
        ["train/loss", 1.5, 2],
        ["train/lr", 1e-3, 2],
      ],
    );
    assert.equal(metrics[0]!.timestamp, Date.parse("2026-01-02T03:04:05.000Z"));
    assert.equal(call("runs/update").at(-1)!.body["status"], "KILLED");

    const second = new Reporter({ target: target("mlflow", server.address), everySeconds: 0.05 });
    second.add(event(3));
    await second.close("finished");
    assert.equal(call("runs/create").length, 1);
    assert.deepEqual(
      call("runs/update").map(({ body }) => body["status"]),
      ["KILLED", "RUNNING", "FINISHED"],
    );
    await server.stop();
  });
});

describe("trackio", () => {
  test("gets the measures with steps, times and its token", async () => {
    const server = await serve(() => [200, {}]);
    process.env["TRACKIO_WRITE_TOKEN"] = "secret";
    const reporter = new Reporter({ target: target("trackio", server.address) });
    reporter.add(event(1));
    reporter.add(event(3));
    await reporter.close("finished");
    delete process.env["TRACKIO_WRITE_TOKEN"];
    const [{ path, body, token }] = server.asked as [Asked];
    assert.equal(path, "/api/bulk_log");
    assert.equal(token, "secret");
    assert.deepEqual(body["steps"], [1, 3]);
    assert.deepEqual(body["metrics_list"], [
      { "train/loss": 3, "train/lr": 1e-3 },
      { "train/loss": 1, "train/lr": 1e-3 },
    ]);
    await server.stop();
  });

  test("that is away loses nothing when it comes back", async () => {
    let up = false;
    const server = await serve(() => (up ? [200, {}] : [503, { error: "starting" }]));
    const reporter = new Reporter({ target: target("trackio", server.address), everySeconds: 0.05, kept: 3 });
    for (let step = 1; step <= 5; step++) reporter.add(event(step));
    for (let i = 0; i < 1000 && server.asked.length === 0; i++) await sleep(10);
    assert.ok(server.asked.length > 0);
    up = true;
    await reporter.close("finished");
    assert.deepEqual(server.asked.at(-1)!.body["steps"], [3, 4, 5], "the newest that it keeps");
    await server.stop();
  });

  test("that was never there does not stop the end of the run", async () => {
    const server = await serve(() => [200, {}]);
    await server.stop();
    const reporter = new Reporter({ target: target("trackio", server.address) });
    reporter.add(event(1));
    await reporter.close("failed");
  });
});

test("--report-to takes names and addresses, and refuses others", () => {
  assert.deepEqual(trackerAddress("mlflow=http://host:5000/"), { kind: "mlflow", address: "http://host:5000", project: "laclip" });
  assert.equal(trackerAddress("trackio").address, "http://127.0.0.1:7860");
  for (const wrong of ["wandb", "mlflow=sqlite:///mlruns.db", "trackio=http://"]) {
    assert.throws(() => trackerAddress(wrong), { name: "UsageError" }, wrong);
  }
});
