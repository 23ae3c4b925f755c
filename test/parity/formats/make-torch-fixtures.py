"""A file of PyTorch with tensors of every kind and objects of classes, and what is in it.

    python make-torch-fixtures.py          # needs torch, safetensors

Writes tensors.pt and the same tensors, row by row, as tensors.safetensors.
"""

import argparse
import collections
from pathlib import Path

import torch
from safetensors.torch import save_file

here = Path(__file__).parent
base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
tensors = {
    "plain": base,
    "transposed": base.transpose(0, 2),
    "part": base[1, :, 1:3],
    "every other": base[:, ::2, ::2],
    "column": base[0, :, :1],
    "scalar": base[1, 2, 3],
    "empty": base[:, :0],
    "double": torch.tensor([0.1, -1e300], dtype=torch.float64),
    "half": torch.tensor([0.1, -2.0**-24, 65504.0, float("inf")], dtype=torch.float16),
    "bfloat16": torch.tensor([0.1, -3e38], dtype=torch.bfloat16),
    "int64": torch.tensor([2**40, -1]),
    "int32": torch.tensor([-7], dtype=torch.int32),
    "int16": torch.tensor([-7], dtype=torch.int16),
    "int8": torch.tensor([-7], dtype=torch.int8),
    "uint8": torch.tensor([250], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
}
saved = {
    "tensors": collections.OrderedDict(tensors),
    "parameter": torch.nn.Parameter(base[0]),
    "args": argparse.Namespace(model="CLIP_VITB16", betas=(0.9, 0.98), large=2**40, nothing=None, there=True),
    "expanded": torch.zeros(1).expand(1000),
}
torch.save(saved, here / "tensors.pt")
save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, here / "tensors.safetensors")
