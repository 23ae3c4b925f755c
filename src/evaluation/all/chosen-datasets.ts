/**
 * The data sets that `evaluateAll` takes: which they are, and as what each is opened.
 *
 * A published set has its kind. What lies at a path may have classes or captions, or both.
 */
import { existsSync } from "node:fs";
import type { ProtocolName } from "../../data/index.ts";
import { LaclipError, UsageError } from "../../support/index.ts";
import {
  type EvaluationDataset,
  type RetrievalDataset,
  datasetDefinitions,
  findDataset,
  findDefinition,
  findRetrievalDefinition,
  isTable,
  openEvaluationDataset,
  openRetrievalDataset,
  protocolOf,
  retrievalDefinitions,
} from "../datasets/index.ts";
import type { EvaluatedModel } from "./evaluated-model.ts";
import type { EvaluationTask } from "./task-plan.ts";

/** Which data sets, and how they are read. */
export interface ChosenDatasets {
  /** Names or paths of data sets. Default: all published ones that lie below `root`. */
  datasets?: readonly string[] | undefined;
  /** Folder of the published sets. Default: LACLIP_DATASETS. */
  root?: string | undefined;
  /** Whose names and prompts published sets get. Default: those that fit the model's image preparation, see `protocolOf`. */
  protocol?: ProtocolName | undefined;
  /** File with prompts for all sets. Default: each set's. */
  templates?: string | undefined;
  /** File with the names of the classes, where a single data set is named. Default: the set's. */
  classes?: string | undefined;
  /** Columns of the tables among `datasets`, see `openEvaluationDataset` and `openRetrievalDataset`. Default: by their usual names. */
  imageColumn?: string | undefined;
  labelColumn?: string | undefined;
  /** Where it is named and `labelColumn` is not, tables are taken for retrieval alone. */
  captionColumn?: string | undefined;
  /** Take copies of data sets in which images are missing. Default false. */
  incomplete?: boolean | undefined;
}

/**
 * Names and paths of the data sets, each once.
 * @throws UsageError when none is named or found, or `classes` and columns have no data set that they could be of
 */
export function datasetNames(options: ChosenDatasets, tasks: readonly EvaluationTask[]): string[] {
  const { datasets = [], root = process.env.LACLIP_DATASETS || undefined, classes, imageColumn, labelColumn, captionColumn } = options;
  const named = [...new Set(datasets)];
  if (classes !== undefined && named.length !== 1) {
    throw new UsageError(`${classes}: names of classes are those of one data set, and ${named.length} are named.`, {
      mend: "Name one with --dataset.",
    });
  }
  const column = imageColumn ?? labelColumn ?? captionColumn;
  if (column !== undefined && !named.some(isTable)) {
    throw new UsageError(`There is no table among the data sets that could have a column "${column}".`, {
      mend: "Name one with --dataset: a .csv, .tsv, .jsonl or .parquet.",
    });
  }
  if (named.length > 0) return named;
  if (root === undefined) {
    throw new UsageError("Which data sets? None is named, and no folder of data sets is known.", {
      mend: "Name some with --dataset, or give their folder with --root DIR or LACLIP_DATASETS.",
    });
  }
  const takes = (kind: EvaluationTask["takes"]): boolean => tasks.some((task) => task.takes === kind);
  const definitions = [...(takes("classification") ? datasetDefinitions : []), ...(takes("retrieval") ? retrievalDefinitions : [])];
  const found = definitions.filter((definition) => findDataset(definition, root) !== undefined).map(({ name }) => name);
  if (found.length > 0) return found;
  throw new UsageError(`${root}: none of the published data sets is there.`, {
    mend: `\`laclip evaluate datasets --root ${root}\` says what belongs there; folders of your own are named with --dataset.`,
  });
}

/**
 * Opens a data set as what the tasks take: with its classes, its captions, or, of a table whose columns of both are named, each.
 * @throws as `openEvaluationDataset` and `openRetrievalDataset`
 */
export async function openForTasks(
  name: string,
  model: EvaluatedModel,
  options: ChosenDatasets,
  tasks: readonly EvaluationTask[],
): Promise<(EvaluationDataset | RetrievalDataset)[]> {
  const { root, incomplete, imageColumn, labelColumn, captionColumn } = options;
  const own = tasks.filter(({ takes }) => takes === "classification");
  // Of several data sets only the tables have columns.
  const table = isTable(name);
  const image = table ? imageColumn : undefined;
  const label = table ? labelColumn : undefined;
  const caption = table ? captionColumn : undefined;
  const asClasses = (): Promise<EvaluationDataset> => openClasses(name, model, { ...options, imageColumn: image, labelColumn: label }, own);
  const asCaptions = (): Promise<RetrievalDataset> =>
    openRetrievalDataset(name, { root, incomplete, imageColumn: image, captionColumn: caption });
  if (own.length === 0 || findRetrievalDefinition(name) !== undefined) return [await asCaptions()];
  const withCaptions = own.length < tasks.length && findDefinition(name) === undefined && existsSync(name);
  if (withCaptions && caption !== undefined) {
    return [...(label === undefined ? [] : [await asClasses()]), await asCaptions()];
  }
  try {
    return [await asClasses()];
  } catch (error) {
    if (!withCaptions || label !== undefined || !LaclipError.is(error)) throw error;
    // What was said of classes is what most people meant, where it is neither.
    return [await asCaptions().catch(() => Promise.reject(error))];
  }
}

async function openClasses(
  name: string,
  model: EvaluatedModel,
  { root, templates, classes, imageColumn, labelColumn, incomplete, protocol }: ChosenDatasets,
  tasks: readonly EvaluationTask[],
): Promise<EvaluationDataset> {
  return await openEvaluationDataset(name, {
    root,
    templates,
    classes,
    imageColumn,
    labelColumn,
    incomplete,
    splits: [...new Set(tasks.flatMap((task) => task.splits))],
    protocol: protocol ?? protocolOf(model.preprocessing),
    worded: tasks.some((task) => task.name === "zero-shot"),
  });
}
