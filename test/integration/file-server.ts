/** A web server for tests that hands out the files of a folder, on this machine only. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

// Whatever proxy the machine has, it must not be asked for this server.
process.env["no_proxy"] = "127.0.0.1";

/** A server that runs. */
export interface FileServer {
  /** `http://127.0.0.1:PORT` */
  readonly host: string;
  /** Paths in the order in which they were asked for. */
  readonly asked: string[];
  close(): void;
}

/** Serves the files of a folder; 404 for all others. A path that begins with `/broken/` gets 400. */
export async function serveFolder(folder: string): Promise<FileServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://host");
    asked.push(pathname);
    const path = join(folder, decodeURIComponent(pathname));
    if (pathname.startsWith("/broken/")) response.writeHead(400).end();
    else if (!existsSync(path) || !statSync(path).isFile()) response.writeHead(404).end();
    else response.end(readFileSync(path));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { host: `http://127.0.0.1:${port}`, asked, close: () => server.close().closeAllConnections() };
}
