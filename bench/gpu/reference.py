#!/usr/bin/env python3
"""Training steps of LaCLIP in PyTorch, two ways: what step.ts is timed against.

    python3 reference.py --way repository --preset vit-b-16 --batch 256
    python3 reference.py --way best --preset vit-b-16 --batch 256

`repository` is how LaCLIP's own trainer runs: eager, fp16 autocast with a gradient scaler, attention as products and a softmax, AdamW as
torch.optim has it, captions padded to 77, images as float32, copied on the stream that computes. `best` is the fastest that PyTorch offers
for the same work: torch.compile of all from bytes to the loss, scaled_dot_product_attention, fused AdamW, bf16, images as bytes, copied
from pinned memory beside the step, captions cut to the longest of the batch.

Needs PyTorch 2.x alone: the model stands here, in the operators that LaCLIP's repository, timm and open_clip use. Weights and pixels are
random, since the work does not depend on them. Prints one JSON object; with "error" where the memory does not suffice.
"""
import argparse
import contextlib
import json
import math
import re
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

# With start and end: 8 to 22, mean 14; as in step.ts.
LENGTHS = [8, 9, 10, 11, 12, 12, 13, 13, 14, 14, 15, 16, 17, 18, 20, 22]
CONTEXT = 77
# Width, depth, heads, patch of the image tower; width, depth, heads of the text tower; joint width; vocabulary; pixels.
PRESETS = {
    "vit-s-16": ((384, 12, 12, 16), (512, 12, 8), 512, 49408, 224),
    "vit-b-16": ((768, 12, 12, 16), (512, 12, 8), 512, 49408, 224),
    "vit-b-32": ((768, 12, 12, 32), (512, 12, 8), 512, 49408, 224),
    "vit-l-16": ((1024, 24, 16, 16), (512, 12, 8), 512, 49408, 224),
    "small": ((64, 2, 2, 16), (64, 2, 2), 32, 49408, 64),
}


class Norm32(nn.LayerNorm):
    """LayerNorm in float32 whatever comes in."""

    def forward(self, x):
        return super().forward(x.float()).to(x.dtype)


