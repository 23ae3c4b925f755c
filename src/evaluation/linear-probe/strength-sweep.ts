/**
 * The search for the strength C of a linear probe, as in CLIP's line of work: seven values a hundredfold apart, then halving the distance
 * around the best of them until there are eight values a decade.
 */

/** A strength and its score on validation images. */
export interface SweepPoint {
  readonly strength: number;
  readonly score: number;
}

/** Exponents of ten that are tried first. */
const coarse = [-6, -4, -2, 0, 2, 4, 6];

/** Distance of exponents at which the search ends. */
const finest = 1 / 8;

/**
 * Tries strengths until the best is found. Of equal scores the smallest strength counts, which punishes weights most.
 *
 * @param score of a strength on validation images; higher is better
 * @returns the best, and all that were tried in the order of their strength
 */
export async function strengthSweep(
  score: (strength: number) => number | Promise<number>,
): Promise<{ best: SweepPoint; tried: SweepPoint[] }> {
  const scores = new Map<number, number>();
  const attempt = async (exponent: number): Promise<void> => {
    if (exponent < coarse[0]! || exponent > coarse.at(-1)! || scores.has(exponent)) return;
    scores.set(exponent, await score(10 ** exponent));
  };
  const best = (): number => [...scores].reduce((a, b) => (b[1] > a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a))[0];
  for (const exponent of coarse) await attempt(exponent);
  for (let step = 1; step >= finest; step /= 2) {
    const middle = best();
    await attempt(middle - step);
    await attempt(middle + step);
  }
  const point = (exponent: number): SweepPoint => ({ strength: 10 ** exponent, score: scores.get(exponent)! });
  return { best: point(best()), tried: [...scores.keys()].sort((a, b) => a - b).map(point) };
}
