/** Keeps code of eight million bytes under one key of the folder that it is called with, over and over until it is killed. */
import { native } from "../../../src/torch/index.ts";

const folder = process.argv[2]!;
for (let round = 0; ; round++) {
  native().keepCode(folder, "key", String((process.pid + round) % 10).repeat(8e6), "kept");
  if (round === 0) process.stdout.write("once\n");
}
