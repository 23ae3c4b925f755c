import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, test } from "node:test";
import { DataError, UsageError, sha256 } from "../support/index.ts";
import { type ClassList, type ProtocolName, classList, classListNames, protocolNames } from "./class-lists.ts";

/** SHA-256 of all keys with their names and of the prompts, of each protocol, so that no slip of the keyboard goes unseen. */
const hashes: Record<string, Record<ProtocolName, string>> = {
  imagenet1k: {
    slip: "19b932a235a4033d0c2bc1992e5f15d37b4e7c563920dbb53a515459a44ca68f",
    openai: "24d42b9924477892d68b317d5d5cd64ea86a34689d965cc88a0977587bc9c9b2",
    "clip-benchmark": "24d42b9924477892d68b317d5d5cd64ea86a34689d965cc88a0977587bc9c9b2",
  },
  food101: {
    slip: "5c80cdfc6a264bd101b1faa2cfec39ed7f8d0b4d93eb8447931772d48c9b8d14",
    openai: "5c80cdfc6a264bd101b1faa2cfec39ed7f8d0b4d93eb8447931772d48c9b8d14",
    "clip-benchmark": "5c80cdfc6a264bd101b1faa2cfec39ed7f8d0b4d93eb8447931772d48c9b8d14",
  },
  cifar10: {
    slip: "3f1fbf36f972c3b5836faae746f737f411e93f6829dc1f53b40de60c17f875f8",
    openai: "3f1fbf36f972c3b5836faae746f737f411e93f6829dc1f53b40de60c17f875f8",
    "clip-benchmark": "3f1fbf36f972c3b5836faae746f737f411e93f6829dc1f53b40de60c17f875f8",
  },
  cifar100: {
    slip: "3a68d016c7d8eaa9a9134966826429d3cbb46fafad91dd9ef0cdc117772c9e1f",
    openai: "3a68d016c7d8eaa9a9134966826429d3cbb46fafad91dd9ef0cdc117772c9e1f",
    "clip-benchmark": "3a68d016c7d8eaa9a9134966826429d3cbb46fafad91dd9ef0cdc117772c9e1f",
  },
  sun397: {
    slip: "c526532d1ce31ceecadcb5b3eeefb70214dc261e9a686086645339adf1b948e8",
    openai: "c526532d1ce31ceecadcb5b3eeefb70214dc261e9a686086645339adf1b948e8",
    "clip-benchmark": "c526532d1ce31ceecadcb5b3eeefb70214dc261e9a686086645339adf1b948e8",
  },
  cars: {
    slip: "8fc2f23e3f2e68050682d6311d625f166efa6f78b7cfb9150c3817a124cd7124",
    openai: "8fc2f23e3f2e68050682d6311d625f166efa6f78b7cfb9150c3817a124cd7124",
    "clip-benchmark": "8fc2f23e3f2e68050682d6311d625f166efa6f78b7cfb9150c3817a124cd7124",
  },
  fgvc_aircraft: {
    slip: "092a91f4e5a4afcc7c5d63e30d2ba7e4d636be442c5606223b11e36cd782ecd3",
    openai: "092a91f4e5a4afcc7c5d63e30d2ba7e4d636be442c5606223b11e36cd782ecd3",
    "clip-benchmark": "092a91f4e5a4afcc7c5d63e30d2ba7e4d636be442c5606223b11e36cd782ecd3",
  },
  dtd: {
    slip: "3af8c9433b1ced54b28e04ac35a4fbc096408904aef8219121c757286446aeee",
    openai: "3af8c9433b1ced54b28e04ac35a4fbc096408904aef8219121c757286446aeee",
    "clip-benchmark": "3af8c9433b1ced54b28e04ac35a4fbc096408904aef8219121c757286446aeee",
  },
  pets: {
    slip: "114199eca9179aab2a41fbfee31b76165db6675e292c07735a6f688ad9abce74",
    openai: "114199eca9179aab2a41fbfee31b76165db6675e292c07735a6f688ad9abce74",
    "clip-benchmark": "b7ae8f82a930c797c9b82d6504a860d25402a75ce796c97c77f6433fd1786918",
  },
  caltech101: {
    slip: "d5bc523df223e3ce678e1e776abd4b6948c4c9ae17efd05dd1922e4c7942dbff",
    openai: "d5bc523df223e3ce678e1e776abd4b6948c4c9ae17efd05dd1922e4c7942dbff",
    "clip-benchmark": "d5bc523df223e3ce678e1e776abd4b6948c4c9ae17efd05dd1922e4c7942dbff",
  },
  flowers: {
    slip: "944902c82a3d364a6f664afddf7a3fa47c899663516ee832307cbb5de1a62e84",
    openai: "944902c82a3d364a6f664afddf7a3fa47c899663516ee832307cbb5de1a62e84",
    "clip-benchmark": "944902c82a3d364a6f664afddf7a3fa47c899663516ee832307cbb5de1a62e84",
  },
  stl10: {
    slip: "6d045c4f6403c87397397bd648079eb285b95b4d8e9f70ca163eecfca983c2fc",
    openai: "6d045c4f6403c87397397bd648079eb285b95b4d8e9f70ca163eecfca983c2fc",
    "clip-benchmark": "6d045c4f6403c87397397bd648079eb285b95b4d8e9f70ca163eecfca983c2fc",
  },
  eurosat: {
    slip: "e64e6e4ddbbfcd535584e4f10b45ea0775277606bbd145b3886e1184c15319c2",
    openai: "e64e6e4ddbbfcd535584e4f10b45ea0775277606bbd145b3886e1184c15319c2",
    "clip-benchmark": "e64e6e4ddbbfcd535584e4f10b45ea0775277606bbd145b3886e1184c15319c2",
  },
  resisc45: {
    slip: "3e05224cf2160a1655d4b22e7179bfe944ca5b7a8921c80a038b4a4863d80c25",
    openai: "3e05224cf2160a1655d4b22e7179bfe944ca5b7a8921c80a038b4a4863d80c25",
    "clip-benchmark": "b61ed29318a000a5ec5d43cb90ab885b76210e379f416f92d1c553788d424062",
  },
  gtsrb: {
    slip: "22a8401610950124edd454ad7e6812132001916e1335ba9235861f70d6ddb130",
    openai: "22a8401610950124edd454ad7e6812132001916e1335ba9235861f70d6ddb130",
    "clip-benchmark": "22a8401610950124edd454ad7e6812132001916e1335ba9235861f70d6ddb130",
  },
  country211: {
    slip: "1698adb2b3ed6e96984ee8d7e716ddbf80205c00b54e1051c5380bb1de2ba1fd",
    openai: "1698adb2b3ed6e96984ee8d7e716ddbf80205c00b54e1051c5380bb1de2ba1fd",
    "clip-benchmark": "1698adb2b3ed6e96984ee8d7e716ddbf80205c00b54e1051c5380bb1de2ba1fd",
  },
};

