/** What every room may use, and what would make sense in a program without machine learning. */
export * from "./amounts.ts";
export * from "./available-memory.ts";
export * from "./errors.ts";
export * from "./files.ts";
export * from "./folder-lock.ts";
export * from "./json-lines.ts";
export * from "./log.ts";
export * from "./posted-error.ts";
export * from "./pause.ts";
export * from "./progress.ts";
export * from "./random.ts";
export * from "./records.ts";
export * from "./refuse-to-replace.ts";
export * from "./replace-file.ts";
export * from "./replace-folder.ts";
export * from "./side-work.ts";
