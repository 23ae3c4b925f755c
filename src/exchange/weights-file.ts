/** The weights in one file, of safetensors or of PyTorch's, and what the file says of where they come from. */
import { statSync } from "node:fs";
import { PickledCall, type PickledValue, type StoredTensor, TorchFile, readSafetensors } from "../formats/index.ts";
import { DataError, ModelFormatError } from "../support/index.ts";

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
const stateKeys = ["state_dict", "model_state_dict", "model"];

/** What DistributedDataParallel and `torch.compile` put before every name. */
const wrappers = ["module.", "_orig_mod."];

/**
 * Reads `.safetensors`, and what `torch.save` or `torch.jit.save` wrote: a state dict, or a checkpoint with one in it.
 * @throws DataError when there is no such file; ModelFormatError when it is neither, damaged, or holds no weights
 */
export async function readWeightsFile(path: string): Promise<WeightsFile> {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new DataError(`${path}: no such file.`);
  if (path.endsWith(".safetensors")) {
    return { weights: unwrapped(readSafetensors(path).tensors), isScript: false };
  }
  const file = await TorchFile.open(path);
  try {
    const weights: Weights = new Map();
    const top = file.value instanceof Map ? file.value : undefined;
    const state = stateKeys.map((key) => top?.get(key)).find((value) => value instanceof Map) ?? file.value;
    collect(file, state, "", weights);
    if (weights.size === 0) {
      const keys = top ? ` It holds: ${[...top.keys()].slice(0, 10).map(String).join(", ")}.` : "";
      throw new ModelFormatError(`${path}: there are no weights in it, on their own or under ${stateKeys.join(", ")}.${keys}`);
    }
    return { weights: unwrapped(weights), isScript: file.isScript };
  } finally {
    file.close();
  }
}

/** Tensors of a dictionary, or of the attributes of a module and of the modules in it, by names with dots. */
function collect(file: TorchFile, value: PickledValue, name: string, weights: Weights): void {
  const parts = value instanceof PickledCall ? value.state : value;
  if (!(parts instanceof Map)) return;
  for (const [key, part] of parts) {
    if (typeof key !== "string") continue;
    const tensor = file.readTensor(part);
    if (tensor) weights.set(`${name}${key}`, tensor);
    else if (part instanceof PickledCall) collect(file, part, `${name}${key}.`, weights);
  }
}

function unwrapped(weights: ReadonlyMap<string, StoredTensor>): Weights {
  const names = [...weights.keys()];
  const wrapper = wrappers.find((prefix) => names.length > 0 && names.every((name) => name.startsWith(prefix)));
  if (wrapper === undefined) return new Map(weights);
  return unwrapped(new Map([...weights].map(([name, tensor]) => [name.slice(wrapper.length), tensor])));
}
