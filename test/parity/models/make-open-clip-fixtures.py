#!/usr/bin/env python3
"""What open_clip makes of its own form of CLIP: features, loss, gradients, fewer patches, other image sizes, the published shapes.

    pip install torch torchvision timm open-clip-torch safetensors
    python3 make-open-clip-fixtures.py

Builds a small model of the structure of ViT-B-32 (the sizes of CONFIG) and ViT-B-32, ViT-B-16 and ViT-L-14 themselves with the installed
open_clip; nothing of it is copied. Images and tokens are those of batches.safetensors, which make-fixtures.py has written.
README.md beside this script describes every file.
"""
import importlib.util
import json
import math
import os

# One thread: the order of summation, and so the last digit, must not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import open_clip
import timm
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, resize_pos_embed
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed

here = os.path.dirname(os.path.abspath(__file__))
CONFIG = {
    "imageSize": 32, "patchSize": 8, "visionWidth": 32, "visionDepth": 2, "visionHeads": 4,
    "contextLength": 77, "vocabularySize": 128, "textWidth": 24, "textHeads": 3, "textLayers": 2, "jointWidth": 20,
}  # fmt: skip
SIZES = [16, 48, 72]


def build(quick_gelu, image_size=CONFIG["imageSize"]):
    c = CONFIG
    vision = CLIPVisionCfg(
        layers=c["visionDepth"], width=c["visionWidth"], head_width=c["visionWidth"] // c["visionHeads"],
        patch_size=c["patchSize"], image_size=image_size,
    )  # fmt: skip
    text = CLIPTextCfg(
        context_length=c["contextLength"], vocab_size=c["vocabularySize"], width=c["textWidth"], heads=c["textHeads"],
        layers=c["textLayers"],
    )  # fmt: skip
    return CLIP(c["jointWidth"], vision, text, quick_gelu=quick_gelu)


def perturbed(model):
    """open_clip's initialisation, moved away from every 0 and 1 that would hide a missing bias or norm weight."""
    generator = torch.Generator().manual_seed(20230531)
    weights = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 0:
            value = torch.tensor(2.7)
        elif value.ndim == 1:
            value = value + (0.2 if name.endswith("weight") else 0.1) * noise
        weights[name] = value.clone().contiguous()
    return weights


def loss_of(model, images, tokens):
    # open_clip's own loss takes normalised features, as `forward` gives them.
    image, text, scale = model(images, tokens)
    return open_clip.ClipLoss()(image, text, scale)


class Chosen(torch.nn.Module):
    """In the place of open_clip's patch dropout: the same, with patches that are known instead of drawn."""

    def __init__(self, patches):
        super().__init__()
        self.patches = patches

    def forward(self, x):
        rows = torch.arange(len(x))[:, None]
        return torch.cat([x[:, :1], x[:, 1:][rows, self.patches]], dim=1)


def run(weights, batches, quick_gelu, prefix, out):
    model = build(quick_gelu)
    model.load_state_dict(weights)
    images, tokens = batches["images"], batches["tokens"]
    with torch.no_grad():
        out[f"{prefix}.image_features"] = model.encode_image(images)
        out[f"{prefix}.text_features"] = model.encode_text(tokens)
        model.visual.patch_dropout = Chosen(out["patches"])
        out[f"{prefix}.image_features_of_patches"] = model.encode_image(images)
        model.visual.patch_dropout = torch.nn.Identity()
    loss = loss_of(model, images, tokens)
    loss.backward()
    for name, parameter in model.named_parameters():
        out[f"{prefix}.gradient.{name}"] = parameter.grad.clone()
    return loss.item()


def main():
    torch.manual_seed(0)
    batches = load_file(os.path.join(here, "batches.safetensors"))
    weights = perturbed(build(False))
    patches = (CONFIG["imageSize"] // CONFIG["patchSize"]) ** 2
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand(len(batches["images"]), patches, generator=generator).topk(patches // 2, dim=-1).indices
    results = {"patches": kept}
    losses = {name: run(weights, batches, quick, name, results) for name, quick in [("gelu", False), ("quick-gelu", True)]}

    published = load_file(os.path.join(here, "weights.safetensors"))["visual.pos_embed"]
    for size in SIZES:
        state = dict(weights)
        resize_pos_embed(state, build(False, size))
        results[f"positions.{size}"] = state["visual.positional_embedding"].contiguous()
        grid = size // CONFIG["patchSize"]
        results[f"laclip_positions.{size}"] = resample_abs_pos_embed(published, [grid, grid], num_prefix_tokens=1).contiguous()
    save_file(weights, os.path.join(here, "open-clip-weights.safetensors"))
    save_file(results, os.path.join(here, "open-clip-results.safetensors"))

    spec = importlib.util.spec_from_file_location("presets", os.path.join(here, "make-presets.py"))
    presets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(presets)
    lines = []
    for name in ["ViT-B-32", "ViT-B-16", "ViT-L-14"]:
        torch.manual_seed(0)
        found = presets.describe_model(open_clip.create_model(name))
        rows = ",\n".join(f"      {json.dumps(k)}: {json.dumps(v)}" for k, v in found["names"].items())
        lines.append(
            f'    "{name}": {{\n    "parameters": {found["parameters"]},\n    "tensors": {found["tensors"]},\n    "names": {{\n{rows}\n    }}\n  }}'
        )
    facts = {
        "versions": {"torch": torch.__version__, "open_clip": open_clip.__version__, "timm": timm.__version__},
        "config": CONFIG, "losses": losses, "sizes": SIZES,
    }  # fmt: skip
    head = ",\n".join(f'  {json.dumps(k)}: {json.dumps(v)}' for k, v in facts.items())
    with open(os.path.join(here, "open-clip.json"), "w") as file:
        file.write("{\n" + head + ',\n  "presets": {\n' + ",\n".join(lines) + "\n  }\n}\n")
    with open(os.path.join(here, "open-clip.json")) as file:
        json.load(file)
    assert all(math.isfinite(loss) for loss in losses.values())


if __name__ == "__main__":
    main()
