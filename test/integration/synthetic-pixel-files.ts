/** Small copies of the sets that come as files of bare pixels: CIFAR's binary batches and pickles, STL-10's planes by columns. */
import { pickledBatch, pickledFacts } from "./python2-pickles.ts";
import type { SyntheticDataset } from "./synthetic-datasets.ts";
import { lines, planes, put } from "./synthetic-pictures.ts";

const cifarClasses = ["airplane", "automobile", "bird", "cat"];

export const cifar10Binary: SyntheticDataset = {
  name: "cifar10",
  layout: "binary",
  classes: cifarClasses,
  splits: { train: [3, 1, 0, 2, 1, 0, 3, 2, 2, 1], test: [2, 0, 3] },
  async write(root) {
    const base = "cifar-10-batches-bin";
    // The file ends in an empty line, as the original.
    put(root, `${base}/batches.meta.txt`, `${lines(cifarClasses)}\n`);
    const records = (labels: readonly number[]): Buffer =>
      Buffer.concat(labels.flatMap((label) => [Buffer.from([label]), planes(label, 32)]));
    for (let n = 1; n <= 5; n++) put(root, `${base}/data_batch_${n}.bin`, records(this.splits.train!.slice(2 * n - 2, 2 * n)));
    put(root, `${base}/test_batch.bin`, records(this.splits.test!));
  },
};

export const cifar10Python: SyntheticDataset = {
  ...cifar10Binary,
  layout: "python",
  async write(root) {
    const base = "cifar-10-batches-py";
    put(root, `${base}/batches.meta`, pickledFacts("label_names", cifarClasses));
    const batch = (labels: readonly number[]): Uint8Array =>
      pickledBatch(
        "labels",
        labels,
        labels.map((label) => planes(label, 32)),
      );
    for (let n = 1; n <= 5; n++) put(root, `${base}/data_batch_${n}`, batch(this.splits.train!.slice(2 * n - 2, 2 * n)));
    put(root, `${base}/test_batch`, batch(this.splits.test!));
  },
};

export const cifar100Binary: SyntheticDataset = {
  name: "cifar100",
  layout: "binary",
  classes: ["apple", "aquarium_fish", "baby", "bear"],
  splits: { train: [0, 3, 1], test: [2, 1] },
  async write(root) {
    const base = "cifar-100-binary";
    put(root, `${base}/fine_label_names.txt`, lines(this.classes));
    put(root, `${base}/coarse_label_names.txt`, lines(["aquatic_mammals", "fish"]));
    for (const split of ["train", "test"] as const) {
      const records = this.splits[split]!.flatMap((label) => [Buffer.from([9 - label, label]), planes(label, 32)]);
      put(root, `${base}/${split}.bin`, Buffer.concat(records));
    }
  },
};

export const cifar100Python: SyntheticDataset = {
  ...cifar100Binary,
  layout: "python",
  async write(root) {
    const base = "cifar-100-python";
    put(root, `${base}/meta`, pickledFacts("fine_label_names", this.classes));
    for (const split of ["train", "test"] as const) {
      const labels = this.splits[split]!;
      const pictures = labels.map((label) => planes(label, 32));
      put(root, `${base}/${split}`, pickledBatch("fine_labels", labels, pictures));
    }
  },
};

export const stl10: SyntheticDataset = {
  name: "stl10",
  layout: "official",
  classes: ["airplane", "bird", "car"],
  splits: { train: [2, 0], test: [1, 2, 0] },
  async write(root) {
    const base = "stl10_binary";
    // No line end after the last name, as in the original.
    put(root, `${base}/class_names.txt`, this.classes.join("\n"));
    for (const split of ["train", "test"] as const) {
      const labels = this.splits[split]!;
      put(
        root,
        `${base}/${split}_y.bin`,
        Uint8Array.from(labels, (label) => label + 1),
      );
      put(root, `${base}/${split}_X.bin`, Buffer.concat(labels.map((label) => planes(label, 96, true))));
    }
  },
};
