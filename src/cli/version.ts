/** What package.json says about the program. */
import { readFileSync } from "node:fs";

const about = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
  engines: { node: string };
};

/** Version of the program: "0.1.0". */
export const { version } = about;

/** Oldest Node that the program runs on, major and minor: [20, 19]. */
export const oldestNode: readonly number[] = about.engines.node.match(/\d+/g)!.map(Number);

/** "laclip 0.1.0": what manifests and reports say they were made with. */
export const createdWith = `laclip ${version}`;
