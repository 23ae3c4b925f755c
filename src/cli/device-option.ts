/** `--device`: where a command computes. */
import { findLocalRank } from "../distributed/index.ts";
import { deviceNames, findDevice } from "../torch/index.ts";

/** The flag and its help. @param what computes there */
export function deviceFlag(what: string): [flags: string, description: string] {
  return ["--device <name>", `where ${what}: ${deviceNames} (default: auto, a GPU where there is one)`];
}

/**
 * The device that the flag names.
 * @param localRank number of this process among those on its machine. Default: as a launcher's variables say
 * @throws UsageError when it is not there
 */
export function deviceOfFlag(name: string | undefined, localRank = findLocalRank()): string {
  return findDevice(name, { localRank, from: "--device" });
}
