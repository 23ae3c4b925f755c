/** The linear probe: logistic regression on frozen features, and what is kept of it. */
export * from "./line-search.ts";
export * from "./linear-classifier.ts";
export * from "./linear-probe.ts";
export * from "./logistic-regression.ts";
export * from "./sgd-probe.ts";
export type { FeatureScaling, LabelledFeatures } from "./softmax-objective.ts";
export * from "./strength-sweep.ts";
