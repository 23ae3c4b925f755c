/**
 * Where the tests of this folder run: on a GPU where there is one, and everywhere on a device that stands in for it (native/src/
 * stand-in.cc). The stand-in computes as the processor does, and refuses tensors of two devices as a GPU does: what it can't show is how
 * a GPU rounds, and how fast it is.
 */
import { native, torchInfo } from "../../src/torch/index.ts";

export interface TestedDevice {
  name: string;
  device: string;
  /** Why it can't be tested here; undefined where it can. */
  skip: string | undefined;
  /** Relative distance from the processor's numbers that rounding explains. */
  close: number;
}

const { cudaDevices: gpus } = torchInfo();

export const gpu: TestedDevice = {
  name: "a GPU",
  device: "cuda:0",
  skip: gpus > 0 ? undefined : `no GPU here: ${native().gpuProblem() ?? "libtorch sees none"}`,
  close: 2e-3,
};

/** Registered, it would be the one accelerator that libtorch knows of, and backward passes on the GPU would fail. */
const besideGpu = gpus > 0 ? "there is a GPU, which is tested itself" : undefined;

export const standIn: TestedDevice = {
  name: "a stand-in for a GPU",
  device: gpus > 0 ? "privateuseone:0" : native().standInDevice(),
  skip: besideGpu,
  close: 1e-4,
};

export const devices: readonly TestedDevice[] = [standIn, gpu];

/** What `test` takes to leave a device out that is not there. */
export function unless({ skip }: Pick<TestedDevice, "skip">): { skip?: string } {
  return skip === undefined ? {} : { skip };
}
