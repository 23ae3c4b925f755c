/** Tars made for tests. */
import { TarWriter } from "../../src/formats/index.ts";

/** Writes a tar with these members, in this order; objects become JSON. Returns its path. */
export async function writeTar(
  path: string,
  members: readonly (readonly [name: string, content: string | Buffer | object])[],
): Promise<string> {
  const tar = await TarWriter.create(path);
  for (const [name, content] of members) {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(typeof content === "string" ? content : JSON.stringify(content));
    await tar.add({ name, mtime: new Date(0) }, bytes);
  }
  await tar.finish();
  return path;
}
