/** `--device`: where a command computes. */
import { findLocalRank } from "../distributed/index.ts";
import { type DeviceSearch, deviceNames, findDevice } from "../torch/index.ts";

type DevicePlace = Pick<DeviceSearch, "localRank" | "together">;

/** The flag and its help. @param what computes there */
export function deviceFlag(what: string): [flags: string, description: string] {
  return ["--device <name>", `where ${what}: ${deviceNames} (default: auto, a GPU where there is one)`];
}

/**
 * The device that the flag names.
 * @param place of this process among those on its machine. Default: the number that a launcher's variables say
 * @throws UsageError when it is not there
 */
export function deviceOfFlag(name: string | undefined, place: DevicePlace = { localRank: findLocalRank() }): string {
  return findDevice(name, { ...place, from: "--device" });
}
