#!/usr/bin/env python3
"""Holds a folder that was written with `laclip convert --to onnx` against ONNX's own checker, and what onnxruntime computes against our features.

    pip install numpy pillow onnx onnxruntime
    laclip embed images PHOTOS --model MODEL --no-features --device cpu --out images.npy
    laclip embed texts texts.txt --model MODEL --no-features --device cpu --out texts.npy
    laclip tokenize --json < texts.txt > ids.jsonl
    python3 check-onnx.py FOLDER PHOTOS images.npy ids.jsonl texts.npy

FOLDER is what MODEL was written to. PHOTOS must hold images of the model's own size, which need no resizing; others are passed over.
Differences are relative to the largest feature. Ends with 1 where one is above 1e-4.
"""
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image

LIMIT = 1e-4
END = 49407


def distance(actual, expected):
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def check_graphs(folder):
    """Beside the checker's verdict: which version wrote the graphs, and of how many operators they are."""
    for name in sorted(os.listdir(f"{folder}/onnx")):
        path = f"{folder}/onnx/{name}"
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path, load_external_data=False)
        print(f"{name}: {model.producer_name} {model.producer_version}, {len(model.graph.node)} operators, checked")


def check_images(folder, photos, ours):
    names = open(os.path.splitext(ours)[0] + ".names.txt", encoding="utf-8").read().splitlines()
    config = json.load(open(f"{folder}/preprocessor_config.json", encoding="utf-8"))
    size = config["crop_size"]["height"]
    images = [Image.open(os.path.join(photos, name)).convert("RGB") for name in names]
    own = [row for row, image in enumerate(images) if image.size == (size, size)]
    if not own:
        sys.exit(f"{photos}: no image is {size} pixels wide and high.")
    pixels = np.stack([np.asarray(images[row], np.float32) / 255 for row in own])
    pixels = ((pixels - np.float32(config["image_mean"])) / np.float32(config["image_std"])).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(f"{folder}/onnx/vision_model.onnx")
    [features] = session.run(None, {"pixel_values": np.ascontiguousarray(pixels)})
    far = distance(features, np.load(ours)[own])
    print(f"{len(own)} images: {far:.1e}")
    return far


def check_texts(folder, listed, ours):
    rows = [json.loads(line) for line in open(listed, encoding="utf-8")]
    longest = max(row.index(END) + 1 for row in rows)
    ids = np.array([(row + [END] * longest)[:longest] for row in rows], np.int64)
    session = onnxruntime.InferenceSession(f"{folder}/onnx/text_model.onnx")
    [features] = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    far = distance(features, np.load(ours))
    print(f"{len(rows)} texts of up to {longest} tokens: {far:.1e}")
    return far


if __name__ == "__main__":
    folder, photos, images, listed, texts = sys.argv[1:]
    check_graphs(folder)
    far = max(check_images(folder, photos, images), check_texts(folder, listed, texts))
    sys.exit(int(far > LIMIT))
