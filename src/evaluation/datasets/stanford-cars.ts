/**
 * Stanford Cars (Krause et al. 2013): 196 makes, models and years. Two layouts are about: `cars_annos.mat` with all images in `car_ims`, and
 * a devkit with `cars_train` and `cars_test`.
 */
import { DataError } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition, OpenedLayout } from "./dataset.ts";
import { MatLists } from "./mat-lists.ts";

const testLists = ["cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"];

export const stanfordCars: DatasetDefinition = {
  name: "cars",
  aliases: ["stanford-cars", "stanford_cars", "stanfordcars"],
  title: "Stanford Cars",
  classCount: 196,
  metric: "acc1",
  licence: "for non-commercial research",
  page: "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
  archives: ["cars_train.tgz", "cars_test.tgz", "car_devkit.tgz", "car_ims.tgz"],
  layout:
    "Unpack cars_train.tgz, cars_test.tgz and car_devkit.tgz in stanford_cars, and put cars_test_annos_withlabels.mat beside them; or unpack car_ims.tgz there, beside cars_annos.mat.",
  origin: "the lists of the devkit, or the field `test` of cars_annos.mat",
  expected: { train: 8_144, test: 8_041 },
  places: ["stanford_cars", "stanford-cars", "cars"],
  markers: ["cars_annos.mat", "devkit/cars_meta.mat"],
  open: (files) => (files.has("cars_annos.mat") ? ofOneList(files) : ofDevkit(files)),
};

function ofOneList(files: DatasetFiles): OpenedLayout {
  const list = new MatLists(files.at("cars_annos.mat"));
  const classes = list.texts("class_names");
  const paths = list.fieldTexts("annotations", "relative_im_path");
  const labels = list.fieldNumbers("annotations", "class");
  const isTest = list.fieldNumbers("annotations", "test");
  const split = (test: number) => () =>
    files.listed(
      "cars_annos.mat",
      paths.flatMap((image, i) =>
        isTest[i] === test
          ? [{ image, label: files.label(labels[i]!, `${files.at("cars_annos.mat")}, image ${i + 1}`, classes.length, 1) }]
          : [],
      ),
    );
  return { classes, splits: { train: split(0), test: split(1) } };
}

function ofDevkit(files: DatasetFiles): OpenedLayout {
  const classes = new MatLists(files.at("devkit/cars_meta.mat")).texts("class_names");
  const split = (folder: string, name: string) => {
    const list = new MatLists(files.at(name));
    const labels = list.fieldNumbers("annotations", "class");
    const entries = list.fieldTexts("annotations", "fname").map((image, i) => ({
      image: `${folder}/${image}`,
      label: files.label(labels[i]!, `${files.at(name)}, image ${i + 1}`, classes.length, 1),
    }));
    return files.listed(name, entries);
  };
  return {
    classes,
    splits: {
      train: () => split("cars_train", "devkit/cars_train_annos.mat"),
      test: () => {
        const list = files.first(...testLists);
        if (list !== undefined) return split("cars_test", list);
        throw new DataError(`${files.path}: there is no ${testLists[0]}; the devkit's list of the test images has no labels.`, {
          mend: "Download it from the set's page as well.",
        });
      },
    },
  };
}
