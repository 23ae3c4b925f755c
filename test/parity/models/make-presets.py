#!/usr/bin/env python3
"""Every parameter of LaCLIP's published models: name, shape, and the distribution it starts from.

    pip install torch torchvision timm==0.5.4
    git clone https://github.com/LijieFan/LaCLIP
    python3 make-presets.py --laclip LaCLIP

Builds CLIP_VITS16, CLIP_VITB16 and CLIP_VITL16 of the checkout's models.py and measures what stands in them (writes presets.json).
timm 0.5.4 is the version LaCLIP names, and it matters: later ones start the class token at 1e-6 instead of 0.02.
Layers of a tower start alike, so `{i}` in a name stands for the layers 0 to `layers` - 1, and the figures are over all of them.
"""
import argparse
import json
import math
import os
import re
import sys

import torch

here = os.path.dirname(os.path.abspath(__file__))


def describe(values):
    """Figures of one parameter; `values` holds the same parameter of every layer."""
    flat = torch.cat([v.flatten() for v in values])
    if flat.min() == flat.max():
        return {"kind": "constant", "value": flat[0].item()}
    std, mean = torch.std_mean(flat, unbiased=False)
    # The fourth moment tells the two apart: 1.8 for a uniform distribution, 3 for a normal one.
    kurtosis = ((flat - mean) / std).pow_(4).mean().item()
    kind = "uniform" if kurtosis < 2.1 else "normal"
    if not (abs(kurtosis - 1.8) < 0.15 or abs(kurtosis - 3) < 0.6):
        raise SystemExit(f"kurtosis {kurtosis}: neither uniform nor normal")
    found = {"kind": kind, "std": float(f"{std.item():.4g}"), "mean": float(f"{mean.item():.1e}"), "count": flat.numel()}
    if kind == "uniform":
        found["bound"] = float(f"{flat.abs().max().item():.4g}")
    return found


def describe_model(model):
    groups = {}
    for name, value in model.state_dict().items():
        groups.setdefault(re.sub(r"(blocks)\.\d+\.", r"\1.{i}.", name), []).append(value)
    parameters = {}
    for pattern, values in groups.items():
        layers = {"layers": len(values)} if "{i}" in pattern else {}
        parameters[pattern] = {"shape": list(values[0].shape), **layers, **describe(values)}
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tensors": len(model.state_dict()),
        "names": parameters,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laclip", required=True, help="checkout of https://github.com/LijieFan/LaCLIP")
    parser.add_argument("--out", default=os.path.join(here, "presets.json"))
    args = parser.parse_args()

    sys.path.insert(0, os.path.abspath(args.laclip))
    import models
    import timm

    if timm.__version__ != "0.5.4":
        raise SystemExit(f"timm {timm.__version__}: the published initialisation is that of timm 0.5.4")
    presets = {}
    for name in ["CLIP_VITS16", "CLIP_VITB16", "CLIP_VITL16"]:
        torch.manual_seed(0)
        presets[name] = describe_model(getattr(models, name)())
    assert math.isclose(presets["CLIP_VITB16"]["names"]["logit_scale"]["value"], math.log(1 / 0.07), rel_tol=1e-6)
    # One parameter a line: short enough to read, and a change shows up as the line it is.
    lines = []
    for name, preset in presets.items():
        rows = ",\n".join(f"      {json.dumps(k)}: {json.dumps(v)}" for k, v in preset["names"].items())
        lines.append(
            f'  "{name}": {{\n    "parameters": {preset["parameters"]},\n    "tensors": {preset["tensors"]},\n    "names": {{\n{rows}\n    }}\n  }}'
        )
    versions = json.dumps({"torch": torch.__version__, "timm": timm.__version__})
    with open(args.out, "w") as file:
        file.write(f'{{\n  "versions": {versions},\n' + ",\n".join(lines) + "\n}\n")
    with open(args.out) as file:
        json.load(file)


if __name__ == "__main__":
    main()
