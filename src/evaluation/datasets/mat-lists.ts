/** Lists of labels in .mat files: numbers and texts by variable or by field of a struct, or an error that says what is there instead. */
import { readFileSync } from "node:fs";
import { type MatValue, readMat } from "../../formats/index.ts";
import { DataError, explainReadFailure } from "../../support/index.ts";

/** A .mat file that was read. */
export class MatLists {
  readonly #path: string;
  readonly #variables: Map<string, MatValue>;

  /** @param path of the file @throws DataError when it is missing or damaged */
  constructor(path: string) {
    this.#path = path;
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      throw explainReadFailure(error, path, "Fetch it again.");
    }
    this.#variables = readMat(bytes, path);
  }

  /** All numbers of a variable. */
  numbers(variable: string): number[] {
    const value = this.#variable(variable);
    if (value.kind !== "numbers") throw this.#other(variable, value, "numbers");
    return [...value.values];
  }

  /** The texts of a variable that is a cell array of texts. */
  texts(variable: string): string[] {
    const value = this.#variable(variable);
    if (value.kind !== "cells") throw this.#other(variable, value, "cells of text");
    return value.cells.map((cell) => this.#text(cell, variable));
  }

  /** A field of each element of a struct array, where it is text. */
  fieldTexts(variable: string, field: string): string[] {
    return this.#field(variable, field).map((value) => this.#text(value, `${variable}.${field}`));
  }

  /** A field of each element of a struct array, where it is a single number. */
  fieldNumbers(variable: string, field: string): number[] {
    return this.#field(variable, field).map((value) => {
      if (value.kind === "numbers" && value.values.length === 1) return value.values[0]!;
      throw this.#other(`${variable}.${field}`, value, "a number");
    });
  }

  #field(variable: string, field: string): MatValue[] {
    const value = this.#variable(variable);
    if (value.kind !== "structs") throw this.#other(variable, value, "structs");
    const values = value.fields.get(field);
    if (values) return values;
    throw new DataError(`${this.#path}: "${variable}" has no field "${field}", only ${[...value.fields.keys()].join(", ")}.`, {
      mend: "Is this the list with labels? Fetch it again.",
    });
  }

  #variable(name: string): MatValue {
    const value = this.#variables.get(name);
    if (value) return value;
    throw new DataError(`${this.#path}: there is no "${name}" in it, only ${[...this.#variables.keys()].join(", ") || "nothing"}.`, {
      mend: "Is this the right list? Fetch it again.",
    });
  }

  #text(value: MatValue, name: string): string {
    if (value.kind === "text") return value.text;
    throw this.#other(name, value, "text");
  }

  #other(name: string, { kind }: MatValue, expected: string): DataError {
    return new DataError(`${this.#path}: "${name}" holds ${kind}, expected ${expected}.`, { mend: "Fetch it again." });
  }
}
