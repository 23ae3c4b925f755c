"""The other side of loader.bench.ts: Pillow and torchvision's RandomResizedCrop(0.5-1) on the same files, one thread.

Reads a line for each pass from standard input and answers with its CPU seconds. Arguments: size, then a file with a path a line.
"""
import sys
import time

from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import pil_to_tensor

size = int(sys.argv[1])
paths = open(sys.argv[2]).read().split("\n")
crop = RandomResizedCrop(size, scale=(0.5, 1.0), interpolation=InterpolationMode.BILINEAR)
for _ in sys.stdin:
    start = time.process_time()
    for path in paths:
        with open(path, "rb") as file:
            pil_to_tensor(crop(Image.open(file).convert("RGB")))
    print(time.process_time() - start, flush=True)
