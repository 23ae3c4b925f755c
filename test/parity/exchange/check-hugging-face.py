#!/usr/bin/env python3
"""Holds a folder that was written for Hugging Face against transformers: features of images and texts, image processor, tokenizer.

    pip install torch torchvision pillow numpy transformers
    laclip embed images PHOTOS --model MODEL --no-features --device cpu --out images.npy
    laclip embed texts texts.txt --model MODEL --no-features --device cpu --out texts.npy
    python3 check-hugging-face.py FOLDER PHOTOS images.npy texts.txt texts.npy

FOLDER is what MODEL was written to. Differences are relative to the largest feature. Images of the model's own size show what the tower
alone makes of them; all others also how they are resized and cut. Where an odd number of pixels is cut away, torchvision's transforms, and
so ours, take the half of it to the nearest even number, and transformers the half below: one time in four the square lies a pixel beside
the other. Ends with 1 where a tower or the tokenizer is at fault: a difference above 1e-4 that no resizing explains.
"""
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoTokenizer, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

LIMIT = 1e-4


def distance(actual, expected):
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def kind_of(image, size):
    if image.size == (size, size):
        return "of the model's size"
    rest = int(size * max(image.size) / min(image.size)) - size
    return "cut a pixel beside ours" if round(rest / 2) != rest // 2 else "resized"


def image_features(model, pixels):
    return model.visual_projection(model.vision_model(pixels).pooler_output).numpy()


def text_features(model, tokenized):
    return model.text_projection(model.text_model(**tokenized).pooler_output).numpy()


def check_images(model, folder, photos, ours):
    names = open(os.path.splitext(ours)[0] + ".names.txt", encoding="utf-8").read().splitlines()
    expected = np.load(ours)
    size = model.config.vision_config.image_size
    fine = True
    # The one resizes with torchvision, the other with Pillow, as training does.
    for processor in [CLIPImageProcessorPil.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder)]:
        found = {}
        for name, row in zip(names, expected):
            image = Image.open(os.path.join(photos, name)).convert("RGB")
            pixels = processor(images=image, return_tensors="pt")["pixel_values"]
            assert pixels.shape == (1, 3, size, size), pixels.shape
            feature = image_features(model, pixels)[0]
            cosine = float(feature @ row / np.linalg.norm(feature) / np.linalg.norm(row))
            found.setdefault(kind_of(image, size), []).append((distance(feature, row), cosine))
        for kind, pairs in found.items():
            worst, cosine = max(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
            print(f"{len(pairs)} images {kind}, {type(processor).__name__}: {worst:.2e}, least cosine {cosine:.6f}")
            same_pixels = kind == "of the model's size" or (kind == "resized" and isinstance(processor, CLIPImageProcessorPil))
            fine = fine and (worst < LIMIT or not same_pixels)
    return fine


def check_texts(model, folder, texts, ours):
    lines = open(texts, encoding="utf-8").read().splitlines()
    expected = np.load(ours)
    assert len(lines) == len(expected), f"{len(lines)} texts, {len(expected)} features"
    with tempfile.TemporaryDirectory() as older:
        # As libraries without tokenizer.json read it.
        for name in ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]:
            os.symlink(os.path.abspath(os.path.join(folder, name)), os.path.join(older, name))
        tokenizers = {"tokenizer.json": AutoTokenizer.from_pretrained(folder), "vocab.json": CLIPTokenizer.from_pretrained(older)}
    fine = True
    for name, tokenizer in tokenizers.items():
        for padding in [False, "max_length"]:
            told = dict(padding=padding, truncation=True, return_tensors="pt")
            rows = [text_features(model, tokenizer([line], **told))[0] for line in lines]
            found = [distance(row, ours) for row, ours in zip(rows, expected)]
            most = lines[int(np.argmax(found))][:60]
            print(f"{len(lines)} texts, {name}, {'padded' if padding else 'not padded'}: {max(found):.2e}, most for {most!r}")
            fine = fine and max(found) < LIMIT
    return fine


def main():
    folder, photos, images, texts, text_rows = sys.argv[1:]
    model, loading = CLIPModel.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    assert isinstance(AutoModel.from_pretrained(folder), CLIPModel)
    model.eval()
    with torch.no_grad():
        fine = [check_images(model, folder, photos, images), check_texts(model, folder, texts, text_rows)]
        processor = CLIPProcessor.from_pretrained(folder)
        both = processor(text=["a photo of a cat"], images=[Image.new("RGB", (50, 40), (200, 30, 90))], return_tensors="pt", padding=True)
        print(f"CLIPProcessor and CLIPModel together: {model(**both).logits_per_image.tolist()}")
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