class ImageAttention(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads, eps=1e-6)
        self.k_norm = nn.LayerNorm(width // heads, eps=1e-6)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(dim=-1) @ v
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
    def __init__(self, width, depth, heads, patch, size, fused):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[ImageBlock(width, heads, fused) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1) + self.pos_embed
        return self.norm(self.blocks(x))[:, 0]


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class TextAttention(nn.Module):
    """nn.MultiheadAttention's work with PyTorch's own kernel for causal attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.in_proj(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(x.transpose(1, 2).reshape(batch, tokens, width))


class TextBlock(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.fused = fused
        self.attn = TextAttention(width, heads) if fused else nn.MultiheadAttention(width, heads)
        self.ln_1 = Norm32(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width))
        self.ln_2 = Norm32(width)
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), float("-inf")).triu_(1), persistent=False)

    def forward(self, x):
        y = self.ln_1(x)
        if self.fused:
            x = x + self.attn(y)
        else:
            # As open_clip of that time: tokens first.
            y = y.permute(1, 0, 2)
            x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.mask.to(y.dtype))[0].permute(1, 0, 2)
        return x + self.mlp(self.ln_2(x))


class Clip(nn.Module):
    def __init__(self, preset, fused):
        super().__init__()
        (width, depth, heads, patch), (text_width, text_depth, text_heads), joint, vocabulary, size = PRESETS[preset]
        self.visual = ImageTower(width, depth, heads, patch, size, fused)
        self.transformer = nn.Sequential(*[TextBlock(text_width, text_heads, fused) for _ in range(text_depth)])
        self.token_embedding = nn.Embedding(vocabulary, text_width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, text_width) * 0.01)
        self.ln_final = Norm32(text_width)
        self.image_projection = nn.Parameter(torch.randn(width, joint) * width**-0.5)
        self.text_projection = nn.Parameter(torch.randn(text_width, joint) * text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images, tokens):
        image = self.visual(images) @ self.image_projection
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        text = x[torch.arange(x.shape[0], device=x.device), tokens.argmax(dim=-1)] @ self.text_projection
        return image, text, self.logit_scale.exp()


def clip_loss(image, text, scale):
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    targets = torch.arange(image.shape[0], device=image.device)
    logits = scale * image @ text.t()
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.t(), targets)) / 2


def make_batches(args, device, as_bytes):
    """Two batches in host memory, pinned where that means something, which come again and again."""
    size = PRESETS[args.preset][4]
    context = max(LENGTHS) if as_bytes else CONTEXT
    made = []
    for number in range(2):
        generator = torch.Generator().manual_seed(number)
        if as_bytes:
            images = torch.randint(0, 256, (args.batch, size, size, 3), dtype=torch.uint8, generator=generator)
        else:
            images = torch.randn(args.batch, 3, size, size, generator=generator)
        tokens = torch.zeros(args.batch, context, dtype=torch.int64)
        for i in range(args.batch):
            length = LENGTHS[i % len(LENGTHS)]
            tokens[i, 0], tokens[i, length - 1] = 49406, 49407
            tokens[i, 1 : length - 1] = torch.randint(1, 49406, (length - 2,), generator=generator)
        made.append([x.pin_memory() for x in (images, tokens)] if device.type == "cuda" else [images, tokens])
    return made


class Feed:
    """Batches on their way to the device, one ahead.

    `beside`: on a stream of its own, so that the copy overlaps what is computed. Otherwise on the stream that computes, as in LaCLIP's
    trainer: from pinned memory too, but what is computed waits for it.
    """

    def __init__(self, batches, device, beside):
        self.batches, self.device, self.count = batches, device, 0
        self.stream = torch.cuda.Stream(device) if beside else None

    def bring(self):
        batch = self.batches[self.count % len(self.batches)]
        self.count += 1
        with contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            self.ready = [x.to(self.device, non_blocking=True) for x in batch]

    def take(self):
        if self.stream is not None:
            computes = torch.cuda.current_stream(self.device)
            computes.wait_stream(self.stream)
            # Their memory belongs to the other stream: it must not be given away before the step is done with it.
            for x in self.ready:
                x.record_stream(computes)
        return self.ready


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=["repository", "best"], default="repository")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--preset", choices=list(PRESETS), default="vit-b-16")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], help="default: fp16 for the repository's way, bf16 for the best")
    modes = ["default", "reduce-overhead", "max-autotune-no-cudagraphs", "none"]
    parser.add_argument("--compile-mode", choices=modes, default="default", help="torch.compile's, for the best way")
    parser.add_argument("--tf32", action="store_true", help="products of float32 in TF32, which PyTorch leaves off")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    args = parser.parse_args()
    best = args.way == "best"
    device = torch.device(args.device)
    cuda = device.type == "cuda"
    precision = args.precision or (("bf16" if best else "fp16") if cuda else "fp32")
    if args.tf32:
        torch.set_float32_matmul_precision("high")
    # As in LaCLIP's trainer.
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    model = Clip(args.preset, fused=best).to(device).train()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    free = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.5}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), eps=1e-8, **({"fused": True} if best and cuda else {}))
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16" and cuda)
    batches = make_batches(args, device, best)
    mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor([0.229, 0.224, 0.225], device=device).view(1, 3, 1, 1) * 255
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    compiled = args.compile_mode if best else "none"
    common = {
        "program": f"pytorch, {args.way}", "torch": torch.__version__, "gpu": torch.cuda.get_device_name(device) if cuda else "cpu",
        "precision": precision, "preset": args.preset, "batch": args.batch, "compile": compiled, "tf32": args.tf32,
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip

    def wait():
        if cuda:
            torch.cuda.synchronize()

    def loss_of(images, tokens):
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            if best:
                images = (images.permute(0, 3, 1, 2).float() - mean) / std
            output = model(images, tokens)
        return clip_loss(*output)

    if compiled != "none":
        loss_of = torch.compile(loss_of, mode=compiled)

    seconds, losses = [], []
    try:
        feed = Feed(batches, device, beside=best and cuda)
        feed.bring()
        start = time.perf_counter()
        for step in range(args.warmup + args.steps):
            if compiled == "reduce-overhead":
                # The graphs of a step may use the memory of those before it again.
                torch.compiler.cudagraph_mark_step_begin()
            images, tokens = feed.take()
            loss = loss_of(images, tokens)
            scaler.scale(loss).backward()
            # Asked for when the device has all of the backward pass, as in ours. On the stream that computes, it goes over behind that.
            feed.bring()
            scaler.step(optimizer)
            scaler.update()
            model.zero_grad(set_to_none=True)
            with torch.no_grad():
                model.logit_scale.clamp_(0, 4.6052)
            losses.append(loss.item())
            if step + 1 == args.warmup + args.steps:
                wait()
            now = time.perf_counter()
            if step >= args.warmup:
                seconds.append(now - start)
            start = now
    except RuntimeError as error:
        # Compilers and cuBLAS say it with exceptions of their own.
        if not isinstance(error, torch.OutOfMemoryError) and not re.search("out of memory|ALLOC_FAILED", str(error)):
            raise
        print(json.dumps({**common, "error": str(error).splitlines()[0]}))
        return
    if not all(math.isfinite(v) for v in losses[-3:]):
        sys.exit("the loss is not finite: these times mean nothing")
    median = statistics.median(seconds)
    memory = {"peak": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.memory_reserved()} if cuda else None
    print(json.dumps({**common, "seconds": seconds, "median": median, "imagesPerSecond": args.batch / median, "losses": losses, "memory": memory}))


if __name__ == "__main__":
    main()
