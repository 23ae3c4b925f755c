/**
 * The way to a Redis server and to BullMQ, which keeps a queue in it.
 *
 * Both packages are optional and loaded here, with the first command that needs them. A server that can't be reached at the start is
 * an error at once: most likely the address is wrong. One that goes away later is waited for, since a pool outlives its Redis.
 */
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { EndpointError, UsageError, log } from "../../support/index.ts";

/** Name of the queue where none is given. */
export const defaultQueue = "laclip-rewrite";

/** An open connection, and what works over it. */
export interface QueueConnection {
  readonly bullmq: typeof import("bullmq");
  readonly redis: Redis;
  /** The address without its password. */
  readonly address: string;
  /** The queue of that name, over this connection. */
  queue(name: string): Queue;
  /** Ends everything that was opened here; waits for no server that is away. */
  close(): Promise<void>;
}

/** Seconds until a first connection must stand. */
const connectSeconds = 10;

/**
 * Connects to a Redis server.
 * @param url `redis://host:port`, or `rediss://` with encryption; user, password and number of the database as in that scheme
 * @param options.patient waits for a server that goes away, for as long as it takes. Default false: some seconds
 * @throws UsageError for another address, or where the packages are not installed; EndpointError when nobody answers there
 */
export async function connectQueue(url: string, { patient = false }: { patient?: boolean } = {}): Promise<QueueConnection> {
  if (!/^rediss?:\/\//i.test(url) || !URL.canParse(url)) {
    throw new UsageError(`--redis ${url}: this is no address of a Redis server.`, { mend: "Give it in the form redis://host:6379." });
  }
  const address = withoutPassword(url);
  const { bullmq, Redis } = await load();
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: connectSeconds * 1000,
    // BullMQ asks for the first in workers. The other commands give up after half a minute or so.
    maxRetriesPerRequest: patient ? null : 20,
    retryStrategy: (times) => Math.min(times * 200, 2000),
  });
  let reason: Error | undefined;
  let away = false;
  redis.on("error", (error) => (reason = error));
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    const { code, message } = (reason ?? error) as NodeJS.ErrnoException;
    const words = code === "ECONNREFUSED" ? "nothing listens there (connection refused)" : message;
    throw new EndpointError(`${address}: no Redis server can be reached: ${words}.`, {
      mend: "Check the address, and start the server: redis-server --appendonly yes",
      cause: reason ?? error,
    });
  }
  redis.on("close", () => {
    if (!away && redis.status !== "end") log.warn(`${address} went away; waiting for it`);
    away = true;
  });
  redis.on("ready", () => {
    if (away) log.info(`${address} is back`);
    away = false;
  });
  const queues: Queue[] = [];
  return {
    bullmq,
    redis,
    address,
    queue: (name) => {
      if (!/^[\w.-]+$/.test(name)) throw new UsageError(`--queue ${name}: expected letters, digits, dots, dashes.`);
      const queue = new bullmq.Queue(name, { connection: redis });
      queue.on("error", (error) => log.debug(`queue ${name}: ${error.message}`));
      queues.push(queue);
      return queue;
    },
    close: async () => {
      away = true;
      const closing = Promise.all(queues.map(async (queue) => await queue.close())).then(async () => await redis.quit());
      await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 1000).unref())]).catch(() => undefined);
      redis.disconnect();
    },
  };
}

/**
 * Runs work over a connection that is closed afterwards; a server that stays away becomes an EndpointError.
 */
export async function withQueue<T>(url: string, work: (connection: QueueConnection) => Promise<T>): Promise<T> {
  const connection = await connectQueue(url);
  try {
    return await work(connection);
  } catch (error) {
    const { name, message } = error as Error;
    if (name !== "MaxRetriesPerRequestError" && message !== "Connection is closed.") throw error;
    throw new EndpointError(`${connection.address}: the Redis server went away and did not come back.`, {
      mend: "Start it, then the same command again.",
      cause: error,
    });
  } finally {
    await connection.close();
  }
}

async function load(): Promise<{ bullmq: typeof import("bullmq"); Redis: typeof import("ioredis").Redis }> {
  try {
    const [bullmq, { Redis }] = await Promise.all([import("bullmq"), import("ioredis")]);
    return { bullmq, Redis };
  } catch (error) {
    throw new UsageError("A pool of machines needs the packages bullmq and ioredis, which are not installed.", {
      mend: "Install them: npm install bullmq ioredis",
      cause: error,
    });
  }
}

function withoutPassword(url: string): string {
  const parsed = new URL(url);
  if (parsed.password !== "") parsed.password = "...";
  return parsed.href;
}
