"""The other side of compare.ts: a torch DataLoader with two workers on the same tars.

Each worker takes every second tar, reads it from front to back with tarfile, decodes with Pillow, crops with torchvision's
RandomResizedCrop(0.5-1), and gives bytes; the DataLoader collates. Captions are read and handed on, not tokenized: one thing less to do
than on the other side. Reads a line for each pass from standard input and answers with its seconds. Arguments: size, batch size, whether
to use Pillow's draft() (0 or 1), then the tars.
"""
import sys
import tarfile
import time
from io import BytesIO

import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import pil_to_tensor

size, batch, draft = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1"
tars = sys.argv[4:]
crop = RandomResizedCrop(size, scale=(0.5, 1.0), interpolation=InterpolationMode.BILINEAR)
torch.set_num_threads(1)


class Tars(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        for path in tars[worker.id :: worker.num_workers]:
            image, key = None, None
            with tarfile.open(path, "r|") as archive:
                for member in archive:
                    stem, suffix = member.name.split(".", 1)
                    content = archive.extractfile(member).read()
                    if suffix == "jpg":
                        image, key = content, stem
                    elif suffix == "txt" and stem == key:
                        yield self.view(image), content.decode()

    @staticmethod
    def view(content):
        image = Image.open(BytesIO(content))
        if draft:
            # Enough pixels for the smallest crop: half of the area.
            image.draft("RGB", (int(size / 0.5**0.5), int(size / 0.5**0.5)))
        return pil_to_tensor(crop(image.convert("RGB")))


loader = DataLoader(Tars(), batch_size=batch, num_workers=2, drop_last=True, persistent_workers=True)
for _ in sys.stdin:
    start = time.perf_counter()
    images = sum(len(pixels) for pixels, _ in loader)
    print(time.perf_counter() - start, images, flush=True)
