/**
 * A Redis server of a test's own: Debian's `redis-server` on a free port of loopback, in a folder of its own, gone with the test.
 *
 * The port is none that the system gives to connections and to servers that ask for any: between the look for a free one and the start
 * of the server, and while it is down, one of those could be taken by whatever else runs here.
 */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why there can be no pool here; undefined where there can. */
export async function whyNoRedis(): Promise<string | undefined> {
  if (spawnSync("redis-server", ["--version"]).status !== 0) return "redis-server is not installed (apt-get install redis-server)";
  try {
    await Promise.all([import("bullmq"), import("ioredis")]);
  } catch {
    return "the optional packages bullmq and ioredis are not installed";
  }
  return undefined;
}

/** A server that can be killed and started again with what it had written down. */
export class RedisServer {
  readonly #folder = mkdtempSync(join(tmpdir(), "laclip-redis-"));
  #port = 0;
  #process: ChildProcess | undefined;

  static async start(): Promise<RedisServer> {
    const server = new RedisServer();
    server.#port = await freePort();
    await server.start();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  /** Starts it, and waits until it answers: a minute at most. */
  async start(): Promise<void> {
    const flags = { port: this.#port, bind: "127.0.0.1", dir: this.#folder, appendonly: "yes", appendfsync: "always", save: "" };
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const child = spawn("redis-server", args, { stdio: "ignore" });
    this.#process = child;
    for (const started = performance.now(); performance.now() - started < 60_000;) {
      const end = child.exitCode ?? child.signalCode;
      if (end !== null) throw new Error(`redis-server ended with ${end}`);
      if (await answers(this.#port)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("redis-server does not answer");
  }

  /** Kills it as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#process!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

/** A port that is free now. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 1024 + randomInt(firstGivenPort() - 1024);
    const server = createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch {
      continue;
    }
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("no port is free");
}

/** The first of the ports that the system gives away by itself. */
function firstGivenPort(): number {
  try {
    return Math.max(2048, Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8"), 10));
  } catch {
    return 32_768;
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const signal = AbortSignal.timeout(5000);
  try {
    await once(socket, "connect", { signal });
    socket.write("PING\r\n");
    const [said] = (await once(socket, "data", { signal })) as [Buffer];
    return String(said).startsWith("+PONG");
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
