/** The small language models of these tests, which are those that the program tries machines with. */
export { writeGguf } from "../../src/formats/index.ts";
export { tinyLlama } from "../../src/rewriting/index.ts";
export type { TinyLlama as TinyGguf } from "../../src/rewriting/index.ts";
