/**
 * German Traffic Signs (Stallkamp et al. 2011): photos of 43 signs as pixmaps, with lists whose columns are set apart by semicolons.
 *
 * Two archives of training images are about: that of the competition (26,640) and the final one (39,209). CLIP's line of work has the first.
 */
import { DataError } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";

const trainFolders = ["GTSRB/Training", "Training", "GTSRB/Final_Training/Images", "Final_Training/Images"];
const testFolders = ["GTSRB/Final_Test/Images", "Final_Test/Images"];
const testLists = ["GT-final_test.csv", "GTSRB/GT-final_test.csv", "GTSRB/Final_Test/Images/GT-final_test.csv"];

export const gtsrb: DatasetDefinition = {
  name: "gtsrb",
  title: "German Traffic Signs (GTSRB)",
  classCount: 43,
  metric: "acc1",
  licence: "no licence given; free to use for research",
  page: "https://benchmark.ini.rub.de/gtsrb_dataset.html",
  archives: ["GTSRB-Training_fixed.zip", "GTSRB_Final_Training_Images.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"],
  layout:
    "Unpack GTSRB-Training_fixed.zip (or GTSRB_Final_Training_Images.zip), GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip in gtsrb: gtsrb/GTSRB/Training/00000, gtsrb/GTSRB/Final_Test/Images and gtsrb/GT-final_test.csv.",
  origin: "training folders, GT-final_test.csv",
  expected: { train: 26_640, test: 12_630 },
  places: ["gtsrb", "."],
  markers: [...trainFolders.filter((folder) => folder.startsWith("GTSRB")), "GT-final_test.csv", ...testFolders],
  open(files) {
    const classes = Array.from({ length: 43 }, (_, label) => String(label).padStart(5, "0"));
    const train = files.first(...trainFolders);
    const final = train?.includes("Final_Training") === true;
    if (final) files.notes.push("The final training images (39,209), not those of the competition (26,640) that CLIP's line of work has.");
    return {
      classes,
      splits: { ...(train === undefined ? {} : { train: () => files.classFolders(train, classes) }), test: () => testImages(files) },
      ...(final ? { expected: { train: 39_209, test: 12_630 } } : {}),
    };
  },
};

/** Lines such as "00000.ppm;53;54;6;5;48;49;16", below a line that names the columns. */
function testImages(files: DatasetFiles): ReturnType<DatasetFiles["listed"]> {
  const list = files.first(...testLists);
  const folder = files.first(...testFolders);
  if (list === undefined || folder === undefined) {
    throw new DataError(`${files.path}: there is no ${list === undefined ? testLists[0] : testFolders[0]}.`, {
      mend: `Unpack ${list === undefined ? "GTSRB_Final_Test_GT.zip" : "GTSRB_Final_Test_Images.zip"} there.`,
    });
  }
  const [head, ...rows] = files.lines(list);
  const columns = head!.text.split(";").map((name) => name.trim());
  const [image, label] = [columns.indexOf("Filename"), columns.indexOf("ClassId")];
  if (image < 0 || label < 0) {
    throw new DataError(`${head!.where}: expected columns Filename and ClassId, found ${columns.join(", ")}.`, {
      mend: "The list without labels is GT-final_test.test.csv; the one with them is in GTSRB_Final_Test_GT.zip.",
    });
  }
  const entries = rows.map(({ text, where }) => {
    const cells = text.split(";").map((cell) => cell.trim());
    const value = cells[label] === undefined || cells[label] === "" ? NaN : Number(cells[label]);
    return { image: `${folder}/${cells[image]}`, label: files.label(value, where, 43, 0) };
  });
  return files.listed(list, entries);
}
