/** Which process this is, as launchers say it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { UsageError } from "../support/index.ts";
import { findLocalRank, findPlace, firstHost } from "./rendezvous.ts";

describe("findPlace", () => {
  test("alone without variables, and as the only process", () => {
    assert.equal(findPlace({}), undefined);
    assert.equal(findPlace({ RANK: "0", WORLD_SIZE: "1" }), undefined);
    assert.equal(findPlace({ SLURM_PROCID: "0", SLURM_NTASKS: "1", SLURM_JOB_NODELIST: "n1" }), undefined);
    assert.equal(findPlace({ JOB_COMPLETION_INDEX: "3" }), undefined, "an Indexed Job whose tasks have nothing to do with each other");
    assert.equal(findPlace({ WORLD_SIZE: "1", MASTER_ADDR: "a" }), undefined);
  });

  test("torchrun's variables", () => {
    const variables = { RANK: "5", WORLD_SIZE: "8", LOCAL_RANK: "1", LOCAL_WORLD_SIZE: "4", MASTER_ADDR: "node1", MASTER_PORT: "1234" };
    assert.deepEqual(findPlace(variables), {
      rank: 5,
      ranks: 8,
      localRank: 1,
      attempt: "0",
      from: "RANK=5, WORLD_SIZE=8, LOCAL_RANK=1",
      meeting: { kind: "tcp", host: "node1", port: 1234, served: true },
    });
    const again = findPlace({ ...variables, TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RESTART_COUNT: "2" });
    assert.equal(again?.attempt, "2");
    assert.deepEqual(again?.meeting, { kind: "tcp", host: "node1", port: 1234, served: false });
    assert.deepEqual(findPlace({ RANK: "0", WORLD_SIZE: "2", LACLIP_MEET: "/tmp/x" })?.meeting, { kind: "file", path: "/tmp/x" });
  });

  test("Slurm's, which give way to torchrun's", () => {
    const variables = { SLURM_PROCID: "3", SLURM_NTASKS: "4", SLURM_LOCALID: "1", SLURM_JOB_NODELIST: "gpu[007-008]", SLURM_JOB_ID: "45" };
    const place = findPlace(variables);
    assert.deepEqual([place?.rank, place?.ranks, place?.localRank], [3, 4, 1]);
    assert.deepEqual(place?.meeting, { kind: "tcp", host: "gpu007", port: 20_045, served: true });
    assert.deepEqual(findPlace({ ...variables, MASTER_ADDR: "other", MASTER_PORT: "77" })?.meeting, {
      kind: "tcp",
      host: "other",
      port: 77,
      served: true,
    });
    assert.equal(findPlace({ ...variables, RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: "a" })?.ranks, 2);
    assert.equal(findPlace({ SLURM_PROCID: "0", SLURM_JOB_ID: "45" }), undefined);
  });

  test("those of Kubernetes' Indexed Jobs", () => {
    const place = findPlace({ JOB_COMPLETION_INDEX: "2", WORLD_SIZE: "3", MASTER_ADDR: "train-0.train" });
    assert.deepEqual([place?.rank, place?.ranks], [2, 3]);
    assert.deepEqual(place?.meeting, { kind: "tcp", host: "train-0.train", port: 29_500, served: true });
  });

  const wrong: [name: string, variables: Record<string, string>, message: RegExp][] = [
    ["a rank without a number of ranks", { RANK: "1" }, /not of how many/],
    ["a number of ranks without a rank", { WORLD_SIZE: "4" }, /not which this one is/],
    ["a rank beyond the last", { RANK: "4", WORLD_SIZE: "4", MASTER_ADDR: "a" }, /last has rank 3; got 4/],
    ["no number", { RANK: "one", WORLD_SIZE: "4" }, /RANK: expected a whole number of at least 0, got "one"/],
    ["no place to meet", { RANK: "1", WORLD_SIZE: "4" }, /not where to meet/],
    ["no port", { RANK: "1", WORLD_SIZE: "4", MASTER_ADDR: "a", MASTER_PORT: "70000" }, /expected a port/],
    ["local rank and local size", { RANK: "1", WORLD_SIZE: "4", LOCAL_RANK: "2", LOCAL_WORLD_SIZE: "2" }, /contradict/],
    ["rank and index", { RANK: "1", WORLD_SIZE: "4", JOB_COMPLETION_INDEX: "2", MASTER_ADDR: "a" }, /contradict/],
    ["WORLD_SIZE and Slurm", { WORLD_SIZE: "4", SLURM_PROCID: "0", SLURM_NTASKS: "2", SLURM_JOB_NODELIST: "a" }, /contradict/],
  ];
  for (const [name, variables, message] of wrong) {
    test(`refuses ${name}`, () => {
      assert.throws(
        () => findPlace(variables),
        (error: unknown) => error instanceof UsageError && message.test(error.message),
      );
    });
  }
});

test("the rank on a machine is found without the rest, which may be missing or wrong", () => {
  assert.equal(findLocalRank({ RANK: "5", LOCAL_RANK: "1" }), 1);
  assert.equal(findLocalRank({ SLURM_LOCALID: "2", WORLD_SIZE: "x" }), 2);
  assert.equal(findLocalRank({ LOCAL_RANK: "1", SLURM_LOCALID: "2" }), 1);
  assert.equal(findLocalRank({ LOCAL_RANK: "", RANK: "3" }), 0);
  assert.equal(findLocalRank({ LOCAL_RANK: "one" }), 0);
});

test("firstHost reads Slurm's lists", () => {
  const lists = { "": undefined, "login,b": "login", "gpu[007-010,12],x": "gpu007", "n[3,5]": "n3", "r1c[2-4]n": "r1c2n", node9: "node9" };
  for (const [list, host] of Object.entries(lists)) assert.equal(firstHost(list), host, list);
});
