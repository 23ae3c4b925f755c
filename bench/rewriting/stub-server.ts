/**
 * The cheapest completions server that can be: it answers every POST with a short rewrite that depends on the seed, so that a
 * benchmark of the client measures the client. Prints its address, and ends with its parent.
 *
 * It reads just enough of HTTP/1.1 for undici: a head, a Content-Length, a body.
 */
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

const headEnd = Buffer.from("\r\n\r\n");
const words = "a the quiet red old small dog cat bus bird runs sleeps waits flies near under over tree river road house".split(" ");

function answer(head: string, body: string): string {
  const text = head.startsWith("GET")
    ? JSON.stringify({ data: [{ id: "stub" }] })
    : JSON.stringify({
        choices: [{ text: ` ${sentence(Number(/"seed":(\d+)/.exec(body)?.[1] ?? 0))}`, finish_reason: "stop" }],
        usage: { completion_tokens: 12 },
      });
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

function sentence(seed: number): string {
  let state = seed | 1;
  return Array.from({ length: 12 }, () => words[(state = Math.imul(state, 1664525) + 1013904223) >>> 27]).join(" ");
}

function serve(socket: Socket): void {
  let pending: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      const end = pending.indexOf(headEnd);
      if (end < 0) return;
      const head = pending.toString("latin1", 0, end);
      const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      const next = end + 4 + length;
      if (pending.length < next) return;
      socket.write(answer(head, pending.toString("latin1", end + 4, next)));
      pending = pending.subarray(next);
    }
  });
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1\n`));
process.stdin.on("end", () => process.exit()).resume();
