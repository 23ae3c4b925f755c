/**
 * Which of some words fit a picture best, by a model that was trained here.
 *
 *   node examples/zero-shot.mjs MODEL IMAGE WORDS...
 */
import { zeroShot } from "laclip/evaluation";
import { ClipTokenizer } from "laclip/text";
import { loadModel } from "laclip/models";

const [folder, image, ...words] = process.argv.slice(2);

const tokenizer = ClipTokenizer.load();
for (const word of words) console.log(word, tokenizer.encode(word));

const loaded = loadModel(folder);
const { predictions } = await zeroShot(loaded, [{ path: image, label: 0 }], {
  names: words.map((word) => [word]),
  templates: ["{}"],
});
for (const { label, cosine } of predictions[0].top) console.log(cosine.toFixed(3), words[label]);
loaded.model.dispose();
