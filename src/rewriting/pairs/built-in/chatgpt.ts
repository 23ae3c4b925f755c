/**
 * Example pairs in the manner of ChatGPT when asked to retell an alt-text vividly in under thirty words.
 *
 * Written for this project; no chat model was asked and no sentence is taken from a published list.
 * Inputs read like alt-texts from the web (6 to 10 words), outputs have about 18 words and a vivid turn of phrase each.
 */
import type { Pair } from "../pairs.ts";

/** Pairs of an original and its rewrite; three of them make a prompt. */
export const chatgptPairs: readonly Pair[] = [
  [
    "red bicycle leaning against a brick wall in autumn",
    "A bright red bicycle rests against a weathered brick wall while fallen autumn leaves gather around its wheels.",
  ],
  [
    "young chef preparing pasta in restaurant kitchen",
    "In a bustling restaurant kitchen, a young chef tosses fresh pasta with practiced hands amid clouds of steam.",
  ],
  [
    "view of the harbor at sunset with fishing boats",
    "Fishing boats sway gently in the harbor as the setting sun paints the calm water in glowing orange.",
  ],
  [
    "golden retriever puppy playing with a tennis ball",
    "A playful golden retriever puppy bounds across the lawn, its eyes fixed eagerly on a fuzzy yellow tennis ball.",
  ],
  [
    "<PERSON> performs on stage during the summer festival",
    "Bathed in colorful lights, <PERSON> pours heart and soul into a stage performance before a cheering summer festival crowd.",
  ],
  [
    "modern living room interior with grey sofa, 3d render",
    "A soft grey sofa anchors this sleek living room, where clean lines and gentle daylight create an air of calm.",
  ],
  [
    "stack of old books on wooden table",
    "Timeworn books, their spines faded and cracked, form a leaning tower on top of a rustic wooden table.",
  ],
  [
    "snow covered mountains reflected in lake, national park",
    "Majestic mountains cloaked in fresh snow find their perfect mirror image in the still waters of the lake.",
  ],
  [
    "woman in yellow raincoat walks through city street",
    "Wrapped in a cheerful yellow raincoat, a woman strides along the glistening city street between puddles and umbrellas.",
  ],
  [
    "vector illustration of a rocket flying into space",
    "A stylized rocket blasts away from the planet, leaving a curling trail of smoke among scattered little stars.",
  ],
  [
    "bride and groom dancing at their wedding reception",
    "Lost in each other's eyes, the bride and groom glide across the dance floor at their joyful wedding reception.",
  ],
  [
    "homemade blueberry muffins cooling on a rack",
    "Golden homemade muffins, bursting with juicy blueberries, cool on a wire rack and fill the kitchen with sweetness.",
  ],
  [
    "hot air balloons over the valley in early morning",
    "Dozens of vibrant hot air balloons drift silently above the misty valley as the first light of morning breaks.",
  ],
  [
    "footballer celebrates scoring the opening goal",
    "Arms spread wide, the footballer roars with delight after sending the opening goal into the back of the net.",
  ],
  [
    "antique pocket watch with chain on black background",
    "An ornate antique pocket watch, trailing its delicate chain, gleams like a small treasure against the deep black background.",
  ],
  [
    "children building a sand castle on the beach",
    "Giggling children shape towers and moats with their hands, building a grand sand castle at the ocean's edge.",
  ],
];
