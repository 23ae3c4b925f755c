#!/usr/bin/env python3
"""Small models as LaCLIP, SLIP, open_clip and OpenAI save them, and the features that they compute.

The models are those of the published code, imported from checkouts (nothing of it is copied here):

    pip install torch torchvision timm open-clip-torch safetensors
    git clone https://github.com/LijieFan/LaCLIP
    git clone https://github.com/mlfoundations/open_clip    # its main branch: releases up to 3.3.0 have no timm_model_kwargs
    python3 make-fixtures.py --laclip LaCLIP --open-clip open_clip/src

Writes, beside this script:
  laclip.pt            a checkpoint as LaCLIP's train.py saves it: wrapped names, optimiser, arguments as a Namespace
  slip.pt              the same of a model without norms on queries, with the head for SimCLR's loss
  open-clip.pt         a checkpoint as open_clip's training saves it, QuickGELU
  openai.pt            the same model as a program in half precision, as OpenAI gives its models away
  open-clip-native/    a folder of open_clip, its own tower
  open-clip-timm/      a folder of open_clip with timm's tower, the form that LaCLIP's models have there
  before-1.6.pt        a state dict as PyTorch wrote it before version 1.6
  features.safetensors images, tokens, and the features of each model
"""
import argparse
import json
import os
import sys
import warnings
from functools import partial

# One thread: the order of summation, and so the last digit, must not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore", category=FutureWarning)

import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
SIZES = {"image": 16, "patch": 8, "vision_width": 16, "vision_heads": 2, "context": 8, "vocabulary": 64, "text_width": 16, "text_heads": 4, "joint": 8}


