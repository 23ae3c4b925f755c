/**
 * Example pairs in the manner of a person who looks at the picture and says the alt-text again in sober words.
 *
 * Written for this project, in the style of such annotations; the pictures are imagined. Inputs have 9 to 14 words, outputs about 15.
 * They drop what a picture can't show (names, dates, advertising) and say what would be seen.
 */
import type { Pair } from "../pairs.ts";

/** Pairs of an original and its rewrite; three of them make a prompt. */
export const humanPairs: readonly Pair[] = [
  [
    "a general view of the stadium ahead of the match between the two sides",
    "An empty football stadium with green grass, seen from high up in the stands.",
  ],
  [
    "buy this wooden dining table with six chairs at the best price",
    "A brown dining table made of wood, with three chairs on each of its long sides.",
  ],
  [
    "<PERSON> speaks to reporters at a press conference on thursday",
    "A man in a dark suit is talking into several microphones in front of journalists.",
  ],
  [
    "our guide to the best hiking trails for the whole family",
    "Two adults and two children with backpacks are walking along a path in the woods.",
  ],
  [
    "the old mill by the river photographed in the spring of last year",
    "An old stone mill with a water wheel stands beside a river among green trees.",
  ],
  [
    "how to make a birthday card from colored paper in ten minutes",
    "A hand-made birthday card, with cut-out paper balloons glued on it, lies on a desk.",
  ],
  [
    "black leather ankle boots with a low heel for women, size guide",
    "A pair of short black leather boots with low heels in front of a white wall.",
  ],
  ["a tram passes the opera house on a rainy evening", "A yellow tram is driving by a large old building and the wet street shines."],
  ["my dog was so tired after our long trip to the lake", "A brown dog is lying asleep on its side on the back seat of a car."],
  [
    "the museum opens its new hall of dinosaur skeletons to visitors",
    "People are standing around the skeleton of a large dinosaur in a bright hall.",
  ],
  [
    "flooding closed several roads after heavy rain in the region",
    "A car is standing in brown water that covers the road up to its doors.",
  ],
  [
    "easy recipe for grilled salmon with lemon and green beans",
    "A piece of cooked salmon with a slice of lemon and green beans on a plate.",
  ],
  [
    "the kids loved feeding the ducks at the pond near our hotel",
    "Two small children are throwing bread to some ducks at the edge of a pond.",
  ],
  [
    "workers repair the roof of the church, which is two centuries old",
    "Three men wearing helmets are working on the steep roof of an old church.",
  ],
  [
    "stock photo of a businesswoman talking on the phone in her office",
    "A woman with glasses is sitting at a desk and holding a phone to her ear.",
  ],
  [
    "the red train crosses a high stone bridge in the mountains",
    "A red train is going over a tall bridge with arches, with snowy mountains behind.",
  ],
];
