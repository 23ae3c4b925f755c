#!/usr/bin/env python3
"""One training step of a LaCLIP model in eager PyTorch: what our own step is timed against.

    python3 peer.py --model vit-b-16 --precision bf16 --steps 5 --warmup 2 --threads 2

Needs PyTorch alone (1.13 or 2.x), so the model stands here, in the operators that LaCLIP's repository, timm and open_clip use:
timm-style image blocks with per-head norms on query and key, `nn.MultiheadAttention` in the text blocks, `torch.optim.AdamW` as it
comes, `torch.autocast` for bf16, captions padded to 77, no compilation. Weights are random: the work does not depend on them.

Prints one JSON object; `seconds` holds whole steps (rate, forward, loss, backward, AdamW, clamp, reading the loss), in order.
"""
import argparse
import json
import math
import platform
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

TORCH_2 = int(torch.__version__.split(".")[0]) >= 2

# Lengths with start and end token: 8 to 22, mean 14. Fixed, so that every program does the same work.
CAPTION_LENGTHS = [8, 9, 10, 11, 12, 12, 13, 13, 14, 14, 15, 16, 17, 18, 20, 22]
VOCABULARY, CONTEXT, JOINT = 49408, 77, 512
# Width and patch of the image tower; all have 12 blocks of 12 heads, and the same text tower.
MODELS = {"vit-b-16": (768, 16), "vit-b-32": (768, 32), "vit-s-16": (384, 16)}


class Norm32(nn.LayerNorm):
    """LayerNorm in fp32 whatever comes in, like LaCLIP's text tower."""

    def forward(self, x):
        return super().forward(x.float()).to(x.dtype)


# Before 2.0 the CPU's layer_norm takes no bf16 input with fp32 weights; there the only way is through fp32.
HeadNorm = nn.LayerNorm if TORCH_2 else Norm32


class ImageAttention(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = HeadNorm(width // heads, eps=1e-6)
        self.k_norm = HeadNorm(width // heads, eps=1e-6)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class ImageBlock(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = ImageAttention(width, heads, fused)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageTower(nn.Module):
    def __init__(self, width=768, depth=12, heads=12, patch=16, size=224, fused=False):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[ImageBlock(width, heads, fused) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.norm(self.blocks(x))[:, 0]


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class TextBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = Norm32(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width))
        self.ln_2 = Norm32(width)
        # Above the diagonal -inf: a token sees itself and what stands before it.
        self.mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu_(1)

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.mask)[0]
        return x + self.mlp(self.ln_2(x))


class Clip(nn.Module):
    def __init__(self, fused, image_width=768, patch=16, text_width=512, text_heads=8, text_layers=12):
        super().__init__()
        self.visual = ImageTower(image_width, patch=patch, fused=fused)
        self.transformer = nn.Sequential(*[TextBlock(text_width, text_heads) for _ in range(text_layers)])
        self.token_embedding = nn.Embedding(VOCABULARY, text_width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, text_width) * 0.01)
        self.ln_final = Norm32(text_width)
        self.image_projection = nn.Parameter(torch.randn(image_width, JOINT) * image_width**-0.5)
        self.text_projection = nn.Parameter(torch.randn(text_width, JOINT) * text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images, tokens):
        image = self.visual(images) @ self.image_projection
        x = (self.token_embedding(tokens) + self.positional_embedding).permute(1, 0, 2)
        x = self.ln_final(self.transformer(x).permute(1, 0, 2))
        text = x[torch.arange(x.shape[0]), tokens.argmax(dim=-1)] @ self.text_projection
        return image, text, self.logit_scale.exp()


def clip_loss(image, text, scale):
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    targets = torch.arange(image.shape[0])
    return (F.cross_entropy(scale * image @ text.t(), targets) + F.cross_entropy(scale * text @ image.t(), targets)) / 2


def make_batch(size):
    images = torch.randn(size, 3, 224, 224)
    tokens = torch.zeros(size, CONTEXT, dtype=torch.int64)
    for i in range(size):
        length = CAPTION_LENGTHS[i % len(CAPTION_LENGTHS)]
        tokens[i, 0], tokens[i, length - 1] = VOCABULARY - 2, VOCABULARY - 1
        tokens[i, 1 : length - 1] = torch.randint(1, VOCABULARY - 2, (length - 2,))
    return images, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), default="vit-b-16")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--attention", choices=["sdpa", "plain"], help="of the image tower; default: what timm takes on this PyTorch")
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    has_sdpa = hasattr(F, "scaled_dot_product_attention")
    attention = args.attention or ("sdpa" if has_sdpa else "plain")
    if attention == "sdpa" and not has_sdpa:
        parser.error(f"PyTorch {torch.__version__} has no scaled_dot_product_attention: use --attention plain")

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = Clip(attention == "sdpa", *MODELS[args.model]).train()
    images, tokens = make_batch(args.batch)
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2]
    free = [p for n, p in model.named_parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.5}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), eps=1e-8)

    seconds, losses, parts = [], [], {"forward": [], "backward": [], "optimizer": []}
    for step in range(args.warmup + args.steps):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = 1e-4
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = clip_loss(*model(images, tokens))
        loss_value = loss.item()
        forward_end = time.perf_counter()
        loss.backward()
        backward_end = time.perf_counter()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        model.logit_scale.data.clamp_(0, 4.6052)
        end = time.perf_counter()
        losses.append(loss_value)
        if step >= args.warmup:
            seconds.append(end - start)
            for name, value in zip(parts, [forward_end - start, backward_end - forward_end, end - backward_end]):
                parts[name].append(value)
        print(f"step {step}: {end - start:.2f} s, loss {loss_value:.4f}", file=sys.stderr)
    if not all(math.isfinite(v) for v in losses):
        raise SystemExit("the loss is not finite: these times mean nothing")

    result = {
        "program": "pytorch-eager", "torch": torch.__version__, "python": platform.python_version(), "precision": args.precision,
        "attention": attention, "threads": args.threads, "batch": args.batch, "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": [round(s, 4) for s in seconds], "median": round(statistics.median(seconds), 4),
        "parts": {name: round(statistics.median(values), 4) for name, values in parts.items()},
        "losses": [round(v, 4) for v in losses], "peakMemoryMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
