/** Version of the program, as package.json has it. */
import { readFileSync } from "node:fs";

export const version = (JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string }).version;

/** "laclip 0.1.0": what manifests and reports say they were made with. */
export const createdWith = `laclip ${version}`;
