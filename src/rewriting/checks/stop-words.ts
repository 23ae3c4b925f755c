/**
 * English words that say how, not what: articles, pronouns, prepositions, conjunctions, auxiliaries.
 *
 * A caption without them still says what is on the picture; so they have no synonyms worth the name, and two texts that share
 * nothing else share nothing.
 */
export const stopWords: ReadonlySet<string> = new Set(
  (
    "a an the this that these those i you he she it we they me him her us them my your his its our their mine yours who whom whose which what " +
    "and or but nor so yet if because as until while of at by for with about against between into through during before after above below to from " +
    "up down in out on off over under again further then once here there when where why how all any both each few more most other some such no not " +
    "only own same than too very can will just should now am is are was were be been being have has had having do does did doing would could"
  ).split(" "),
);
