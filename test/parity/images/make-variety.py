#!/usr/bin/env python3
"""More than 200 tiny images of every kind and odd size, and what Pillow and torchvision make of them.

Run in this folder with Python 3, Pillow, NumPy, torchvision, and `cjpeg` of libjpeg-turbo (figures were made with 9.4, 1.24, 0.14 and 2.1):

    python3 make-variety.py

Writes `variety/*` and `variety.json`: for each image the SHA-256 of its RGB bytes, of two evaluation views of 24 pixels (Resize and
CenterCrop, bilinear and bicubic), and of a random crop resized to 24 x 24. Two things are expected otherwise than convert("RGB") of Pillow
gives them: 16-bit gray, which it clips to white, as the high byte of each sample; and transparent pixels of a GIF as black, since the
decoder that is used does not keep their colour.
"""
import hashlib
import io
import json
import os
import subprocess

import numpy as np
from PIL import Image, TiffImagePlugin
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "variety")
os.makedirs(folder, exist_ok=True)
for old in os.listdir(folder):
    os.remove(os.path.join(folder, old))

random = np.random.default_rng(7)


def scene(width, height):
    """Waves, an edge and noise, in colours that differ between the channels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for _ in range(3):
        value = 128 + 90 * np.sin(x / random.uniform(2, 12) + random.uniform(0, 6)) * np.cos(y / random.uniform(2, 12))
        value = np.where(x * random.uniform(-1, 1) + y > random.uniform(0, height), value, random.uniform(0, 255))
        channels.append(value + random.normal(0, 6, value.shape))
    return Image.fromarray(np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8), "RGB")


def cjpeg(image, name, *options):
    netpbm = io.BytesIO()
    image.save(netpbm, "PPM")
    made = subprocess.run(["cjpeg", *options], input=netpbm.getvalue(), stdout=subprocess.PIPE, check=True).stdout
    with open(os.path.join(folder, name), "wb") as file:
        file.write(made)


def save(image, name, **options):
    image.save(os.path.join(folder, name), **options)


# JPEGs: every sampling at sizes that end inside of a block, on its border, and one pixel after it.
sizes = [(1, 1), (1, 9), (8, 1), (7, 3), (8, 8), (9, 17), (16, 16), (17, 33), (31, 32), (40, 15), (65, 49)]
for sampling in ["1x1", "2x1", "1x2", "2x2", "4x1", "4x2"]:
    for width, height in sizes:
        cjpeg(scene(width, height), f"s{sampling}-{width}x{height}.jpg", "-quality", "85", "-sample", sampling)
for sampling in ["1x1", "2x1", "1x2", "2x2"]:
    for width, height in [(1, 1), (17, 33), (40, 15), (65, 49)]:
        cjpeg(scene(width, height), f"p{sampling}-{width}x{height}.jpg", "-quality", "75", "-sample", sampling, "-progressive")
for width, height in [(9, 17), (40, 15), (65, 49)]:
    cjpeg(scene(width, height), f"restart1-{width}x{height}.jpg", "-restart", "1")
    cjpeg(scene(width, height), f"restart3b-{width}x{height}.jpg", "-restart", "3B", "-sample", "2x2")
    cjpeg(scene(width, height), f"restart-progressive-{width}x{height}.jpg", "-restart", "1", "-progressive")
    cjpeg(scene(width, height), f"rgb-{width}x{height}.jpg", "-rgb", "-quality", "90")
    cjpeg(scene(width, height), f"gray-{width}x{height}.jpg", "-grayscale")
    cjpeg(scene(width, height), f"gray-progressive-{width}x{height}.jpg", "-grayscale", "-progressive")
    cjpeg(scene(width, height), f"arithmetic-{width}x{height}.jpg", "-arithmetic")
    save(scene(width, height), f"q30-{width}x{height}.jpg", quality=30)
    save(scene(width, height), f"q100-{width}x{height}.jpg", quality=100, optimize=True)
    cmyk = io.BytesIO()
    inks = Image.merge("CMYK", [scene(width, height).getchannel(c % 3) for c in range(4)])
    inks.save(cmyk, "JPEG", quality=90)
    with open(os.path.join(folder, f"cmyk-{width}x{height}.jpg"), "wb") as file:
        file.write(cmyk.getvalue())
    # The last byte of Adobe's segment says how four components are coded: 2 is YCCK, which Photoshop writes.
    ycck = bytearray(cmyk.getvalue())
    at = ycck.index(b"Adobe")
    assert ycck[at + 11] == 0
    ycck[at + 11] = 2
    with open(os.path.join(folder, f"ycck-{width}x{height}.jpg"), "wb") as file:
        file.write(ycck)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(scene(30, 20), f"exif{orientation}.jpg", quality=85, exif=exif)
thumbnail = io.BytesIO()
scene(16, 12).save(thumbnail, "JPEG")
comment = io.BytesIO()
scene(33, 21).save(comment, "JPEG")
with open(os.path.join(folder, "thumbnail.jpg"), "wb") as file:
    # An image inside of a segment, as cameras write it, and padding bytes before a marker.
    inner = b"Exif\0\0" + thumbnail.getvalue()
    file.write(b"\xff\xd8\xff\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + comment.getvalue()[2:])
with open(os.path.join(folder, "trailing.jpg"), "wb") as file:
    file.write(comment.getvalue() + b"\0" * 40 + b"what some cameras leave behind")

# Everything else: every mode at some sizes.
for width, height in [(1, 1), (2, 7), (13, 5), (33, 20)]:
    image = scene(width, height)
    alpha = Image.fromarray(random.integers(0, 256, (height, width), dtype=np.uint8), "L")
    name = f"{width}x{height}"
    deep = (np.asarray(image.convert("L")).astype(np.uint16) << 8) + random.integers(0, 256, (height, width), dtype=np.uint16)
    rgba = image.convert("RGBA")
    rgba.putalpha(alpha)
    gray_alpha = image.convert("LA")
    gray_alpha.putalpha(alpha)
    save(image.convert("1"), f"1-{name}.png")
    save(image.convert("L"), f"l-{name}.png")
    save(gray_alpha, f"la-{name}.png")
    for colours in [2, 4, 16, 200]:
        save(image.quantize(colours), f"p{colours}-{name}.png")
    save(image.quantize(50), f"pa-{name}.png", transparency=bytes(random.integers(0, 256, 50, dtype=np.uint8)))
    save(image, f"rgb-{name}.png")
    save(image, f"rgb-key-{name}.png", transparency=image.getpixel((0, 0)))
    save(rgba, f"rgba-{name}.png")
    save(Image.fromarray(deep, "I;16"), f"i16-{name}.png")
    save(image.quantize(60), f"p-{name}.gif")
    save(image.convert("L"), f"l-{name}.gif")
    save(image.quantize(30), f"pa-{name}.gif", transparency=2)
    save(image, f"rgb-{name}.webp", quality=80)
    save(image, f"lossless-{name}.webp", lossless=True)
    save(rgba, f"rgba-{name}.webp", lossless=True, exact=True)
    save(image, f"rgb-{name}.tiff")
    save(image, f"lzw-{name}.tiff", compression="tiff_lzw")
    save(image, f"deflate-{name}.tiff", compression="tiff_adobe_deflate")
    save(rgba, f"rgba-{name}.tiff")
    save(image.convert("L"), f"l-{name}.tiff")
    save(image.convert("1"), f"1-{name}.tiff")
    save(image.convert("CMYK"), f"cmyk-{name}.tiff")

checks = []


def digest(image):
    return hashlib.sha256(np.asarray(image, dtype=np.uint8).tobytes()).hexdigest()


size = 24
for name in sorted(os.listdir(folder)):
    image = Image.open(os.path.join(folder, name))
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8), "L")
    if name.endswith(".gif") and "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
        rgba[rgba[..., 3] == 0] = 0
        image = Image.fromarray(rgba, "RGBA")
    image = image.convert("RGB")
    views = {mode: CenterCrop(size)(Resize(size, InterpolationMode(mode))(image)) for mode in ["bilinear", "bicubic"]}
    w, h = int(random.integers(1, image.width + 1)), int(random.integers(1, image.height + 1))
    x, y = int(random.integers(0, image.width - w + 1)), int(random.integers(0, image.height - h + 1))
    crop = image.crop((x, y, x + w, y + h)).resize((size, size), Image.Resampling.BILINEAR)
    checks.append(
        {
            "file": name,
            "width": image.width,
            "height": image.height,
            "sha256": digest(image),
            **{mode: digest(view) for mode, view in views.items()},
            "box": [x, y, w, h],
            "crop": digest(crop),
        }
    )

with open(os.path.join(here, "variety.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(check) for check in checks) + "\n]\n")
print(len(checks), "images")
