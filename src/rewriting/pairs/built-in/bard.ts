/**
 * Example pairs in the manner of Bard when asked to retell an alt-text: longer, chattier, and looser with what the picture shows.
 *
 * Written for this project; no chat model was asked and no sentence is taken from a published list.
 * Inputs read like alt-texts from the web (6 to 11 words), outputs have about 20 words and embellish more freely than ChatGPT's.
 */
import type { Pair } from "../pairs.ts";

/** Pairs of an original and its rewrite; three of them make a prompt. */
export const bardPairs: readonly Pair[] = [
  [
    "cup of coffee and laptop on a cafe table",
    "A steaming cup of coffee sits beside an open laptop on a cozy cafe table, ready for a productive morning.",
  ],
  [
    "lighthouse on a rocky coast during a storm",
    "A lone lighthouse stands tall on the rugged coast, guiding ships to safety as furious waves crash against the rocks.",
  ],
  [
    "portrait of an elderly man with a long white beard",
    "This elderly man, with his long white beard and kind eyes, looks as though he has a lifetime of stories to tell.",
  ],
  [
    "grey cat sleeping on a windowsill with plants",
    "A contented grey cat naps on a sunny windowsill, surrounded by lush green plants that make it feel right at home.",
  ],
  [
    "skyline of the financial district at night",
    "The glittering towers of the financial district light up the night sky, a symbol of a city that never sleeps.",
  ],
  [
    "vintage car parked in front of a diner",
    "A beautifully restored vintage car waits outside a classic diner, taking us back to the golden days of the open road.",
  ],
  [
    "farmer harvesting wheat with a combine on a sunny day",
    "Under a bright blue sky, a hardworking farmer steers a combine through waves of golden wheat at harvest time.",
  ],
  [
    "set of hand drawn flowers, design elements for cards",
    "A charming collection of hand-drawn flowers, perfect for adding a touch of spring to cards, invitations and other projects.",
  ],
  [
    "<PERSON> arrives at the premiere with his wife",
    "<PERSON> and his wife smile for the cameras as they arrive at the glamorous premiere, ready for an unforgettable evening.",
  ],
  [
    "flock of sheep grazing on green hills",
    "A peaceful flock of sheep grazes on the rolling green hills, where the grass is fresh and the air is clean.",
  ],
  [
    "basketball player jumps for a dunk in the final game",
    "The basketball player soars through the air for a powerful dunk, bringing fans to their feet in the final game.",
  ],
  [
    "bowl of vegetable soup with bread on the side",
    "A hearty bowl of vegetable soup, served with crusty bread on the side, is the perfect comfort food for chilly days.",
  ],
  [
    "narrow alley in the old town with colorful houses",
    "A narrow alley winds between the colorful houses of the old town, inviting visitors to discover what lies around the corner.",
  ],
  [
    "girl reading a book under a tree in the park",
    "A young girl is lost in the pages of her favorite book, enjoying the cool shade of a tree in the park.",
  ],
  [
    "waterfall in tropical rainforest, long exposure",
    "Silky water tumbles over mossy rocks in this breathtaking waterfall, hidden deep within a lush tropical rainforest.",
  ],
  [
    "new kitchen with white cabinets and marble countertops",
    "This stunning new kitchen features crisp white cabinets and elegant marble countertops, making it a dream for any home cook.",
  ],
];
