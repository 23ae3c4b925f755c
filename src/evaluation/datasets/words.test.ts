import assert from "node:assert/strict";
import { test } from "node:test";
import { classList } from "../../data/index.ts";
import { imagenetPreprocessing, openaiPreprocessing } from "../../models/index.ts";
import { DataError } from "../../support/index.ts";
import { datasetDefinition, datasetWords, normalisationFits, ownWords, protocolOf } from "./index.ts";

test("names follow a set's own classes, in whatever order and spelling it has them", () => {
  const pets = datasetDefinition("oxford-iiit-pet");
  const { names, templates, words } = datasetWords(pets, { classes: ["pug", "Abyssinian", "american_bulldog"] }, "slip");
  assert.deepEqual([names, words], [[["pug"], ["Abyssinian"], ["american bulldog"]], "slip"]);
  assert.deepEqual(templates, ["a photo of a {}, a type of pet."]);
  const signs = datasetWords(datasetDefinition("gtsrb"), { classes: ["00014", "00000"] });
  assert.deepEqual(signs.names, [["stop"], ["red and white circle 20 kph speed limit"]]);
  assert.throws(
    () => datasetWords(pets, { classes: ["pug", "tench"] }),
    (error) => error instanceof DataError && /tench/.test(error.message),
  );
});

test("a class that is spelled in a way of its own is known by its place, where all others stand at theirs", () => {
  const cifar = datasetDefinition("cifar100");
  const { keys } = classList("cifar100");
  const odd = keys.with(41, "mower");
  assert.deepEqual(datasetWords(cifar, { classes: odd }).names[41], ["lawn mower"]);
  assert.throws(() => datasetWords(cifar, { classes: [...odd.slice(1), odd[0]!] }), /1 of 100 classes are none of cifar100: mower/);
});

test("sets of ImageNet's classes have ImageNet's words under every protocol", () => {
  for (const name of ["imagenet1k", "imagenetv2", "imagenet-a", "imagenet-r", "imagenet_sketch"]) {
    for (const protocol of ["slip", "openai", "clip-benchmark"] as const) {
      const { words, names, templates } = datasetWords(datasetDefinition(name), { classes: ["n01443537"] }, protocol);
      assert.deepEqual([words, names, templates.length], [protocol, [["goldfish"]], protocol === "slip" ? 7 : 80], name);
    }
  }
});

test("words of one's own are the protocol's only where names and prompts are", () => {
  const folders = ["n01440764", "n01443537"];
  const names = [["tench"], ["goldfish"]];
  assert.deepEqual(ownWords(["hot_dog"], {}, "slip"), {
    names: [["hot dog"]],
    templates: ["a photo of a {}."],
    words: "own",
  });
  const known = ownWords(folders, { names }, "slip");
  assert.deepEqual([known.words, known.templates.length], ["slip", 7]);
  assert.equal(ownWords(folders, { names, templates: ["{}"] }, "slip").words, "own");
  assert.equal(ownWords(folders, { names: [["a fish"], ["goldfish"]] }, "slip").words, "own");
  assert.equal(ownWords(folders, { names }).templates.length, 1, "without a protocol, prompts are plain");
  assert.equal(ownWords(["n00000001", "n00000002"], { names }, "slip").words, "own", "WordNet numbers beyond ImageNet-1k");
});

test("a model's normalisation says by which protocol it is told of", () => {
  assert.deepEqual(
    [protocolOf(imagenetPreprocessing), protocolOf(openaiPreprocessing), protocolOf({ mean: [0.5, 0.5, 0.5] })],
    ["slip", "openai", "openai"],
  );
  assert.deepEqual(
    [normalisationFits(openaiPreprocessing, "slip"), normalisationFits(openaiPreprocessing, "clip-benchmark")],
    [false, true],
  );
});
