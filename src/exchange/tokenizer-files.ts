/**
 * The files by which Hugging Face's libraries know CLIP's tokenizer, made from our own vocabulary: `tokenizers` and transformers.js read
 * `tokenizer.json`, older tokenizers `vocab.json` and `merges.txt`.
 *
 * Ids are those of our tokenizer for plain captions. What a caption has to be cleaned of first is no part of these files, since CLIP's
 * tokenizer has no place for it there: ours mends mojibake, straightens curly quotes, parts ligatures, makes wide letters narrow (ftfy)
 * and decodes HTML references, as OpenAI's does; Hugging Face's composes letters with their accents, folds white space and lowers letters,
 * each by itself: a sigma at the end of a Greek word becomes the one of the middle.
 */
import { endOfText, startOfText, vocabularySize, writtenVocabulary } from "../text/index.ts";

const start = "<|startoftext|>";
const end = "<|endoftext|>";

/** True for texts whose ids are those of CLIP's tokenizer: there is no other whose files could be made. */
export function hasClipVocabulary(text: { vocabularySize: number }): boolean {
  return text.vocabularySize === vocabularySize;
}

/**
 * The files by name.
 * @param contextLength tokens of the longest text, start and end included; longer ones are cut there
 * @throws ModelFormatError when the merge list is missing or another one than OpenAI's
 */
export function tokenizerFiles(contextLength: number): Record<string, string> {
  const { tokens, merges } = writtenVocabulary();
  const ids: Record<string, number> = {};
  [...tokens, start, end].forEach((token, id) => {
    ids[token] = id;
  });
  const specials = { bos_token: start, eos_token: end, unk_token: end, pad_token: end };
  const settings = {
    tokenizer_class: "CLIPTokenizer",
    ...specials,
    model_max_length: contextLength,
    do_lower_case: true,
    errors: "replace",
  };
  return {
    "vocab.json": `${JSON.stringify(ids)}\n`,
    // The first line is a comment to those who read it, whatever it says.
    "merges.txt": ["#version: 0.2", ...merges, ""].join("\n"),
    "tokenizer.json": `${JSON.stringify(pipeline(ids, merges))}\n`,
    "tokenizer_config.json": `${JSON.stringify(settings, null, 2)}\n`,
    "special_tokens_map.json": `${JSON.stringify(specials, null, 2)}\n`,
  };
}

/** What the `tokenizers` library does with a text, one step after the other, as transformers sets it up for CLIP. */
function pipeline(vocab: Record<string, number>, merges: string[]): unknown {
  const added = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [
      { id: startOfText, content: start, ...added },
      { id: endOfText, content: end, ...added },
    ],
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { Regex: String.raw`\s+` }, content: " " }, { type: "Lowercase" }],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+` },
          behavior: "Removed",
          invert: true,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: "RobertaProcessing",
      sep: [end, endOfText],
      cls: [start, startOfText],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: end,
      continuing_subword_prefix: "",
      end_of_word_suffix: "</w>",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      // As texts, which old versions of the library read, too.
      merges,
    },
  };
}
