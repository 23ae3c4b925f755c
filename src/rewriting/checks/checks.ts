/**
 * What is looked for in a rewrite before it is kept, and how strictly.
 *
 * A flag that starts with "rejected:" keeps a text out of training; the others are only counted, since what they find may be right.
 * Which checks there are stands in check-table.ts.
 */
import type { RewriteSource } from "../../data/index.ts";
import { UsageError, nearest } from "../../support/index.ts";
import { CheckSubject } from "./check-subject.ts";
import type { CheckOptions } from "./check-subject.ts";
import { isMeasuring, rewriteChecks } from "./check-table.ts";
import type { RewriteCheck, Verdict } from "./check-table.ts";

export { normalise } from "./content-words.ts";

/** How strictly one check looks. */
export interface CheckSetting {
  readonly verdict: Verdict;
  /** Smallest and largest number in order, for checks that measure; undefined where there is no such bound. */
  readonly least?: number | undefined;
  readonly most?: number | undefined;
}

/** How strictly all checks look, by their names. */
export type CheckSettings = ReadonlyMap<string, CheckSetting>;

/** A rewrite that was looked at, with what was found. */
export interface CheckedRewrite {
  readonly text: string;
  readonly flags: readonly string[];
}

/** What holds where nothing else was asked for. */
export const defaultChecks: CheckSettings = new Map(
  rewriteChecks.map((check) => {
    const bounds = isMeasuring(check) ? { least: check.least, most: check.most } : {};
    return [check.name, { verdict: check.verdict, ...bounds }];
  }),
);

/** Looks at a rewrite; gives it back with control characters replaced by spaces, and its flags in the order of the table. */
export function checkRewrite(rewrite: string, options: CheckOptions, settings: CheckSettings = defaultChecks): CheckedRewrite {
  const subject = new CheckSubject(rewrite, options);
  return { text: subject.rewrite.text, flags: flagsOf(subject, settings) };
}

/** What the checks find in a rewrite: the names of those that flag, with "rejected:" before those that reject. */
export function flagsOf(subject: CheckSubject, settings: CheckSettings = defaultChecks): string[] {
  const flags: string[] = [];
  for (const check of rewriteChecks) {
    const setting = settings.get(check.name)!;
    if (setting.verdict !== "off" && isFound(check, setting, subject)) flags.push(flagOf(check.name, setting.verdict));
  }
  return flags;
}

function flagOf(name: string, verdict: Verdict): string {
  return verdict === "reject" ? `rejected:${name}` : name;
}

/** A flag without what became of its rewrite: the name of the check. */
export function checkOfFlag(flag: string): string {
  return flag.replace(/^rejected:/, "");
}

function isFound(check: RewriteCheck, { least, most }: CheckSetting, subject: CheckSubject): boolean {
  if (!isMeasuring(check)) return check.found(subject);
  if (most === check.most && check.surelyFine?.(subject)) return false;
  const value = check.measure(subject);
  return value !== undefined && ((least !== undefined && value < least) || (most !== undefined && value > most));
}

/**
 * Settings after `--check NAME=VALUE`: a verdict (`reject`, `flag`, `off`), a number, or two (`0.3..4`).
 * @throws UsageError for a check that there is not, or a value that it does not take
 */
export function setCheck(before: CheckSettings, assignment: string): CheckSettings {
  const [, name, value] = /^([^=]*)=(.*)$/s.exec(assignment) ?? [];
  const check = rewriteChecks.find((candidate) => candidate.name === name);
  if (name === undefined || value === undefined || check === undefined) {
    const names = rewriteChecks.map((candidate) => candidate.name);
    throw new UsageError(
      value === undefined ? `--check ${assignment}: expected NAME=VALUE, such as length-ratio=reject.` : `There is no check "${name}".`,
      { mend: `Checks: ${nearest(name ?? assignment, names, names.length).join(", ")}.` },
    );
  }
  const setting = before.get(check.name)!;
  const changed = isVerdict(value) ? { ...setting, verdict: value } : withLimit(check, setting, value);
  return new Map([...before, [check.name, changed]]);
}

function isVerdict(value: string): value is Verdict {
  return value === "reject" || value === "flag" || value === "off";
}

function withLimit(check: RewriteCheck, setting: CheckSetting, value: string): CheckSetting {
  const numbers = value.split("..").map((part) => (/^\d+(\.\d+)?$/.test(part) ? Number(part) : NaN));
  const bounds = [setting.least, setting.most].filter((bound) => bound !== undefined).length;
  if (bounds === 0 || numbers.length !== bounds || numbers.some(Number.isNaN) || (bounds === 2 && numbers[0]! > numbers[1]!)) {
    const number = ["", ", or a number", ", or two numbers that rise, such as 0.3..4"][bounds]!;
    throw new UsageError(`--check ${check.name}=${value}: expected reject, flag or off${number}.`, {
      mend: isMeasuring(check) ? `The number is: ${check.measures}.` : "This check has no number.",
    });
  }
  if (isMeasuring(check) && check.isShare && numbers.some((number) => number > 1)) {
    throw new UsageError(`--check ${check.name}=${value}: expected a share, 0 to 1.`, { mend: `The number is: ${check.measures}.` });
  }
  const [first, second] = numbers;
  if (bounds === 2) return { ...setting, least: first, most: second };
  return setting.least === undefined ? { ...setting, most: first } : { ...setting, least: first };
}

/** The settings as a rewrites folder's manifest keeps them. */
export function recordChecks(settings: CheckSettings): NonNullable<RewriteSource["checks"]> {
  return Object.fromEntries(
    Array.from(settings, ([name, { verdict, least, most }]) => {
      const limit = [least, most].filter((bound) => bound !== undefined);
      return [name, limit.length > 0 && verdict !== "off" ? { verdict, limit } : { verdict }];
    }),
  );
}
