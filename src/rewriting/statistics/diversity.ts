/**
 * How varied texts are: distinct n-grams (Li et al. 2016), and BLEU (Papineni et al. 2002) of each text against others (self-BLEU,
 * Zhu et al. 2018). High BLEU means that texts say the same in the same words.
 *
 * BLEU is that of single sentences: up to four words, the same weight for each length, Chen and Cherry's first smoothing (a length
 * without any match counts as a tenth of one), and lengths that the text is too short for left out.
 */

const longest = 4;
/** What stands for no match at all, in matches. */
const smoothing = 0.1;

/** Different n-grams among all n-grams of the texts, 0..1; 0 where there are none. Falls with the number of texts. */
export function distinct(texts: readonly (readonly string[])[], n: number): number {
  const seen = new Set<string>();
  let all = 0;
  for (const words of texts) {
    for (const gram of grams(words, n)) {
      seen.add(gram);
      all++;
    }
  }
  return all === 0 ? 0 : seen.size / all;
}

/**
 * BLEU of one text against others, 0..1; 1 where it says what one of them says. Undefined where there is nothing to compare.
 * @param text and @param references lists of words
 */
export function bleu(text: readonly string[], references: readonly (readonly string[])[]): number | undefined {
  const others = references.filter((words) => words.length > 0);
  if (text.length === 0 || others.length === 0) return undefined;
  const most = Array.from({ length: longest }, (_, i) => {
    const counts = new Map<string, number>();
    for (const words of others) for (const [gram, count] of counted(words, i + 1)) counts.set(gram, Math.max(count, counts.get(gram) ?? 0));
    return counts;
  });
  const lengths = others.map((words) => words.length);
  return score(text, (n, gram) => most[n - 1]!.get(gram) ?? 0, closest(lengths, text.length));
}

/**
 * Mean BLEU of each text against all others, 0..1; undefined for fewer than two texts. Takes time in proportion to the words, not to
 * their square.
 */
export function selfBleu(texts: readonly (readonly string[])[]): number | undefined {
  const own = texts.filter((words) => words.length > 0);
  if (own.length < 2) return undefined;
  // What the others have at most of an n-gram is the largest count of all, or the second largest for the text that has the largest.
  const most = Array.from({ length: longest }, (_, i) => {
    const counts = new Map<string, { first: number; second: number }>();
    for (const words of own) {
      for (const [gram, count] of counted(words, i + 1)) {
        const known = counts.get(gram);
        if (!known) counts.set(gram, { first: count, second: 0 });
        else if (count >= known.first) [known.first, known.second] = [count, known.first];
        else known.second = Math.max(known.second, count);
      }
    }
    return counts;
  });
  const ofLength = new Map<number, number>();
  for (const { length } of own) ofLength.set(length, (ofLength.get(length) ?? 0) + 1);
  let sum = 0;
  for (const words of own) {
    const counts = Array.from({ length: longest }, (_, k) => counted(words, k + 1));
    const alone = ofLength.get(words.length) === 1;
    const reference = closest(
      [...ofLength.keys()].filter((length) => !alone || length !== words.length),
      words.length,
    );
    const ofOthers = (n: number, gram: string): number => {
      const { first, second } = most[n - 1]!.get(gram)!;
      return counts[n - 1]!.get(gram) === first ? second : first;
    };
    sum += score(words, ofOthers, reference);
  }
  return sum / own.length;
}

function score(words: readonly string[], inReferences: (n: number, gram: string) => number, referenceLength: number): number {
  let [logarithms, lengths] = [0, 0];
  for (let n = 1; n <= Math.min(longest, words.length); n++) {
    let matches = 0;
    for (const [gram, count] of counted(words, n)) matches += Math.min(count, inReferences(n, gram));
    logarithms += Math.log((matches === 0 ? smoothing : matches) / (words.length - n + 1));
    lengths++;
  }
  const brevity = words.length >= referenceLength ? 1 : Math.exp(1 - referenceLength / words.length);
  return brevity * Math.exp(logarithms / lengths);
}

function closest(lengths: readonly number[], wanted: number): number {
  let best = lengths[0]!;
  for (const length of lengths) {
    const [near, nearest] = [Math.abs(length - wanted), Math.abs(best - wanted)];
    if (near < nearest || (near === nearest && length < best)) best = length;
  }
  return best;
}

function grams(words: readonly string[], n: number): string[] {
  return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(" "));
}

function counted(words: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (const gram of grams(words, n)) counts.set(gram, (counts.get(gram) ?? 0) + 1);
  return counts;
}
