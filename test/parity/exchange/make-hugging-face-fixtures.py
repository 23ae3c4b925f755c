#!/usr/bin/env python3
"""What Hugging Face's transformers makes of two small CLIP models of its own, and of texts with CLIP's vocabulary.

    pip install torch torchvision transformers open-clip-torch safetensors
    python3 make-hugging-face-fixtures.py

Writes beside itself:

    hugging-face/quick-gelu      a folder as `save_pretrained` of transformers 5 writes it, float32, with processor_config.json
    hugging-face/gelu            the same model in bfloat16 with exact GELU, as older versions describe it: the end of texts under the id 2,
                                 preprocessor_config.json, bilinear
    hugging-face/results.safetensors   images, tokens, and the features that each of the models gives for them
    hugging-face/tokenizer.json  ids by CLIPTokenizer, and the tokenizer's description but for vocabulary and merges, of which there are hashes

The vocabulary is OpenAI's merge list, which open_clip brings along; nothing is downloaded.
"""
import gzip
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile

# One thread: the order of summation, and so the last digit, must not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import open_clip
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hugging-face")
VOCABULARY = 96
TEXT = dict(
    vocab_size=VOCABULARY, hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16,
    bos_token_id=VOCABULARY - 2, eos_token_id=VOCABULARY - 1, pad_token_id=VOCABULARY - 1, projection_dim=10,
)  # fmt: skip
VISION = dict(
    hidden_size=12, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3, image_size=24, patch_size=8, projection_dim=10,
)  # fmt: skip

# What both tokenizers read alike.
CLEAN = [
    "a photo of a cat", "A photo of a DOG.", "two dogs playing in the snow, one of them with a red ball", "a cat's toy and the dogs' bowl",
    "it's they're we've I'm you'll he'd don't", "route 66 in 1987", "3.5 mm f/2.8", "50% off!!!", "a & b", "black-and-white portrait of a woman",
    "a  photo   with\tblanks\nand lines ", "(close-up) #sunset @beach", "café au lait, crème brûlée", "Größe und Maß", "Быстрая лиса", "東京タワーの夜景",
    "고양이가 앉아 있다", "a dog 🐶 and a rocket 🚀", "e\u0301te\u0301 composed", "supercalifragilisticexpialidocious", "xyzzyqwrtplkj", "...", "?!", "a_b_c snake_case",
    "user@example.com", "1st 2nd 3rd", "the year 2023 was warm", "¡Hola! ¿Qué tal?", "x = y + z", "", "don't stop 'til you get enough", "[bracketed] {braced} <tagged>",
    "ΑΘΗΝΑ and other words", "a" * 60, "the quick brown fox jumps over the lazy dog " * 12,
]  # fmt: skip

# What our tokenizer cleans as OpenAI's does, and CLIPTokenizer leaves as it is; a sigma at the end of a word, which has a small letter of its
# own; and the specials, which open_clip names in another way.
UNLIKE = [
    "the dog’s “new” toy", "Tom &amp; Jerry", "caf\u00c3\u00a9", "\ufb01ne art", "ＷＩＤＥ letters", "ΟΔΥΣΣΕΥΣ", "<start_of_text> here", "<|endoftext|> there",
]  # fmt: skip


def perturbed(model):
    """transformers' initialisation, moved away from every 0 and 1 that would hide a missing bias or norm weight."""
    generator = torch.Generator().manual_seed(20230531)
    weights = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 0:
            value = torch.tensor(2.7)
        elif value.ndim == 1:
            value = value + (0.2 if name.endswith("weight") else 0.1) * noise
        weights[name] = value.clone().contiguous()
    model.load_state_dict(weights)
    return model


def build(**changes):
    towers = {name: {**sizes, **changes} for name, sizes in [("text_config", TEXT), ("vision_config", VISION)]}
    return CLIPModel(CLIPConfig(**towers, projection_dim=10))


def features(model, images, tokens):
    with torch.no_grad():
        model.eval()
        image = model.visual_projection(model.vision_model(images).pooler_output)
        text = model.text_projection(model.text_model(tokens).pooler_output)
    return image.contiguous(), text.contiguous()


def models(tokenizer):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(3, 3, VISION["image_size"], VISION["image_size"], generator=generator)
    tokens = torch.zeros(4, 9, dtype=torch.int64)
    for row, length in enumerate([3, 9, 5, 7]):
        words = torch.randint(0, VOCABULARY - 2, [length - 2], generator=generator)
        tokens[row, :length] = torch.cat([torch.tensor([VOCABULARY - 2]), words, torch.tensor([VOCABULARY - 1])])
    results = {"images": images, "tokens": tokens}

    model = perturbed(build(hidden_act="quick_gelu"))
    folder = os.path.join(HERE, "quick-gelu")
    model.save_pretrained(folder)
    size = VISION["image_size"]
    sizes = dict(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    with tempfile.TemporaryDirectory() as beside:
        CLIPProcessor(CLIPImageProcessor(**sizes), tokenizer).save_pretrained(beside)
        shutil.copy(os.path.join(beside, "processor_config.json"), folder)
    results["quick-gelu.image_features"], results["quick-gelu.text_features"] = features(model, images, tokens)

    model = build(hidden_act="gelu")
    model.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()})
    results["gelu.image_features"], results["gelu.text_features"] = features(model, images, tokens)
    model.config.text_config.eos_token_id = 2
    model.text_model.eos_token_id = 2
    assert torch.equal(features(model, images, tokens)[1], results["gelu.text_features"])
    folder = os.path.join(HERE, "gelu")
    model.to(torch.bfloat16).save_pretrained(folder)
    CLIPImageProcessor(**sizes, resample=2, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]).save_pretrained(folder)
    save_file(results, os.path.join(HERE, "results.safetensors"))


def clip_tokenizer():
    path = os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.open(path).read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    characters = list(open_clip.tokenizer.bytes_to_unicode().values())
    tokens = [*characters, *(c + "</w>" for c in characters), *(line.replace(" ", "") for line in lines)]
    vocabulary = {token: id for id, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(line.split()) for line in lines], model_max_length=77)


def tokens(tokenizer):
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        with open(os.path.join(folder, "tokenizer.json")) as file:
            description = json.load(file)
    vocabulary = description["model"].pop("vocab")
    merges = description["model"].pop("merges")
    in_order = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[token] for token in in_order] == list(range(49408))
    sha256 = lambda lines: hashlib.sha256("\n".join(lines).encode()).hexdigest()
    rows = lambda texts: [{"text": text, "ids": tokenizer(text, truncation=True).input_ids} for text in texts]
    facts = {
        "versions": {name: importlib.metadata.version(name) for name in ["torch", "transformers", "tokenizers"]},
        "vocabulary": sha256(in_order),
        "merges": sha256(" ".join(pair) for pair in merges),
        "description": description,
        "alike": rows(CLEAN),
        "unlike": rows(UNLIKE),
    }
    with open(os.path.join(HERE, "tokenizer.json"), "w") as file:
        json.dump(facts, file, indent=1, ensure_ascii=False)


def main():
    os.makedirs(HERE, exist_ok=True)
    tokenizer = clip_tokenizer()
    models(tokenizer)
    tokens(tokenizer)


if __name__ == "__main__":
    main()
