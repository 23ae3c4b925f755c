/** Data sets from outside: packed into tars, checked, looked at, measured. Loads without libtorch. */
export * from "./image-collection.ts";
export * from "./pack.ts";
export * from "./verify-tars.ts";
export * from "./inspect-data.ts";
export { renderInspection } from "./inspection-page.ts";
export { describeInspection } from "./inspection-text.ts";
export * from "./bench-data.ts";