function hashOf(list: ClassList, protocol: ProtocolName): string {
  const { keys } = list;
  const names = list.names(protocol);
  return sha256(JSON.stringify([keys.map((key, i) => [key, ...names[i]!]), list.templates(protocol)]));
}

test("the lists are what they were when they were compared with the published ones", () => {
  const found = Object.fromEntries(
    classListNames.map((name) => [
      name,
      Object.fromEntries(protocolNames.map((protocol) => [protocol, hashOf(classList(name), protocol)])),
    ]),
  );
  assert.deepEqual(found, hashes);
});

test("sizes and metrics are those of the paper's table", () => {
  const table = classListNames.map((name) => {
    const list = classList(name);
    return [name, list.keys.length, list.templates("slip").length, list.metric === "acc1" ? "" : "mean per class"];
  });
  assert.deepEqual(table, [
    ["imagenet1k", 1000, 7, ""],
    ["food101", 101, 1, ""],
    ["cifar10", 10, 18, ""],
    ["cifar100", 100, 18, ""],
    ["sun397", 397, 2, ""],
    ["cars", 196, 8, ""],
    ["fgvc_aircraft", 100, 2, "mean per class"],
    ["dtd", 47, 8, ""],
    ["pets", 37, 1, "mean per class"],
    ["caltech101", 102, 34, "mean per class"],
    ["flowers", 102, 1, "mean per class"],
    ["stl10", 10, 2, ""],
    ["eurosat", 10, 3, ""],
    ["resisc45", 45, 18, ""],
    ["gtsrb", 43, 3, ""],
    ["country211", 211, 5, ""],
  ]);
  assert.equal(classList("imagenet1k").templates("openai").length, 80);
});

