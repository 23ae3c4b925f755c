"""The other side of compare.ts: Pillow and torchvision on the same bytes, one thread.

Reads the name of a task from each line of standard input, does it for all files, and answers with the CPU seconds of the process.
Arguments: size, then a file with a path a line.

crop, draft: RandomResizedCrop(0.5-1); with draft, Pillow first asks libjpeg for a smaller image that is still larger than the crop's size.
bilinear, bicubic: Resize and CenterCrop. decode: convert("RGB"). slip: SLIP's three views.
"""
import io
import random
import resource
import sys

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import CenterCrop, ColorJitter, Compose, InterpolationMode, RandomApply, RandomGrayscale, RandomHorizontalFlip
from torchvision.transforms import RandomResizedCrop, Resize

size = int(sys.argv[1])
files = [open(path, "rb").read() for path in open(sys.argv[2]).read().split("\n")]
crop = RandomResizedCrop(size, scale=(0.5, 1.0), interpolation=InterpolationMode.BILINEAR)
evaluations = {mode: Compose([Resize(size, InterpolationMode(mode)), CenterCrop(size)]) for mode in ["bilinear", "bicubic"]}


def blur(image):
    return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


simclr = Compose(
    [
        RandomResizedCrop(size, scale=(0.08, 1.0), interpolation=InterpolationMode.BILINEAR),
        RandomApply([ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        RandomGrayscale(p=0.2),
        RandomApply([blur], p=0.5),
        RandomHorizontalFlip(),
    ]
)


def make(task, data):
    image = Image.open(io.BytesIO(data))
    if task == "draft":
        image.draft("RGB", (size, size))
    image = image.convert("RGB")
    if task in ("crop", "draft"):
        return np.array(crop(image))
    if task == "slip":
        return [np.array(crop(image)), np.array(simclr(image)), np.array(simclr(image))]
    return np.array(image if task == "decode" else evaluations[task](image))


def seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


for line in sys.stdin:
    start = seconds()
    for data in files:
        make(line.strip(), data)
    print(seconds() - start, flush=True)
