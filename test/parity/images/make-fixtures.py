#!/usr/bin/env python3
"""Small images of every kind a data set holds, and what Pillow makes of them.

Run in this folder with Python 3, Pillow, NumPy and torchvision (figures were made with 9.4, 1.24 and 0.14):

    python3 make-fixtures.py

Writes `files/*` (the images) and `reference.json` (one entry a check, with the SHA-256 of the expected RGB bytes in rows).
Decoding, cropping and resizing are Pillow's and torchvision's own; nothing here imitates them, but for 16-bit gray, which Pillow's
convert("RGB") clips to white: there the high byte of each sample is expected.
"""
import hashlib
import io
import json
import math
import os

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "files")
os.makedirs(folder, exist_ok=True)
for old in os.listdir(folder):
    os.remove(os.path.join(folder, old))


def scene(width, height, seed):
    """A smooth gradient with edges, discs and a little noise: something that a wrong kernel or a shifted pixel shows up in."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for _ in range(3):
        value = 128 + 70 * np.sin(x / random.uniform(5, 30) + random.uniform(0, 6)) * np.cos(y / random.uniform(5, 30))
        for _ in range(4):
            cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(4, min(width, height) / 3)
            value = np.where((x - cx) ** 2 + (y - cy) ** 2 < r * r, random.uniform(0, 255), value)
        value += random.normal(0, 3, value.shape)
        channels.append(value)
    return Image.fromarray(np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8), "RGB")


def save(image, name, **options):
    image.save(os.path.join(folder, name), **options)


photo = scene(173, 117, 1)
tall = scene(61, 208, 2)
alpha = Image.fromarray(np.tile(np.linspace(0, 255, 90).astype(np.uint8), (70, 1)), "L")

save(photo, "photo.jpg", quality=88)
save(photo, "photo-444.jpg", quality=90, subsampling=0)
save(tall, "tall-progressive.jpg", quality=80, progressive=True)
save(scene(97, 97, 3).convert("L"), "gray.jpg", quality=85)
save(scene(88, 64, 4).convert("CMYK"), "cmyk.jpg", quality=85)
save(scene(70, 50, 5), "rgb.png")
save(scene(70, 50, 6).convert("L"), "gray.png")
rgba = scene(90, 70, 7).convert("RGBA")
rgba.putalpha(alpha)
save(rgba, "rgba.png")
gray_alpha = scene(90, 70, 8).convert("LA")
gray_alpha.putalpha(alpha)
save(gray_alpha, "gray-alpha.png")
save(scene(80, 60, 9).quantize(64), "palette.png")
save(scene(80, 60, 10).quantize(32), "palette-transparent.png", transparency=3)
save(scene(64, 48, 11).convert("1"), "bilevel.png")
save(scene(80, 60, 12).quantize(64), "palette.gif")
save(scene(100, 75, 13), "lossy.webp", quality=80)
rotated = Image.Exif()
rotated[0x0112] = 6
save(scene(60, 40, 14), "exif-rotated.jpg", quality=85, exif=rotated)
save(scene(40, 30, 15), "rgb.tiff", compression="tiff_lzw")
save(scene(31, 13, 16), "small.png")
deep = (np.asarray(scene(40, 30, 17).convert("L")).astype(np.uint16) << 8) + np.arange(40, dtype=np.uint16) * 6
save(Image.fromarray(deep, "I;16"), "gray16.png")

# Damaged files: the reading side must refuse each of them.
whole = io.BytesIO()
photo.save(whole, "JPEG", quality=88)
with open(os.path.join(folder, "broken-truncated.jpg"), "wb") as file:
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
cut = io.BytesIO()
scene(70, 50, 5).save(cut, "PNG")
with open(os.path.join(folder, "broken-truncated.png"), "wb") as file:
    file.write(cut.getvalue()[: len(cut.getvalue()) // 2])
with open(os.path.join(folder, "broken-html.jpg"), "w") as file:
    file.write("<!DOCTYPE html><html><body>404 Not Found</body></html>\n")
open(os.path.join(folder, "broken-empty.jpg"), "wb").close()

checks = []


def expect(image, **what):
    array = np.asarray(image, dtype=np.uint8)
    sha256 = hashlib.sha256(array.tobytes()).hexdigest()
    checks.append({**what, "width": array.shape[1], "height": array.shape[0], "sha256": sha256})


names = [name for name in sorted(os.listdir(folder)) if not name.startswith("broken")]
kernels = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
for name in names:
    image = Image.open(os.path.join(folder, name))
    if name == "gray16.png":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8), "L")
    expect(image.convert("RGB"), kind="decode", file=name)

for name in ["photo.jpg", "tall-progressive.jpg", "rgba.png", "small.png", "gray.jpg"]:
    image = Image.open(os.path.join(folder, name)).convert("RGB")
    for kernel, code in kernels.items():
        mode = InterpolationMode(kernel)
        for size in [24, 49, 64]:
            expect(CenterCrop(size)(Resize(size, mode)(image)), kind="evaluation", file=name, kernel=kernel, size=size)

random = np.random.default_rng(99)
for name in ["photo.jpg", "tall-progressive.jpg", "small.png"]:
    image = Image.open(os.path.join(folder, name)).convert("RGB")
    for kernel, code in kernels.items():
        for _ in range(5):
            w, h = int(random.integers(1, image.width + 1)), int(random.integers(1, image.height + 1))
            x, y = int(random.integers(0, image.width - w + 1)), int(random.integers(0, image.height - h + 1))
            ow, oh = int(random.integers(1, 70)), int(random.integers(1, 70))
            box = [x, y, w, h]
            expect(image.crop((x, y, x + w, y + h)).resize((ow, oh), code), kind="crop", file=name, kernel=kernel, box=box)

# The kind of crop a random-resized crop is, at the size it is used at.
image = Image.open(os.path.join(folder, "photo.jpg")).convert("RGB")
side = int(math.sqrt(0.7 * image.width * image.height))
expect(image.crop((5, 3, 5 + side, 3 + 100)).resize((64, 64), kernels["bilinear"]), kind="crop", file="photo.jpg", kernel="bilinear", box=[5, 3, side, 100])

with open(os.path.join(here, "reference.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(check) for check in checks) + "\n]\n")
print(len(checks), "checks")
