/**
 * Sampling in the order of LLaMA's reference code: temperature first, then the nucleus (top-p), then a draw.
 */
/**
 * Draws a token from the smallest set of likeliest tokens whose probability exceeds `topP`.
 *
 * @param logits the likeliest tokens with their logits, already divided by the temperature, highest first
 * @param totalWeight sum of exp(logit - highest logit) over the whole vocabulary
 * @param chance the random number of this draw, in [0, 1)
 * @returns the token, or undefined where these tokens do not fill the nucleus and more of them are needed
 */
export function sampleNucleus<Token>(
  logits: Iterable<readonly [Token, number]>,
  { totalWeight, topP, chance }: { totalWeight: number; topP: number; chance: number },
): Token | undefined {
  const tokens: Token[] = [];
  const weights: number[] = [];
  const limit = topP * totalWeight;
  let highest: number | undefined;
  let sum = 0;
  for (const [token, logit] of logits) {
    highest ??= logit;
    const weight = Math.exp(logit - highest);
    tokens.push(token);
    weights.push(weight);
    sum += weight;
    // The token that crosses the limit still belongs to the nucleus.
    if (sum > limit) return draw(tokens, weights, chance * sum);
  }
  return undefined;
}

/** Draws from all of a vocabulary: what remains where rounding keeps even the whole of it from filling the nucleus. */
export function sampleAll<Token>(logits: Iterable<readonly [Token, number]>, chance: number): Token {
  const entries = [...logits];
  const weights = entries.map(([, logit]) => Math.exp(logit - entries[0]![1]));
  return draw(
    entries.map(([token]) => token),
    weights,
    chance * weights.reduce((a, b) => a + b, 0),
  );
}

function draw<Token>(tokens: readonly Token[], weights: readonly number[], at: number): Token {
  let left = at;
  for (let i = 0; i < tokens.length; i++) {
    left -= weights[i]!;
    if (left < 0) return tokens[i]!;
  }
  return tokens.at(-1)!;
}
