/** Pages for people: markup that escapes, the look, charts. Each page is one file that loads nothing. */
export * from "./charts.ts";
export * from "./html.ts";
export * from "./page.ts";
