/** The whole story in one command: a small world of real pictures, its captions and what other people wrote, and the report. */
export * from "./concepts.ts";
export * from "./demo-results.ts";
export * from "./drawing-styles.ts";
export * from "./earlier-demo.ts";
export * from "./emoji-packages.ts";
export * from "./emoji-world.ts";
export * from "./evaluation-words.ts";
export * from "./human-rewrites.ts";
export * from "./human-texts.ts";
export * from "./report.ts";
export * from "./world-pictures.ts";
export * from "./result-table.ts";
export * from "./rewriter.ts";
export * from "./story.ts";
