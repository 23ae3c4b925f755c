/**
 * What NVIDIA says that its GPUs can do at most, for the share of it that a program reaches.
 *
 * From NVIDIA's data sheets, dense products (no sparsity), with sums in float32; a name is looked for in the order below, since some
 * names begin like others. Remembered from the sheets, not measured: where one is wrong for a card, a program's setting overrides it.
 */
import { deviceName } from "./device.ts";

/** What products are computed in: of float32, of float32 cut to TF32, of bfloat16, of float16. */
export type ProductKind = "float32" | "tf32" | "bfloat16" | "float16";

/** TFLOP/s: float32, TF32, bfloat16, float16; 0 for what the GPU does not have. */
const table: readonly [name: string, peaks: readonly [float32: number, tf32: number, bfloat16: number, float16: number]][] = [
  ["B300", [75, 1100, 2250, 2250]],
  ["B200", [75, 1100, 2250, 2250]],
  ["B100", [60, 900, 1750, 1750]],
  ["H200 NVL", [60, 418, 835, 835]],
  ["H200", [67, 494, 989, 989]],
  ["H100 PCIe", [51, 378, 756, 756]],
  ["H100 NVL", [60, 418, 835, 835]],
  ["H100", [67, 494, 989, 989]],
  ["H800", [67, 494, 989, 989]],
  ["A100", [19.5, 156, 312, 312]],
  ["A800", [19.5, 156, 312, 312]],
  ["L40S", [91.6, 183, 362, 362]],
  ["L40", [90.5, 90.5, 181, 181]],
  ["L4", [30.3, 60, 121, 121]],
  ["A40", [37.4, 74.8, 150, 150]],
  ["A30", [10.3, 82, 165, 165]],
  ["A10G", [31.5, 35, 70, 70]],
  ["A10", [31.2, 62.5, 125, 125]],
  ["V100", [15.7, 0, 0, 125]],
  ["T4", [8.1, 0, 0, 65]],
  ["RTX 5090", [105, 105, 210, 210]],
  ["RTX 4090", [82.6, 82.6, 165, 165]],
  ["RTX 3090", [35.6, 35.6, 71, 71]],
];

/** Operations a second that the data sheet gives for products of a kind; undefined for the processor and for cards that are not known. */
export function peakFlops(device: string, kind: ProductKind): number | undefined {
  const name = deviceName(device);
  return name === undefined ? undefined : peakOfName(name, kind);
}

/** The same by the name that the driver gives the card. */
export function peakOfName(name: string, kind: ProductKind): number | undefined {
  const found = table.find(([known]) => name.includes(known));
  const peak = found?.[1][(["float32", "tf32", "bfloat16", "float16"] as const).indexOf(kind)];
  return peak === undefined || peak === 0 ? undefined : peak * 1e12;
}
