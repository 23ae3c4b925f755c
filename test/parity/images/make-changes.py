#!/usr/bin/env python3
"""What torchvision's transforms on Pillow's images make of given parameters: crops, flips, and changes of colour as in SLIP's views.

Run in this folder after make-fixtures.py, with Python 3, Pillow, NumPy and torchvision (figures were made with 9.4, 1.24 and 0.14):

    python3 make-changes.py

Writes `changes.json`: views of files/photo.jpg, and each change of colour on a cube of 52 x 52 x 52 colours (`file` null).
"""
import hashlib
import json
import os

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode

here = os.path.dirname(os.path.abspath(__file__))
random = np.random.default_rng(11)


def apply(image, kind, amount):
    if kind == "brightness":
        return F.adjust_brightness(image, amount)
    if kind == "contrast":
        return F.adjust_contrast(image, amount)
    if kind == "saturation":
        return F.adjust_saturation(image, amount)
    if kind == "hue":
        return F.adjust_hue(image, amount)
    if kind == "grayscale":
        return F.rgb_to_grayscale(image, 3)
    return image.filter(ImageFilter.GaussianBlur(radius=amount))


def amount_of(kind):
    if kind == "hue":
        return float(random.uniform(-0.1, 0.1))
    if kind == "grayscale":
        return 0.0
    return float(random.uniform(0.1, 2)) if kind == "blur" else float(random.uniform(0.6, 1.4))


def digest(image):
    return hashlib.sha256(np.asarray(image, dtype=np.uint8).tobytes()).hexdigest()


checks = []
photo = Image.open(os.path.join(here, "files", "photo.jpg")).convert("RGB")
for number in range(60):
    w, h = int(random.integers(10, photo.width + 1)), int(random.integers(10, photo.height + 1))
    x, y = int(random.integers(0, photo.width - w + 1)), int(random.integers(0, photo.height - h + 1))
    view = F.resized_crop(photo, y, x, h, w, [48, 48], InterpolationMode.BILINEAR)
    kinds = [str(kind) for kind in random.permutation(["brightness", "contrast", "saturation", "hue"])] if random.random() < 0.8 else []
    kinds += ["grayscale"] if random.random() < 0.2 else []
    kinds += ["blur"] if random.random() < 0.5 else []
    changes = [{"kind": kind, "amount": amount_of(kind)} for kind in kinds]
    for change in changes:
        view = apply(view, **change)
    mirrored = bool(random.random() < 0.5)
    view = F.hflip(view) if mirrored else view
    checks.append({"file": "photo.jpg", "box": [x, y, w, h], "changes": changes, "mirrored": mirrored, "sha256": digest(view)})

levels = np.arange(52, dtype=np.uint8) * 5
cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(338, 416, 3)
for kind in ["brightness", "contrast", "saturation", "hue", "grayscale", "blur"]:
    for amount in {"hue": [-0.5, -0.07, 0.0, 0.1, 0.5], "grayscale": [0.0], "blur": [0.1, 0.5, 1.3, 2.0, 7.5]}.get(kind, [0.0, 0.6, 0.93, 1.4, 3.0]):
        made = apply(Image.fromarray(cube), kind, amount)
        checks.append({"file": None, "changes": [{"kind": kind, "amount": amount}], "mirrored": False, "sha256": digest(made)})

with open(os.path.join(here, "changes.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(check) for check in checks) + "\n]\n")
print(len(checks), "checks")
