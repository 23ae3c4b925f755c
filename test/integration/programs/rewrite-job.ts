/**
 * A rewriting job as a process of its own, for tests that kill it: `node rewrite-job.js JOB`, with the job as JSON.
 *
 * Unlike the command it takes the size of a part, so that a small job turns many logs into parts, where a kill could do most harm.
 */
import { LlamaCppEngine, chooseEngine, openCaptions, rewriteCaptions } from "../../../src/rewriting/index.ts";
import type { PairSource } from "../../../src/rewriting/index.ts";

/** What is to be done. */
export interface RewriteJob {
  captions: string;
  out: string;
  /** A GGUF file or a server's address. */
  llm: string;
  sources: readonly PairSource[];
  concurrency: number;
  rowsPerPart: number;
  /** Captions that are grouped by their examples at a time. */
  chunk: number;
}

const { captions, out, llm, sources, concurrency, rowsPerPart, chunk } = JSON.parse(process.argv[2]!) as RewriteJob;
// One prompt at a time, each evaluated whole: then nothing that was written before, or is written at the same time, can change the
// last digits of a sum and with them, once in ten thousand tokens, a text.
const engine = llm.endsWith(".gguf")
  ? new LlamaCppEngine({ model: llm, sequences: 1, sharePrefix: false, gpu: false, threads: 1, flashAttention: false })
  : chooseEngine(llm, { concurrency });
try {
  await rewriteCaptions({
    captions: await openCaptions(captions),
    out,
    engine,
    sources,
    seed: 1,
    chunk,
    rowsPerPart,
    createdWith: "test",
  });
} finally {
  await engine.close();
}
