/** What a rewrites folder holds, whatever order it was written in. */
import { type Rewrite, openRewritesFolder } from "../../src/data/index.ts";

/** All rewrites by source and id; one that is there twice is there twice. */
export async function rewritesIn(path: string): Promise<Rewrite[]> {
  const all: Rewrite[] = [];
  for await (const batch of (await openRewritesFolder(path)).read()) all.push(...batch);
  return all.sort((a, b) => (`${a.source} ${a.id}` < `${b.source} ${b.id}` ? -1 : 1));
}
