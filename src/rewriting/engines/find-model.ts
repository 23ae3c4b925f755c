/** Model files that other programs have left on this machine. */
import { readdirSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where programs keep GGUF files: this one, node-llama-cpp, llama.cpp, Hugging Face's hub (HF_HOME), LM Studio; and `models` beside the work. */
function folders(): string[] {
  const home = homedir();
  return [
    "models",
    process.env["LACLIP_MODELS"] ?? join(home, ".cache", "laclip", "models"),
    join(home, ".node-llama-cpp", "models"),
    join(home, ".cache", "llama.cpp"),
    join(process.env["HF_HOME"] ?? join(home, ".cache", "huggingface"), "hub"),
    join(home, ".lmstudio", "models"),
  ];
}

/** Smaller files are vocabularies or toys that can't rewrite a sentence. */
const leastBytes = 200e6;

/**
 * The smallest GGUF file of at least 200 MB in the usual folders, or undefined. Parts of a split model, projectors and embedding models
 * are left out.
 */
export function findModelFile(where: readonly string[] = folders(), least = leastBytes): string | undefined {
  const found = where
    .flatMap((folder) => [...filesBelow(folder)])
    .filter((path) => path.endsWith(".gguf") && !/mmproj|embed|-of-\d{5}/i.test(path))
    .map((path) => ({ path, bytes: sizeOf(path) }))
    .filter(({ bytes }) => bytes >= least);
  return found.toSorted((a, b) => a.bytes - b.bytes)[0]?.path;
}

/** The files of a folder at any depth, links followed. The folders are other programs', so what can't be read is passed over. */
function* filesBelow(folder: string, seen = new Set<string>()): Generator<string> {
  const real = orElse(() => realpathSync(folder), folder);
  if (seen.has(real)) return;
  seen.add(real);
  for (const name of orElse(() => readdirSync(folder), [])) {
    const path = join(folder, name);
    if (orElse(() => statSync(path).isDirectory(), false)) yield* filesBelow(path, seen);
    else yield path;
  }
}

function sizeOf(path: string): number {
  return orElse(() => statSync(path).size, 0);
}

function orElse<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
