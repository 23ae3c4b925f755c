/** The order of a report's rows: by task, then by data set as the registry has them, then by name. */
import { datasetDefinitions, retrievalDefinitions } from "../datasets/index.ts";
import { shortDataset } from "../published/published.ts";
import { taskNames } from "../results/result.ts";

/** What a row is about. */
export interface RowKey {
  readonly dataset: string;
  /** As in result files. */
  readonly task: string;
  readonly metric: string;
}

/** Below 0 where `a` stands before `b`. */
export function byPlace(a: RowKey, b: RowKey): number {
  const order = [...datasetDefinitions, ...retrievalDefinitions].map(({ name }) => name);
  const tasks = Object.values(taskNames) as string[];
  const place = (list: readonly string[], name: string): number => (list.includes(name) ? list.indexOf(name) : list.length);
  return (
    place(tasks, a.task) - place(tasks, b.task) ||
    a.task.localeCompare(b.task) ||
    place(order, shortDataset(a.dataset)) - place(order, shortDataset(b.dataset)) ||
    a.dataset.localeCompare(b.dataset) ||
    a.metric.localeCompare(b.metric, "en", { numeric: true })
  );
}
