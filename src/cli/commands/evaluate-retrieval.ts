/** `laclip evaluate retrieval`: texts found by images and images found by texts. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type SplitName, openRetrievalDataset, retrievalTask, splitNames } from "../../evaluation/index.ts";
import { command, examples } from "../command.ts";
import { type ScoringFlags, addScoringFlags, runTask, score } from "./evaluate-options.ts";

interface RetrievalFlags extends ScoringFlags {
  split: SplitName;
  imageColumn?: string;
  captionColumn?: string;
  recalls: number[];
}

export function retrievalCommand(): Command {
  const built = command("retrieval", "find texts by images and images by texts");
  addScoringFlags(built, "name of a published set with captions, or a table of images and captions, a row for each caption")
    .addOption(new Option("--split <name>", "of a published set").choices(splitNames).default("test"))
    .option("--image-column <name>", "column of a table with the image path")
    .option("--caption-column <name>", "column of a table with the caption")
    .option("--recalls <places>", "places that count as found, with a comma", parsePlaces, [1, 5, 10])
    .action(run);
  return examples(
    built,
    "laclip evaluate retrieval --model runs/b16/model --dataset flickr30k --root datasets",
    "laclip evaluate retrieval --model runs/b16/model --dataset held-out.csv --json",
  );
}

async function run(flags: RetrievalFlags): Promise<void> {
  const { recalls } = flags;
  const dataset = await openRetrievalDataset(flags.dataset, flags);
  await runTask(flags, retrievalTask({ recalls }), dataset, ({ metrics }) =>
    (
      [
        ["text_retrieval", "texts by image"],
        ["image_retrieval", "images by text"],
      ] as const
    )
      .map(([name, words]) => {
        const found = recalls.map((place) => `recall@${place} ${score(metrics[`${name}_recall@${place}`])}`).join("  ");
        return `${words}: ${found}  median rank ${metrics[`${name}_median_rank`]}`;
      })
      .join("\n"),
  );
}

function parsePlaces(text: string): number[] {
  const places = text.split(",").map(Number);
  if (places.some((place) => !Number.isSafeInteger(place) || place < 1)) throw new InvalidArgumentError("Expected places such as 1,5,10.");
  return places;
}