describe("classes are found by key and by name", () => {
  test("some of ImageNet's folders, in any order", () => {
    const imagenet = classList("imagenet1k");
    assert.deepEqual(imagenet.namesOf(["n02102040", "n01440764"], "slip", "here"), [["English Springer Spaniel"], ["tench"]]);
    assert.equal(imagenet.find("n15075141"), 999);
    assert.equal(imagenet.find("sunglasses"), undefined, "two classes have this name");
  });

  test("other spellings: numbers with zeros before them, blanks, capitals, accents", () => {
    assert.equal(classList("gtsrb").find("00014"), 14);
    assert.equal(classList("cars").find("AM General Hummer SUV 2000"), 0);
    assert.deepEqual(classList("eurosat").namesOf(["SeaLake", "AnnualCrop"], "openai", "here"), [["lake or sea"], ["annual crop land"]]);
    assert.equal(classList("fgvc_aircraft").find("f-16a/b"), 72);
    assert.deepEqual(classList("pets").namesOf(["american_bulldog"], "clip-benchmark", "here"), [["American Bulldog"]]);
  });

  test("classes that belong to another set, and two for one, are refused by name", () => {
    const refused = (classes: string[], message: RegExp): void =>
      assert.throws(
        () => classList("food101").namesOf(classes, "openai", "lunch"),
        (error) => error instanceof DataError && message.test(error.message),
      );
    refused(["apple_pie", "tench", "goldfish"], /^lunch: 2 of 3 classes are none of food101: tench, goldfish\.$/);
    refused(["apple_pie", "apple pie"], /"apple_pie" and "apple pie" are the same class/);
    assert.throws(() => classList("food102"), UsageError);
  });
});

describe("the published lists", () => {
  const folder = fileURLToPath(new URL("../../../../shared/data/protocol/", import.meta.url));
  const skip = existsSync(folder) ? false : "the published lists are not beside this repository (../shared/data/protocol)";
  const read = <T>(name: string): T => JSON.parse(readFileSync(folder + name, "utf8")) as T;
  /** SLIP's and prompts.md's names for the sets, where they differ from CLIP_benchmark's. */
  const slipNames: Record<string, string> = { imagenet1k: "imagenet", fgvc_aircraft: "aircraft" };
  const titles: Record<string, string> = {
    food101: "Food101",
    cifar10: "CIFAR10",
    cifar100: "CIFAR100",
    sun397: "SUN397",
    cars: "StanfordCars",
    fgvc_aircraft: "FGVCAircraft",
    dtd: "DescribableTextures",
    pets: "OxfordPets",
    caltech101: "Caltech101",
    flowers: "Flowers102",
    stl10: "STL10",
    eurosat: "EuroSAT",
    resisc45: "RESISC45",
    gtsrb: "GTSRB",
    country211: "Country211",
  };
  const one = (names: string[][]): string[] => names.map((own) => (assert.equal(own.length, 1), own[0]!));
  /** Pets has the order of its annotations here: SLIP's order puts the cats first. */
  const asWritten = (name: string, names: string[]): string[] => (name === "pets" ? names.toSorted() : names);

  test("SLIP's labels and templates, in their order", { skip }, () => {
    const labels = read<Record<string, string[]>>("slip_labels.json");
    const templates = read<Record<string, string[]>>("slip_templates.json");
    for (const name of classListNames) {
      const list = classList(name);
      const slip = slipNames[name] ?? name;
      assert.deepEqual(asWritten(name, one(list.names("slip"))), labels[slip], name);
      assert.deepEqual(list.templates("slip"), templates[slip], name);
    }
  });

  test("OpenAI's names and templates; EuroSAT's, which it lists in an order of its own, as a set", { skip }, () => {
    const page = readFileSync(`${folder}openai_prompts.md`, "utf8");
    for (const [name, title] of Object.entries(titles)) {
      const section = page.split(/^## /m).find((part) => part.startsWith(`${title}\n`))!;
      const listed = (what: string): string[] =>
        [...new RegExp(`^${what} = \\[\\n([^]*?)^\\]`, "m").exec(section)![1]!.matchAll(/^ {4}(['"])(.*)\1,$/gm)].map(([, quote, text]) =>
          text!.replaceAll(`\\${quote}`, quote!),
        );
      const list = classList(name);
      const [ours, theirs] = [asWritten(name, one(list.names("openai"))), listed("classes")];
      assert.deepEqual(name === "eurosat" ? ours.toSorted() : ours, name === "eurosat" ? theirs.toSorted() : theirs, name);
      assert.deepEqual(list.templates("openai"), listed("templates"), name);
    }
  });

  test("CLIP_benchmark's names where it has some, and its templates", { skip }, () => {
    const names = read<Record<string, string[]>>("en_classnames.json");
    const templates = read<Record<string, string[]>>("en_zeroshot_classification_templates.json");
    const named: string[] = [];
    for (const name of classListNames) {
      const list = classList(name);
      assert.deepEqual(
        list.templates("clip-benchmark"),
        templates[name]!.map((line) => line.replace("{c}", "{}")),
        name,
      );
      if (names[name] === undefined) continue;
      named.push(name);
      assert.deepEqual(one(list.names("clip-benchmark")), names[name], name);
    }
    assert.deepEqual(named, ["imagenet1k", "pets", "caltech101", "flowers", "eurosat", "gtsrb", "country211"]);
    assert.deepEqual(classList("imagenet1k").templates("openai"), classList("imagenet1k").templates("clip-benchmark"));
  });
});
