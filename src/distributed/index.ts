/** Processes that train together: how they find each other, and what they do with each other's tensors. */
export * from "./gradient-reducer.ts";
export * from "./process-group.ts";
export * from "./rendezvous.ts";
