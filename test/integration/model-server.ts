/** A language model's server on loopback, which speaks OpenAI's protocol; what it says is the test's. */
import { once } from "node:events";
import { type IncomingHttpHeaders, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Asked<Body> {
  /** "/v1/completions" or "/v1/chat/completions". */
  path: string;
  headers: IncomingHttpHeaders;
  body: Body;
  /** For answers that no model gives. */
  response: ServerResponse;
}

/** A text, and why it ends if not by itself; the status of a refusal; undefined where the response is given otherwise, or never. */
export type Said = string | { text: string; finish: string } | number | undefined;

export type Answer<Body> = (asked: Asked<Body>) => Said | Promise<Said>;

export interface ServedModel {
  id: string;
  owned_by?: string;
}

export interface ModelServer {
  /** Ends with /v1. */
  url: string;
  close(): void;
}

/** @param models what it says of its models */
export async function startModelServer<Body>(
  answer: Answer<Body>,
  models: readonly ServedModel[] = [{ id: "tiny" }],
): Promise<ModelServer> {
  const server = createServer((request, response) => {
    void (async () => {
      const json = (status: number, value: object): void =>
        void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
      let text = "";
      try {
        for await (const chunk of request.setEncoding("utf8")) text += String(chunk);
      } catch {
        // Who asked was killed.
        return;
      }
      const path = request.url!;
      if (path === "/v1/models") return json(200, { data: models });
      const chat = path === "/v1/chat/completions";
      if (!chat && path !== "/v1/completions") return json(404, { error: { message: `no ${path}` } });
      const said = await answer({ path, headers: request.headers, body: JSON.parse(text) as Body, response });
      if (said === undefined) return;
      if (typeof said === "number") return json(said, { error: { message: "out of order" } });
      const { text: content, finish } = typeof said === "string" ? { text: said, finish: "stop" } : said;
      const written = chat ? { message: { role: "assistant", content } } : { text: content };
      json(200, { choices: [{ index: 0, ...written, finish_reason: finish }], usage: { completion_tokens: 9 } });
    })();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Does something while a server is there. */
export async function withModelServer<Body, T>(
  answer: Answer<Body>,
  work: (url: string) => Promise<T>,
  models?: readonly ServedModel[],
): Promise<T> {
  const server = await startModelServer(answer, models);
  try {
    return await work(server.url);
  } finally {
    server.close();
  }
}
