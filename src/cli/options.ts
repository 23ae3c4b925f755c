/** Values of flags, checked where they are read. */
import { InvalidArgumentError } from "commander";

/** A share, 0 to 1. */
export function parseShare(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 1)) throw new InvalidArgumentError("Expected a share from 0 to 1, such as 0.01.");
  return value;
}

/** An amount, 0 or more. */
export function parseAmount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < Infinity)) throw new InvalidArgumentError("Expected an amount, such as 0.15.");
  return value;
}

/** A reader of whole numbers from `minimum` up, or to `maximum`. */
export function parseWhole(minimum: number, maximum = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
      const range = maximum === Number.MAX_SAFE_INTEGER ? `from ${minimum} up` : `from ${minimum} to ${maximum}`;
      throw new InvalidArgumentError(`Expected a whole number ${range}.`);
    }
    return value;
  };
}

const byteUnits: Record<string, number> = {
  "": 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** An amount of bytes: 500000, 400MB, 1.5GB, 512MiB. */
export function parseBytes(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(amount) * (byteUnits[unit?.toLowerCase() ?? ""] ?? NaN));
  if (!Number.isSafeInteger(bytes) || bytes < 1) throw new InvalidArgumentError("Expected an amount of bytes, such as 400MB or 1.5GB.");
  return bytes;
}
