/** The weights in one file, of safetensors or of PyTorch's, and what the file says of where they come from. */
import { type Stats, closeSync, openSync, readSync, statSync } from "node:fs";
import { PickledCall, type PickledValue, type StoredTensor, TorchFile, readSafetensors } from "../formats/index.ts";
import { DataError, ModelFormatError, explainReadFailure } from "../support/index.ts";

/** Weights by name. */
export type Weights = Map<string, StoredTensor>;

/** What a file of weights holds. */
export interface WeightsFile {
  /** As the file calls them, without what wraps a model for training has put before their names. */
  weights: Weights;
  /** Whether it is a program of `torch.jit.save`, as OpenAI gives its models away. */
  isScript: boolean;
}

/** Under which keys checkpoints have a model's weights; where none of them is there, the file is the weights. */
const stateKeys = ["state_dict", "model_state_dict", "model", "module"];

/** What DistributedDataParallel, `torch.compile` and modules of Lightning put before every name. */
const wrappers = ["module.", "_orig_mod.", "model."];

/** Modules within each other: more than any model has. */
const deepest = 100;

/** How often over the weights may have what the file has: weights that are the same are there once, and read as often as they have a name. */
const mostRepeated = 2;

/**
 * Reads `.safetensors`, and what `torch.save` or `torch.jit.save` wrote: a state dict, or a checkpoint with one in it.
 * @throws DataError when there is no such file; ModelFormatError when it is neither, damaged, or holds no weights
 */
export async function readWeightsFile(path: string): Promise<WeightsFile> {
  const there = statsOf(path, "file");
  if (!there.isFile()) throw new DataError(`${path}: this is no file of weights.`);
  if (path.endsWith(".safetensors") || isSafetensors(path)) {
    return { weights: unwrapped(readSafetensors(path).tensors), isScript: false };
  }
  const file = await TorchFile.open(path);
  try {
    const top = pairsOf(file.value);
    const state = file.isScript ? file.value : (stateKeys.map((key) => pairsOf(top?.get(key))).find(Boolean) ?? top);
    const weights = new Collection(file, mostRepeated * there.size).of(state);
    if (weights.size === 0) throw noWeights(path, file.value);
    return { weights: unwrapped(weights), isScript: file.isScript };
  } finally {
    file.close();
  }
}

/** What lies at a path. @throws DataError when nothing does, or it can't be looked at */
export function statsOf(path: string, expected: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === "ENOENT" || code === "ENOTDIR"
      ? new DataError(`${path}: no such ${expected}.`, { cause: error })
      : explainReadFailure(error, path);
  }
}

/** Whether a file begins as one of safetensors, whatever its name is: the length of a header, and a bracket. */
function isSafetensors(path: string): boolean {
  const head = Buffer.alloc(9);
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return false; // whoever reads it says why
  }
  try {
    return readSync(file, head) === head.length && head.readUInt32LE(4) === 0 && head[8] === 0x7b;
  } finally {
    closeSync(file);
  }
}

/** A dictionary, also one of a class of its own. */
function pairsOf(value: PickledValue | undefined): Map<PickledValue, PickledValue> | undefined {
  if (value instanceof Map) return value;
  return value instanceof PickledCall ? value.pairs : undefined;
}

function noWeights(path: string, value: PickledValue): ModelFormatError {
  const top = pairsOf(value);
  const object = [value, ...stateKeys.map((key) => top?.get(key))].find((part) => part instanceof PickledCall && part.state instanceof Map);
  if (object instanceof PickledCall) {
    return new ModelFormatError(
      `${path}: it holds a whole object of the class ${object.name}, which can't be made here; expected its weights.`,
      {
        mend: `In a Python that has this class, save them alone: torch.save(model.state_dict(), "weights.pt").`,
      },
    );
  }
  // As JSON, since a name may hold what a terminal takes for a command.
  const keys = [...(top?.keys() ?? [])].filter((key) => typeof key === "string").map((key) => JSON.stringify(key.slice(0, 50)));
  const held = keys.length > 0 ? ` It holds: ${keys.slice(0, 10).join(", ")}.` : "";
  return new ModelFormatError(`${path}: there are no weights in it, on their own or under ${stateKeys.join(", ")}.${held}`);
}

/** Weights on their way out of a file. Objects in a file may hold themselves, and one storage may be given any number of names. */
class Collection {
  readonly #file: TorchFile;
  readonly #mostBytes: number;
  readonly #weights: Weights = new Map();
  readonly #seen = new Set<PickledValue>();
  #bytes = 0;

  constructor(file: TorchFile, mostBytes: number) {
    this.#file = file;
    this.#mostBytes = mostBytes;
  }

  /** Tensors of a dictionary, or of the attributes of a module and of the modules in it, by names with dots. */
  of(value: PickledValue | undefined): Weights {
    this.#collect(value, "", 0);
    return this.#weights;
  }

  #collect(value: PickledValue | undefined, name: string, depth: number): void {
    const parts = value instanceof PickledCall ? value.state : value;
    if (!(parts instanceof Map) || this.#seen.has(parts)) return;
    this.#seen.add(parts);
    if (depth > deepest) throw new ModelFormatError(`${this.#file.path}: there are more than ${deepest} modules within each other in it.`);
    for (const [key, part] of parts) {
      if (typeof key !== "string") continue;
      const tensor = this.#file.readTensor(part);
      if (tensor) this.#keep(`${name}${key}`, tensor);
      else if (part instanceof PickledCall) this.#collect(part, `${name}${key}.`, depth + 1);
    }
  }

  #keep(name: string, tensor: StoredTensor): void {
    this.#bytes += tensor.data.byteLength;
    if (this.#bytes > this.#mostBytes) {
      throw new ModelFormatError(
        `${this.#file.path}: its tensors are more than ${mostRepeated} times as large as the file: many share their bytes.`,
        {
          mend: "Save them apart: torch.save({name: tensor.clone() for name, tensor in state_dict.items()}, ...).",
        },
      );
    }
    this.#weights.set(name, tensor);
  }
}

function unwrapped(weights: ReadonlyMap<string, StoredTensor>): Weights {
  const names = [...weights.keys()];
  const wrapper = wrappers.find((prefix) => names.length > 0 && names.every((name) => name.startsWith(prefix)));
  if (wrapper === undefined) return new Map(weights);
  return unwrapped(new Map([...weights].map(([name, tensor]) => [name.slice(wrapper.length), tensor])));
}
