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

/** A reader of whole numbers from `minimum` up. */
export function parseWhole(minimum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < minimum) {
      throw new InvalidArgumentError(`Expected a whole number from ${minimum} up.`);
    }
    return value;
  };
}
