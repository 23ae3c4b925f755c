/**
 * Makes tensors outside of all scopes, forgets them, and waits until the garbage collector has released them. Prints what was alive and
 * accounted before, at the height and at the end. Run with --expose-gc.
 */
import { memoryInfo, ones } from "../../../src/torch/index.ts";

/** In a function of its own, so that nothing on the stack still holds a tensor. */
function makeAndForget(): void {
  for (let i = 0; i < 200; i++) {
    const made = ones([1024, 256]);
    if (i % 2 === 0) made.add(1);
  }
}

const before = memoryInfo();
makeAndForget();
const height = memoryInfo();
let end = height;
for (let turn = 0; turn < 200 && end.live > before.live; turn++) {
  globalThis.gc!();
  await new Promise((resolve) => setTimeout(resolve, 5));
  end = memoryInfo();
}
process.stdout.write(JSON.stringify({ before, height, end }));
