#!/usr/bin/env python3
"""The way of a model of LaCLIP's own code through `laclip convert` into open_clip: the features at both ends.

    pip install torch torchvision timm open-clip-torch safetensors
    git clone https://github.com/LijieFan/LaCLIP
    git clone https://github.com/mlfoundations/open_clip    # its main branch, see make-fixtures.py
    python3 check-open-clip.py --laclip LaCLIP --open-clip open_clip/src [--model CLIP_VITB16]

Weights are drawn at random and saved as LaCLIP's training saves them. Differences are relative to the largest feature. Ends with 1 where one
is above 1e-5.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import torch

LIMIT = 1e-5
root = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--laclip", required=True)
    parser.add_argument("--open-clip", required=True)
    parser.add_argument("--model", default="CLIP_VITB16", help="a function of LaCLIP's models.py")
    options = parser.parse_args()
    sys.path[:0] = [options.laclip, options.open_clip]
    import models
    import open_clip

    torch.manual_seed(0)
    model = getattr(models, options.model)().eval()
    images = torch.rand(4, 3, 224, 224) * 4 - 2
    tokens = torch.zeros(4, 77, dtype=torch.long)
    for row, length in enumerate([3, 10, 40, 77]):
        tokens[row, :length] = torch.tensor([49406, *torch.randint(1, 49405, (length - 2,)).tolist(), 49407])
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, ours, theirs = (os.path.join(folder, name) for name in ["checkpoint.pt", "ours", "theirs"])
        state = {f"module.{name}": value for name, value in model.state_dict().items()}
        torch.save({"epoch": 1, "state_dict": state, "args": argparse.Namespace(model=options.model)}, checkpoint)
        program = ["node", os.path.join(root, "dist", "src", "cli", "main.js"), "convert", "--quiet"]
        subprocess.run([*program, checkpoint, ours], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*program, ours, theirs, "--to", "open-clip"], check=True, stdout=subprocess.DEVNULL)
        loaded, _ = open_clip.create_model_from_pretrained(f"local-dir:{theirs}")
        loaded.eval()
    worst = 0.0
    with torch.no_grad():
        for what, given in [("image", images), ("text", tokens)]:
            expected = getattr(model, f"encode_{what}")(given)
            distance = ((getattr(loaded, f"encode_{what}")(given) - expected).abs().max() / expected.abs().max()).item()
            print(f"{what}s: {distance:.1e}")
            worst = max(worst, distance)
    sys.exit(worst > LIMIT)


main()
