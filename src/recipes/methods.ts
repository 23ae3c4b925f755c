/**
 * The paper's five methods on one data set, each with the numbers of its CLIP (LaCLIP, section 4; SLIP, Mu et al. 2022).
 *
 * Verified from released code: SLIP's scale, temperature and head (facebookresearch/SLIP). From memory: the form of LaCLIP-MT's loss,
 * for which no code was released; "joint" is how others read it. Derived: LaSLIP is SLIP with LaCLIP's choice of texts, and both have
 * LaCLIP's image tower, which unlike SLIP's normalises queries and keys.
 */
import { type Recipe, derive } from "./recipe.ts";

const slip = {
  model: { viewHead: { hidden: 4096, width: 256 } },
  objective: { name: "slip", scale: 1, temperature: 0.1 },
} as const;

/** Original and all four rewrites at once. */
const allTexts = { choose: "uniform", textsPerImage: 5, alwaysOriginal: true } as const;

/** @param data name of the data set, for descriptions */
export function methods(clip: Recipe, data: string): Record<"clip" | "laclip" | "laclipMt" | "slip" | "laslip", Recipe> {
  const laclip = derive(clip, {
    description: `LaCLIP on ${data}: every image with its caption or one of the rewrites, each with the same chance`,
    captions: { choose: "uniform" },
  });
  return {
    clip,
    laclip,
    laclipMt: derive(laclip, {
      description: `LaCLIP-MT on ${data}: every image with its caption and all rewrites at once`,
      captions: allTexts,
      objective: { name: "multi-text", denominator: "slot" },
    }),
    slip: derive(clip, { description: `SLIP on ${data}: CLIP, and two views of an image that must agree`, ...slip }),
    laslip: derive(laclip, { description: `LaSLIP on ${data}: SLIP with the texts of LaCLIP`, ...slip }),
  };
}
