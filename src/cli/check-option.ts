/** The flag `--check` of the commands that look at rewrites. */
import { defaultChecks, rewriteChecks, setCheck } from "../rewriting/index.ts";

/** May be repeated; gives a list of assignments that `setCheck` takes, each of them checked already. */
export const checkOption: [flags: string, description: string, read: (value: string, before: string[]) => string[], none: string[]] = [
  "--check <name=value>",
  `reject, flag or off, or its number (length-ratio=0.5..3), for one of: ${rewriteChecks.map(({ name }) => name).join(", ")}; may be repeated`,
  (value, before) => {
    setCheck(defaultChecks, value);
    return [...before, value];
  },
  [],
];