def moved(model):
    """The model, moved away from every 0 and 1 that would hide a missing bias or norm weight."""
    generator = torch.Generator().manual_seed(20230531)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 0:
                parameter.fill_(2.7)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def laclip(models, qk_norm):
    s = SIZES
    vision = models.VisionTransformer(
        img_size=s["image"], patch_size=s["patch"], embed_dim=s["vision_width"], depth=1, num_heads=s["vision_heads"], mlp_ratio=4,
        qkv_bias=True, qk_norm=qk_norm, num_classes=0, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
    return models.CLIP(
        embed_dim=s["joint"], vision_width=s["vision_width"], vision_model=vision, context_length=s["context"],
        vocab_size=s["vocabulary"], transformer_width=s["text_width"], transformer_heads=s["text_heads"], transformer_layers=1,
    )  # fmt: skip


def checkpoint(model, name):
    """What LaCLIP's and SLIP's main.py save after an epoch of DistributedDataParallel."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer.step()
    model.load_state_dict(before)
    return {
        "epoch": 35,
        "state_dict": {f"module.{key}": value for key, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 7},
        "best_acc1": torch.tensor(21.5),
        "args": argparse.Namespace(model=name, betas=(0.9, 0.98), lr=1e-3, gpu=0, resume="", root=None, evaluate=False),
    }


class Tree(torch.nn.Module):
    """Weights under their names and nothing else, so that torch.jit.script has little to do."""

    def __init__(self, weights):
        super().__init__()
        for name in sorted({name.split(".")[0] for name in weights}):
            if name in weights:
                self.register_parameter(name, torch.nn.Parameter(weights[name]))
            else:
                self.add_module(name, Tree({key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}))
        for name, number in {"input_resolution": SIZES["image"], "context_length": SIZES["context"], "vocab_size": SIZES["vocabulary"]}.items():
            if "logit_scale" in weights:
                self.register_buffer(name, torch.tensor(number))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--laclip", required=True)
    parser.add_argument("--open-clip", required=True)
    options = parser.parse_args()
    sys.path[:0] = [options.laclip, options.open_clip]
    import models
    import open_clip
    from open_clip.model import CLIP
    from open_clip.push_to_hf_hub import save_config_for_hf
    from pathlib import Path

    torch.manual_seed(0)
    s = SIZES
    images = torch.rand(3, 3, s["image"], s["image"]) * 4 - 2
    tokens = torch.zeros(3, s["context"], dtype=torch.long)
    for row, length in enumerate([3, 5, 8]):
        tokens[row, :length] = torch.tensor([62, *torch.randint(1, 60, (length - 2,)).tolist(), 63])
    results = {"images": images, "tokens": tokens}

    def record(name, model):
        with torch.no_grad():
            results[f"{name}.image_features"] = model.encode_image(images).float().contiguous()
            results[f"{name}.text_features"] = model.encode_text(tokens).float().contiguous()

    model = moved(laclip(models, True))
    record("laclip", model)
    torch.save(checkpoint(model, "CLIP_VITB16"), os.path.join(here, "laclip.pt"))
    torch.save({"logit_scale": model.logit_scale.detach()}, os.path.join(here, "before-1.6.pt"), _use_new_zipfile_serialization=False)

    model = moved(laclip(models, False))
    head = [("layer1", torch.nn.Linear(16, 12)), ("bn1", torch.nn.BatchNorm1d(12)), ("relu1", torch.nn.ReLU()), ("layer2", torch.nn.Linear(12, 12)),
            ("bn2", torch.nn.BatchNorm1d(12)), ("relu2", torch.nn.ReLU()), ("layer3", torch.nn.Linear(12, 6))]  # fmt: skip
    from collections import OrderedDict

    model.image_mlp = torch.nn.Sequential(OrderedDict(head))
    record("slip", model)
    torch.save(checkpoint(model, "SLIP_VITB16"), os.path.join(here, "slip.pt"))

    text = {"context_length": s["context"], "vocab_size": s["vocabulary"], "width": s["text_width"], "heads": s["text_heads"], "layers": 1}
    native = {
        "embed_dim": s["joint"],
        "quick_gelu": True,
        "vision_cfg": {"image_size": s["image"], "layers": 1, "width": s["vision_width"], "head_width": 8, "patch_size": s["patch"]},
        "text_cfg": text,
    }
    timm = {
        "embed_dim": s["joint"],
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": s["image"], "timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": False,
            "timm_pool": "token", "timm_proj": "linear",
            "timm_model_kwargs": {"img_size": s["image"], "patch_size": s["patch"], "embed_dim": s["vision_width"], "depth": 1,
                                  "num_heads": s["vision_heads"], "qk_norm": True},
        },
        "text_cfg": text,
    }  # fmt: skip
    for name, config, pixels in [
        ("native", native, {}),
        ("timm", timm, {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear", "resize_mode": "shortest"}),
    ]:
        model = moved(CLIP(**{**config, "vision_cfg": dict(config["vision_cfg"]), "text_cfg": dict(text)}))
        open_clip.factory.set_model_preprocess_cfg(model, {**{"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}, **pixels})
        record(f"open-clip-{name}", model)
        folder = os.path.join(here, f"open-clip-{name}")
        os.makedirs(folder, exist_ok=True)
        save_file(model.state_dict(), os.path.join(folder, "open_clip_model.safetensors"))
        save_config_for_hf(model, Path(folder, "open_clip_config.json"), model_config=config)
        if name == "native":
            state = {key: value.clone() for key, value in model.state_dict().items()}
            trained = {"epoch": 32, "name": "2026_11_29-model_ViT", "state_dict": {f"module.{key}": value for key, value in state.items()}}
            torch.save(trained, os.path.join(here, "open-clip.pt"))
            torch.jit.save(torch.jit.script(Tree({key: value.half() for key, value in state.items()})), os.path.join(here, "openai.pt"))

    save_file(results, os.path.join(here, "features.safetensors"))
    print(json.dumps({name: os.path.getsize(os.path.join(here, name)) for name in sorted(os.listdir(here)) if "." in name}, indent=1))


main()
