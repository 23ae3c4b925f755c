/** Processes that compute together give what one process with the whole batch gives; and say what is wrong when they can't. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertClose } from "./close.ts";
import { startRanks, withoutGloo } from "./start-ranks.ts";

const program = fileURLToPath(new URL("programs/rank.js", import.meta.url));
const skip = withoutGloo();
const runsApart = spawnSync("unshare", ["-rn", "sh", "-c", "ip link set lo up"]).status === 0;

/** What each rank has printed. */
async function run<T>(task: string, ranks: number, variables: Record<string, string> = {}): Promise<T[]> {
  const ended = await startRanks(program, [task], ranks, variables).ended;
  return ended.map(({ code, stdout, stderr }, rank) => {
    assert.equal(code, 0, `rank ${rank}: ${stderr}`);
    return JSON.parse(stdout) as T;
  });
}

interface ClipAnswer {
  runs: { loss: [number, number]; named: Record<string, number[]>; bytes?: number }[];
  sizes: number;
}

interface NormAnswer {
  out: number[];
  x: number[];
  weight: number[];
  bias: number[];
}

describe("ranks", { skip }, () => {
  test("sums, gathers, broadcasts and agrees", async () => {
    const answers = await run<Record<string, unknown>>("operations", 2);
    for (const answer of answers) {
      assert.deepEqual(answer, {
        sum: [2, 11],
        gathered: [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
        received: [1, 1, 1],
        means: [0.5, 1],
        any: [true, false],
        first: [40],
        value: { text: "först", list: [1, null] },
        whole: [0, 1, 1, 2],
      });
    }
  });

  for (const ranks of [2, 4]) {
    test(`${ranks} ranks give loss and gradients of one rank with the whole batch; every parameter is reduced once`, async () => {
      const [whole] = await run<ClipAnswer>("clip", 1);
      const parts = await run<ClipAnswer>("clip", ranks);
      for (const { runs, sizes } of parts) {
        assert.equal(runs.length, 2);
        for (const { loss, named, bytes } of runs) {
          assertClose(loss, whole!.runs[0]!.loss, "loss and accuracy");
          assert.deepEqual(Object.keys(named), Object.keys(whole!.runs[0]!.named));
          for (const [name, gradient] of Object.entries(named)) {
            // A shift of all keys moves all scores of a query alike, so that this gradient is rounding and nothing else.
            assertClose(gradient, whole!.runs[0]!.named[name]!, name, 1e-5, name.endsWith("k_norm.bias") ? 0.01 : 0);
          }
          assert.equal(bytes, sizes);
        }
      }
      assert.deepEqual(parts[0]!.runs[0]!.named, parts[1]!.runs[0]!.named, "the ranks agree bit by bit");
    });

    test(`batch normalisation over ${ranks} ranks is that of the whole batch`, async () => {
      const [whole] = await run<NormAnswer>("batchNorm", 1);
      const parts = await run<NormAnswer>("batchNorm", ranks);
      for (const name of ["out", "x"] as const) {
        assertClose(
          parts.flatMap((part) => part[name]),
          whole![name],
          name,
          1e-4,
        );
      }
      for (const part of parts) {
        for (const name of ["weight", "bias"] as const) assertClose(part[name], whole![name], name, 1e-4);
      }
    });
  }

  test("gradients that accumulate are reduced with the last pass; what has no gradient stays without", async () => {
    const [whole] = await run<{ twice: number[]; once: number[]; unused: boolean }>("accumulated", 1);
    for (const answer of await run<typeof whole>("accumulated", 2)) {
      assertClose(answer!.twice, whole!.twice, "in two passes");
      assertClose(answer!.once, whole!.once, "in one");
      assert.equal(answer!.unused, true);
    }
  });

  test("weights that differ in one bit are found", async () => {
    for (const answer of await run<string>("unequal", 3)) assert.match(answer, /^These of rank 1 differ from those of rank 0/);
  });

  test("when a rank is killed, the others' operation fails and says which", async () => {
    const ended = await startRanks(program, ["death"], 3).ended;
    assert.equal(ended[1]!.signal, "SIGKILL");
    for (const rank of [0, 2]) {
      assert.equal(ended[rank]!.code, 0, ended[rank]!.stderr);
      // It is chance whether a read or a write finds it, and what that is then told.
      const broken = new RegExp(`^sum on rank ${rank} of 3: .*(onnection|closed|reset|Broken pipe)`, "s");
      assert.match(JSON.parse(ended[rank]!.stdout) as string, broken);
    }
  });

  test("what can't be exchanged is refused, and a closed group too", async () => {
    for (const answers of await run<string[]>("wrong", 2)) {
      const expected = [/contiguous/, /float32, got bfloat16/, /no rank 9/, /got a scalar/, /meta/, /was closed/];
      assert.equal(answers.length, expected.length);
      answers.forEach((answer, i) => assert.match(answer, expected[i]!));
      for (const answer of answers) assert.match(answer, /^NativeError: /, "none is a defect");
    }
  });

  test("a missing master is an error after the time-out, and says what to look at", async () => {
    // Port 9 (discard) of this machine: nothing listens there.
    const [ended] = await startRanks(program, ["operations"], 1, {
      RANK: "1",
      WORLD_SIZE: "2",
      MASTER_ADDR: "127.0.0.1",
      MASTER_PORT: "9",
      LACLIP_MEETING_TIMEOUT: "2",
    }).ended;
    assert.notEqual(ended!.code, 0);
    assert.match(ended!.stderr, /The 2 processes did not come together at 127\.0\.0\.1:9 within 2 s/);
  });

  test("a missing rank is an error after the time-out, too", async () => {
    const [ended] = await startRanks(program, ["operations"], 2, { WORLD_SIZE: "3", LACLIP_MEETING_TIMEOUT: "2" }).ended;
    assert.notEqual(ended!.code, 0);
    assert.match(ended!.stderr, /The 3 processes did not come together/);
  });

  // libtorch's TCP store listens on all addresses of its machine, so this runs in a network of its own.
  const apart = ["-rn", "sh", "-c"];
  test("ranks meet over TCP as torchrun's variables say", { skip: runsApart ? false : "unshare -rn is not allowed here" }, async () => {
    const [ended] = await new Promise<[{ code: number | null; text: string }]>((resolve) => {
      const variables = "WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29511";
      const each = [0, 1].map((rank) => `RANK=${rank} ${variables} ${process.execPath} ${program} operations`);
      const child = spawn("unshare", [...apart, `ip link set lo up && (${each[0]} & ${each[1]}; wait)`], {
        env: { ...process.env, LACLIP_THREADS: "1", LACLIP_MEETING_TIMEOUT: "60" },
      });
      let text = "";
      child.stdout.on("data", (chunk) => (text += chunk));
      child.stderr.on("data", (chunk) => (text += chunk));
      child.on("close", (code) => resolve([{ code, text }]));
    });
    assert.equal(ended.code, 0, ended.text);
    assert.equal(ended.text.match(/"sum":\[2,11\]/g)?.length, 2, ended.text);
  });
});
