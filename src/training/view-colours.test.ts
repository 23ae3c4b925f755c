/** Colours that are changed many views at once, held against those that are changed view by view: the same bytes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type ColourChange,
  changeColours,
  changeKinds,
  colourList,
  drawChanges,
  emptyColourLists,
  listRoom,
  setColourList,
} from "../images/index.ts";
import { Random } from "../support/index.ts";
import { Tensor, memoryInfo, native, scope, torchInfo } from "../torch/index.ts";
import { type ViewColoursOptions, changeViewColours } from "./view-colours.ts";

const devices = ["cpu", torchInfo().cudaDevices > 0 ? "cuda:0" : native().standInDevice()];

/** Changes views in both ways, and holds one against the other. */
function compare(
  lists: readonly (readonly ColourChange[])[],
  width: number,
  height: number,
  pixel: (view: number, at: number) => number,
  options?: ViewColoursOptions,
): void {
  const bytes = width * height * 3;
  const views = Uint8Array.from({ length: lists.length * bytes }, (_, i) => pixel(Math.floor(i / bytes), i % bytes));
  const packed = emptyColourLists(lists.length);
  lists.forEach((list, view) => setColourList(packed, view, list));
  for (const device of devices) {
    const found = scope(() => {
      const there = Tensor.from(views, [lists.length, height, width, 3], { device });
      changeViewColours(there, packed, options);
      return there.toTypedArray() as Uint8Array;
    });
    lists.forEach((list, view) => {
      const expected = views.slice(view * bytes, (view + 1) * bytes);
      changeColours(expected, width, height, list);
      const own = found.subarray(view * bytes, (view + 1) * bytes);
      const wrong = own.findIndex((value, i) => value !== expected[i]);
      const where = `view ${view} on ${device}, byte ${wrong}: ${own[wrong]}, expected ${expected[wrong]}, ${JSON.stringify(list)}`;
      assert.equal(wrong, -1, where);
    });
  }
}

/** Any bytes, smooth in places. */
function noise(name: string): (view: number, at: number) => number {
  const random = Random.of(name);
  let last = 0;
  return () => (last = random.uniform() < 0.3 ? random.integer(256) : Math.min(255, Math.max(0, last + random.integer(9) - 4)));
}

const extremes: Record<ColourChange["kind"], number[]> = {
  brightness: [0, 0.6, 1, 1.4, 3],
  contrast: [0, 0.6, 1, 1.4, 3],
  saturation: [0, 0.6, 1, 1.4, 3],
  hue: [-0.5, -0.1, -0.001, 0, 0.001, 0.1, 0.5],
  grayscale: [0],
  blur: [0, 0.1, 1, 1.41, 1.42, 2, 3.3, 9],
};

describe("colours of many views at once are those of one view after the other", () => {
  for (const kind of changeKinds) {
    test(`${kind}, to its ends, also of views that are smaller than a blur`, () => {
      const lists = extremes[kind].map((amount) => [{ kind, amount }]);
      compare(lists, 13, 7, noise(kind));
      compare(lists, 1, 1, noise(kind));
      compare(lists, 2, 1, noise(kind));
      compare(lists, 5, 4, () => 255);
      compare(lists, 4, 5, (_, at) => (at % 3 === 0 ? 255 : 0));
    });
  }

  test("jitters in all orders, with and without gray and blur, in one go and a few views at a time", () => {
    const random = Random.of("orders");
    const between = (low: number, high: number): number => low + (high - low) * random.uniform();
    const orders = (rest: readonly ColourChange["kind"][]): ColourChange["kind"][][] =>
      rest.length === 0 ? [[]] : rest.flatMap((kind) => orders(rest.filter((other) => other !== kind)).map((order) => [kind, ...order]));
    const all = orders(["brightness", "contrast", "saturation", "hue"]);
    assert.equal(all.length, 24);
    const lists = [...all, []].flatMap((order) =>
      [[], ["grayscale"], ["blur"], ["grayscale", "blur"]].map((more) =>
        [...order, ...(more as ColourChange["kind"][])].map((kind): ColourChange => {
          const amount = kind === "hue" ? between(-0.1, 0.1) : kind === "blur" ? between(0.1, 2) : between(0.6, 1.4);
          return { kind, amount };
        }),
      ),
    );
    for (const atOnce of [undefined, 1, 7]) compare(lists, 6, 5, noise("orders"), atOnce === undefined ? {} : { atOnce });
  });

  test("what SLIP draws, at its size", () => {
    const random = Random.of("drawn");
    compare(
      Array.from({ length: 12 }, () => drawChanges(random)),
      224,
      224,
      noise("drawn"),
    );
  });

  test("any list, in any order, with changes that come again", () => {
    const random = Random.of("any");
    const any = (): ColourChange => {
      const kind = random.choice(changeKinds);
      return { kind, amount: random.choice(extremes[kind]) };
    };
    compare(
      Array.from({ length: 60 }, () => Array.from({ length: random.integer(listRoom + 1) }, any)),
      4,
      3,
      noise("any"),
    );
  });
});

test("nothing to do leaves views as they are; nothing stays in memory but tables", () => {
  const lists = emptyColourLists(2);
  scope(() => {
    const views = Tensor.from(Uint8Array.of(1, 2, 3, 4, 5, 6), [2, 1, 1, 3]);
    changeViewColours(views, lists);
    assert.deepEqual(views.toArray(), [1, 2, 3, 4, 5, 6]);
    setColourList(lists, 1, drawChanges(Random.of("memory"), { jitterChance: 1, grayscaleChance: 1, blurChance: 1 }));
    changeViewColours(views, lists);
    const before = memoryInfo().live;
    changeViewColours(views, lists);
    assert.equal(memoryInfo().live, before);
  });
});

test("lists come out of their arrays as they went in, and one takes the place of another", () => {
  const lists = emptyColourLists(3);
  const full: ColourChange[] = Array.from({ length: listRoom }, (_, i) => ({ kind: changeKinds[i % 6]!, amount: i / 7 }));
  setColourList(lists, 1, full);
  setColourList(lists, 2, full);
  setColourList(lists, 2, full.slice(3, 5));
  assert.deepEqual(colourList(lists, 0), []);
  assert.deepEqual(colourList(lists, 1), full);
  assert.deepEqual(colourList(lists, 2), full.slice(3, 5));
  assert.throws(() => setColourList(lists, 0, [...full, ...full]), /12 changes/u);
});
