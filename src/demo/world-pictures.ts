/** The world's concepts as the report shows them. */
import type { DemoPicture } from "./demo-results.ts";
import type { EmojiWorld } from "./emoji-world.ts";
import { evaluationWords } from "./evaluation-words.ts";

/** Every concept with its held-out drawing, its training drawings and the evaluation's words, in the order of the world. */
export function worldPictures(world: EmojiWorld): DemoPicture[] {
  const drawings = new Map<string, { style: string; image: string }[]>();
  for (const { concept, style, image } of world.samples) {
    const known = drawings.get(concept.hexcode);
    const drawing = { style: world.styleLabels[style], image };
    if (known) known.push(drawing);
    else drawings.set(concept.hexcode, [drawing]);
  }
  return world.concepts.map(({ hexcode, emoji, name }) => ({
    hexcode,
    name,
    otherWords: evaluationWords(emoji, name).otherWords,
    image: world.heldOut.image(hexcode),
    training: drawings.get(hexcode) ?? [],
  }));
}
