/** Data sets from outside: packed into tars, checked, looked at, measured. Loads without libtorch. */
export * from "./image-collection.ts";
export * from "./pack.ts";
export * from "./verify-tars.ts";
