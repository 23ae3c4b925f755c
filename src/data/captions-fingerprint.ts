/**
 * A number that a data set's captions add up to: enough to notice another data set, whatever its row order or file format.
 */
import { hash } from "node:crypto";

/** Which captions were rewritten. */
export interface CaptionsFingerprint {
  /** Number of captions. */
  readonly count: number;
  /** Hexadecimal; the same for the same multiset of (id, caption). */
  readonly hash: string;
}

/** What JSON writes otherwise than it stands there; most captions hold none of it, and are put together faster by hand. */
const special = /[^ !#-[\]-\ud7ff\ue000-\uffff]/;

/** Adds up captions, in any order, to the fingerprint of their data set. */
export class FingerprintBuilder {
  readonly #lanes = new Uint32Array(8);
  #count = 0;

  /** Adds a caption; returns 32 bits of what it was hashed to, by which two captions of one id can be told apart. */
  add(id: string, caption: string): number {
    // The one-shot hash, and its digest as a string of bytes, take a third of the time of a hash object and a buffer.
    const plain = !special.test(id) && !special.test(caption);
    const digest = hash("sha256", plain ? `["${id}","${caption}"]` : JSON.stringify([id, caption]), "binary");
    let word = 0;
    // A sum of hashes does not depend on the order, and unlike an exclusive or it notices a caption that is there twice.
    for (let lane = 7; lane >= 0; lane--) {
      const at = lane * 4;
      word =
        digest.charCodeAt(at) | (digest.charCodeAt(at + 1) << 8) | (digest.charCodeAt(at + 2) << 16) | (digest.charCodeAt(at + 3) << 24);
      this.#lanes[lane]! += word;
    }
    this.#count++;
    return word >>> 0;
  }

  finish(): CaptionsFingerprint {
    return { count: this.#count, hash: Buffer.from(this.#lanes.buffer).toString("hex") };
  }
}

/** The fingerprint of a data set's captions; the same for any order of the same (id, caption) pairs. */
export function captionsFingerprint(captions: Iterable<{ readonly id: string; readonly caption: string }>): CaptionsFingerprint {
  const builder = new FingerprintBuilder();
  for (const { id, caption } of captions) builder.add(id, caption);
  return builder.finish();
}
