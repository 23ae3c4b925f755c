/**
 * Examples of merging an alt-text with the caption that a captioning model gave the same image, in the manner of VeCLIP and
 * CapsFusion: names, places and kinds come from the alt-text, what is to be seen comes from the machine, and advertising, file
 * names and repetitions go.
 *
 * Written for this project; no sentence is taken from a published list and no model was asked. Machine captions are short and
 * plain, as captioning models write them, and know no names; where the two disagree, the output keeps what the alt-text names.
 */
import type { Triple } from "../pairs.ts";

/** An alt-text, a machine's caption of the image, and both in one; three of them make a prompt. */
export const fusionTriples: readonly Triple[] = [
  [
    "Matterhorn view from Zermatt - free wallpaper HD",
    "a snowy mountain peak behind a village with wooden houses",
    "The snowy peak of the Matterhorn rises behind the wooden houses of Zermatt.",
  ],
  [
    "<PERSON> arrives at the premiere in Cannes",
    "a woman in a long green dress standing on a red carpet",
    "<PERSON> stands on the red carpet in a long green dress at the premiere in Cannes.",
  ],
  [
    "1967 Ford Mustang Fastback for sale, low mileage!",
    "a blue car parked on a gravel road next to a field",
    "A blue 1967 Ford Mustang Fastback is parked on a gravel road beside a field.",
  ],
  [
    "Our famous Black Forest cake recipe",
    "a chocolate cake with cherries on a white plate",
    "A Black Forest cake with chocolate and cherries stands on a white plate.",
  ],
  [
    "IMG_2291 Siberian husky Luna's first winter",
    "a dog running through deep snow",
    "Luna, a young Siberian husky, runs through the deep snow of her first winter.",
  ],
  [
    "Golden Gate Bridge in fog | stock photo",
    "a red bridge with clouds around its towers",
    "The red towers of the Golden Gate Bridge reach out of the fog.",
  ],
  [
    "Vintage Rolex Submariner, 1970s, stainless steel",
    "a close up of a silver watch with a black face",
    "A close-up shows a vintage stainless steel Rolex Submariner of the 1970s with a black dial.",
  ],
  [
    "Sakura season has started in Kyoto",
    "people walking under pink trees next to a river",
    "People walk beneath pink cherry blossoms along a river in Kyoto.",
  ],
  [
    "Handwoven Moroccan Berber rug 5x8 ft - FREE SHIPPING",
    "a white rug with black diamond shapes on a wooden floor",
    "A handwoven Moroccan Berber rug with black diamonds on white lies on a wooden floor.",
  ],
  [
    "Monarch butterfly (Danaus plexippus), Ontario",
    "an orange and black butterfly sitting on a purple flower",
    "An orange and black monarch butterfly rests on a purple flower in Ontario.",
  ],
  [
    "The string quartet rehearsing before tonight's concert",
    "four people sitting on chairs and playing instruments in an empty hall",
    "The four players of a string quartet rehearse in an empty hall before their concert.",
  ],
  [
    "Lighthouse of Peggy's Cove after the storm",
    "a white and red lighthouse on large rocks near the ocean",
    "The white and red lighthouse of Peggy's Cove stands on large rocks by the ocean after a storm.",
  ],
  [
    "Homemade ramen, step by step",
    "a bowl of soup with noodles, an egg and green onions",
    "A bowl of homemade ramen is topped with an egg and green onions.",
  ],
  [
    "Volunteers plant 500 oaks in the city park",
    "a group of people holding shovels in a grassy field",
    "Volunteers with shovels plant oaks on the grass of the city park.",
  ],
  [
    "Boeing 747 landing at St. Maarten, amazing!!",
    "a large airplane flying low over a beach with people on it",
    "A Boeing 747 flies low over a beach full of people to land at St. Maarten.",
  ],
  [
    "grandma's sewing room, before the renovation",
    "an old sewing machine on a table in front of a window with curtains",
    "An old sewing machine stands on a table by the curtained window of a grandmother's sewing room.",
  ],
];
