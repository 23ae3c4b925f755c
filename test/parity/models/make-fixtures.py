#!/usr/bin/env python3
"""What PyTorch makes of a small LaCLIP model: features, loss, gradients, ten training steps, bf16 autocast.

The numbers come from the code the authors published: models.py, losses.py and utils.py are imported from a checkout of
https://github.com/LijieFan/LaCLIP (nothing of it is copied here), with the vision transformer of the installed timm.

    pip install torch timm safetensors
    git clone https://github.com/LijieFan/LaCLIP
    python3 make-fixtures.py --laclip LaCLIP            # writes the fixtures beside this script
    python3 make-fixtures.py --laclip LaCLIP --check    # writes nothing: compares this machine's results with the fixtures

`--check` starts from the stored weights and batches, so it also says how far two versions of PyTorch or timm are apart.
README.md beside this script describes every file.
"""
import argparse
import json
import math
import os
import sys
import warnings

# One thread: the order of summation, and so the last digit, must not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore", category=FutureWarning)  # LaCLIP imports timm by its former module names

import numpy as np
import torch
from safetensors.torch import load_file, save_file

here = os.path.dirname(os.path.abspath(__file__))

CONFIG = {
    "imageSize": 32, "patchSize": 8, "visionWidth": 48, "visionDepth": 2, "visionHeads": 4, "mlpRatio": 4,
    "qkNorm": True, "layerNormEps": 1e-6,
    "contextLength": 77, "vocabularySize": 128, "textWidth": 32, "textHeads": 4, "textLayers": 2, "textLayerNormEps": 1e-5,
    "jointWidth": 24, "startToken": 126, "endToken": 127, "padToken": 0,
}  # fmt: skip
STEPS = {
    "steps": 10, "peak": 1e-3, "end": 1e-5, "warmupStart": 1e-6, "warmupSteps": 3,
    "weightDecay": 0.5, "betas": [0.9, 0.98], "eps": 1e-8,
    "logitScaleStart": 4.8, "logitScaleRange": [0, 4.6052],
}  # fmt: skip


# ---------------------------------------------------------------- the published model, small


def build(models):
    """LaCLIP's CLIP with LaCLIP's VisionTransformer, in the sizes of CONFIG."""
    from functools import partial

    c = CONFIG
    vision = models.VisionTransformer(
        img_size=c["imageSize"], patch_size=c["patchSize"], embed_dim=c["visionWidth"], depth=c["visionDepth"],
        num_heads=c["visionHeads"], mlp_ratio=c["mlpRatio"], qkv_bias=True, qk_norm=True, num_classes=0,
        norm_layer=partial(torch.nn.LayerNorm, eps=c["layerNormEps"]),
    )  # fmt: skip
    return models.CLIP(
        embed_dim=c["jointWidth"], vision_width=c["visionWidth"], vision_model=vision, context_length=c["contextLength"],
        vocab_size=c["vocabularySize"], transformer_width=c["textWidth"], transformer_heads=c["textHeads"],
        transformer_layers=c["textLayers"],
    )  # fmt: skip


def perturbed_weights(model):
    """The published initialisation, moved away from every 0 and 1 that would hide a missing bias or norm weight."""
    generator = torch.Generator().manual_seed(20230531)
    weights = {}
    for name, value in model.state_dict().items():
        value = value.clone().float()
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 0:
            value = torch.tensor(2.7)
        elif value.ndim == 1:
            value += (0.2 if name.endswith("weight") else 0.1) * noise
        elif "cls_token" in name or "pos" in name or "token_embedding" in name:
            value += 0.1 * noise
        weights[name] = value.contiguous()
    return weights


# ---------------------------------------------------------------- batches


def pictures(count):
    """`[count, 3, 32, 32]` float32: smooth fields with an edge and noise, as normalised ImageNet pixels."""
    random = np.random.default_rng(7)
    size = CONFIG["imageSize"]
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    out = np.empty((count, 3, size, size))
    for image in out:
        cx, cy, r = random.uniform(4, size - 4), random.uniform(4, size - 4), random.uniform(4, 10)
        for channel in image:
            channel[:] = 128 + 80 * np.sin(x / random.uniform(2, 9) + random.uniform(0, 6)) * np.cos(y / random.uniform(2, 9))
            channel[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = random.uniform(0, 255)
            channel += random.normal(0, 12, channel.shape)
    pixels = np.clip(out, 0, 255).astype(np.uint8).astype(np.float32) / 255
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    return torch.from_numpy((pixels - mean) / std)


def captions(random, lengths):
    """`[len(lengths), 77]` int64: start, words, end, then zeros; a length counts start and end."""
    tokens = torch.zeros(len(lengths), CONFIG["contextLength"], dtype=torch.int64)
    for row, length in zip(tokens, lengths):
        words = random.integers(1, CONFIG["startToken"], length - 2)
        row[:length] = torch.tensor([CONFIG["startToken"], *words, CONFIG["endToken"]])
    return tokens


def make_batches():
    random = np.random.default_rng(11)
    return {
        "images": pictures(6),
        # One caption that fills the context and one of a single word.
        "tokens": captions(random, [77, 3, 9, 22, 14, 40]),
        # None longer than 22: whoever cuts the batch to its longest caption must get the same.
        "short_tokens": captions(random, [8, 22, 14, 11, 17, 9]),
        "step_tokens": torch.stack([captions(random, random.integers(8, 23, 6)) for _ in range(STEPS["steps"])]),
    }


def step_images(images, step):
    """Another batch each step without storing it: the pictures shifted, wrapping around."""
    return torch.roll(images, shifts=(3 * step, 5 * step), dims=(2, 3))


# ---------------------------------------------------------------- what is measured


def fresh(models, weights, dtype=torch.float32):
    model = build(models)
    missing = model.load_state_dict(weights, strict=True)
    assert not missing.missing_keys and not missing.unexpected_keys
    return model.to(dtype).train()


def one_batch(model, criterion, images, tokens, autocast=False):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        outputs = model(images, tokens)
        losses = criterion(outputs)
    losses["loss"].backward()
    gradients = {name: p.grad.detach().clone() for name, p in model.named_parameters()}
    return outputs, losses, gradients


def decay_groups(model):
    """The rule of LaCLIP's train.py."""
    decayed, free = [], []
    for name, p in model.named_parameters():
        (free if p.ndim < 2 or "bias" in name or "ln" in name or "bn" in name else decayed).append(name)
    return decayed, free


def ten_steps(model, criterion, schedule, images, step_tokens):
    """The loop of LaCLIP's train.py in fp32: set the rate, forward, backward, AdamW, clamp the logit scale."""
    s = STEPS
    model.logit_scale.data.fill_(s["logitScaleStart"])
    parameters = dict(model.named_parameters())
    decayed, free = decay_groups(model)
    groups = [
        {"params": [parameters[n] for n in decayed], "weight_decay": s["weightDecay"]},
        {"params": [parameters[n] for n in free], "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=s["peak"], betas=tuple(s["betas"]), eps=s["eps"], weight_decay=s["weightDecay"])
    losses, scales = [], []
    for step in range(s["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = float(schedule[step])
        loss = criterion(model(step_images(images, step), step_tokens[step]))["loss"]
        loss.backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        model.logit_scale.data.clamp_(*s["logitScaleRange"])
        losses.append(loss.item())
        scales.append(model.logit_scale.item())
    return losses, scales, {n: v.detach().clone() for n, v in model.state_dict().items()}


def activations(model, images, short_tokens):
    """What single modules give for picture 0 and short caption 0 (its first 24 positions), batch first."""
    kept = {}

    def keep(name, pick=lambda t: t):
        def hook(_module, _inputs, output):
            kept[name] = pick(output[0] if isinstance(output, tuple) else output).detach().float().contiguous().clone()

        model.get_submodule(name).register_forward_hook(hook)

    def text(t):  # LaCLIP's text blocks see [tokens, batch, width]
        return t.transpose(0, 1)[:, :24]

    for name in ["patch_embed", "blocks.0.attn.q_norm", "blocks.0.attn", "blocks.0.mlp", "blocks.0", "blocks.1", "norm"]:
        keep("visual." + name)
    for name in ["ln_1", "attn", "mlp.gelu", "mlp", ""]:
        keep(("transformer.resblocks.0." + name).rstrip("."), text)
    keep("transformer.resblocks.1", text)
    keep("ln_final", lambda t: t[:, :24])
    model.visual.blocks.register_forward_pre_hook(lambda _m, inputs: kept.__setitem__("visual.embedded", inputs[0].detach().clone()))
    model.transformer.register_forward_pre_hook(
        lambda _m, inputs: kept.__setitem__("text.embedded", text(inputs[0]).detach().contiguous().clone())
    )
    with torch.no_grad():
        model(images[:1], short_tokens[:1])
    return kept


def compute(models, losses_module, utils, weights, batches):
    """Every result, as two dictionaries: files of tensors, and plain values."""
    criterion = losses_module.CLIPLoss()
    images, tokens, short = batches["images"], batches["tokens"], batches["short_tokens"]

    model = fresh(models, weights)
    outputs, losses, gradients = one_batch(model, criterion, images, tokens)
    with torch.no_grad():
        short_features = model.encode_text(short)

    low = one_batch(fresh(models, weights), criterion, images, tokens, autocast=True) if MIXES_BF16 else None

    s = STEPS
    schedule = utils.cosine_scheduler(s["peak"], s["end"], s["steps"], 1, warmup_epochs=s["warmupSteps"], start_warmup_value=s["warmupStart"])
    step_losses, scales, final = ten_steps(fresh(models, weights), criterion, schedule, images, batches["step_tokens"])

    # The same in double precision says how many digits of the fp32 numbers mean something.
    single_norm = models.LayerNorm.forward
    models.LayerNorm.forward = torch.nn.LayerNorm.forward
    double = torch.float64
    _, double_losses, double_gradients = one_batch(fresh(models, weights, double), criterion, images.to(double), tokens)
    double_step_losses, _, double_final = ten_steps(
        fresh(models, weights, double), criterion, schedule, images.to(double), batches["step_tokens"]
    )
    models.LayerNorm.forward = single_norm

    decayed, free = decay_groups(model)
    tensors = {
        "features": {
            "image_features": outputs["image_embed"].detach(),
            "text_features": outputs["text_embed"].detach(),
            "short_text_features": short_features,
        },
        "gradients": gradients,
        "ten-steps": final,
        "activations": activations(fresh(models, weights), images, short),
    }
    values = {
        "config": CONFIG,
        "batch": {"loss": losses["loss"].item(), "accuracyPercent": losses["clip_acc"].item(), "lossInDouble": double_losses["loss"].item()},
        "tenSteps": {
            **s,
            "rates": [float(r) for r in schedule],
            "losses": step_losses,
            "lossesInDouble": double_step_losses,
            "logitScalesAfterStep": scales,
            "decayed": decayed,
            "notDecayed": free,
        },
        "noise": {
            "about": "fp32 against the same computation in fp64: gradients as max |difference| / max |gradient| of the tensor, "
            "weights after ten steps as max |difference|",
            "withoutEffect": WITHOUT_EFFECT,
            "gradients": {n: round_to(distance(n, g, double_gradients[n]), 2) for n, g in gradients.items() if n not in DROPPED},
            "tenSteps": {n: round_to(difference(n, v, double_final[n]), 2) for n, v in final.items() if n not in DROPPED},
        },
    }
    if low:
        low_outputs, low_losses, low_gradients = low
        for side in ["image", "text"]:
            tensors["features"][side + "_features_bf16"] = low_outputs[side + "_embed"].detach().float()
        # Without those of the last blocks, for size: the gradients of the first blocks have passed through them.
        tensors["gradients-bf16"] = {n: g.to(torch.bfloat16) for n, g in low_gradients.items() if "blocks.1." not in n}
        values["bf16"] = {
            "loss": low_losses["loss"].item(),
            "lossDtype": str(low_losses["loss"].dtype),
            "featureDtype": str(low_outputs["image_embed"].dtype),
            "distanceFromFp32": {
                "about": "how far bf16 takes this model from fp32: max |difference| / max |value| of each tensor",
                "image_features": round_to(relative(low_outputs["image_embed"], outputs["image_embed"]), 2),
                "text_features": round_to(relative(low_outputs["text_embed"], outputs["text_embed"]), 2),
                "gradients": {n: round_to(distance(n, g, gradients[n]), 2) for n, g in low_gradients.items() if n not in DROPPED},
                "allGradients": round_to(distance_of_all(low_gradients, gradients), 2),
            },
        }
    return tensors, values


# What is added to every key alike adds the same to all scores of a row, and softmax drops it: these gradients are 0 but for rounding,
# which Adam turns into steps of full length. The text blocks keep their key bias in the middle third of in_proj_bias.
WITHOUT_EFFECT = {
    "parameters": [f"visual.blocks.{i}.attn.k_norm.bias" for i in range(CONFIG["visionDepth"])],
    "middleThirdOf": [f"transformer.resblocks.{i}.attn.in_proj_bias" for i in range(CONFIG["textLayers"])],
}
DROPPED = WITHOUT_EFFECT["parameters"]

# Before 2.0, layer_norm on the CPU takes no bf16 input with fp32 weights, which LaCLIP's q_norm and k_norm get under autocast.
MIXES_BF16 = int(torch.__version__.split(".")[0]) >= 2


def meaningful(name, value):
    """`value` without the part that has no effect on the model."""
    if name not in WITHOUT_EFFECT["middleThirdOf"]:
        return value
    third = value.shape[0] // 3
    return torch.cat([value[:third], value[2 * third :]])


def distance(name, value, reference):
    return relative(meaningful(name, value), meaningful(name, reference))


def distance_of_all(gradients, references):
    """|difference| / |reference| of all gradients as one vector."""
    kept = [n for n in references if n not in DROPPED]
    off, size = (torch.cat([t.double().flatten() for t in ts]).norm() for ts in zip(*[
        (meaningful(n, gradients[n]).double() - meaningful(n, references[n]).double(), meaningful(n, references[n])) for n in kept
    ]))  # fmt: skip
    return (off / size).item()


def difference(name, value, reference):
    return (meaningful(name, value).double() - meaningful(name, reference).double()).abs().max().item()


def relative(value, reference):
    reference = reference.double()
    return (value.double() - reference).abs().max().item() / max(reference.abs().max().item(), 1e-30)


def round_to(value, digits):
    return float(f"{value:.{digits}g}")


# ---------------------------------------------------------------- writing and checking

# In `--check`: bf16 products differ between CPUs that have bf16 instructions and CPUs that have none.
LIMITS = {"features": 1e-5, "gradients": 1e-5, "gradients-bf16": 3e-2, "ten-steps": 1e-4, "activations": 1e-5}


def write(out, weights, batches, tensors, values):
    os.makedirs(out, exist_ok=True)
    for name, content in {"weights": weights, "batches": batches, **tensors}.items():
        save_file({k: v.contiguous() for k, v in content.items()}, os.path.join(out, name + ".safetensors"))
    with open(os.path.join(out, "fixtures.json"), "w") as file:
        json.dump(values, file, indent=2)
        file.write("\n")


def distances(content, reference):
    return [(k, distance(k, v, reference[k])) for k, v in content.items() if k not in DROPPED]


def check(out, tensors, values):
    """Prints one line a file; exit status 1 when something is further off than LIMITS allow."""
    with open(os.path.join(out, "fixtures.json")) as file:
        stored = json.load(file)
    failed = False
    for name, content in tensors.items():
        reference = load_file(os.path.join(out, name + ".safetensors"))
        if not MIXES_BF16:
            reference = {k: v for k, v in reference.items() if not k.endswith("_bf16")}
        if set(reference) != set(content):
            raise SystemExit(f"{name}.safetensors holds other tensors: {sorted(set(reference) ^ set(content))}")
        off = {k: (v, LIMITS["gradients-bf16" if k.endswith("_bf16") else name]) for k, v in distances(content, reference)}
        worst = max(off, key=lambda k: off[k][0] / off[k][1])
        value, limit = off[worst]
        failed |= not value <= limit
        print(f"{name:15} worst {value:.1e} (limit {limit:.0e}) in {worst}")
    for label, now, then in [
        ("loss", values["batch"]["loss"], stored["batch"]["loss"]),
        ("last loss", values["tenSteps"]["losses"][-1], stored["tenSteps"]["losses"][-1]),
        ("last rate", values["tenSteps"]["rates"][-1], stored["tenSteps"]["rates"][-1]),
    ]:
        off = abs(now - then) / abs(then)
        failed |= not math.isfinite(now) or off > 1e-5
        print(f"{label:15} {now:.8g}, stored {then:.8g}, off {off:.1e}")
    if MIXES_BF16:
        print(f"bf16 loss       {values['bf16']['loss']:.8g} ({values['bf16']['lossDtype']}), stored {stored['bf16']['loss']:.8g}")
    else:
        print(f"bf16            left out: torch {torch.__version__} cannot run the published model under autocast on the CPU")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laclip", required=True, help="checkout of https://github.com/LijieFan/LaCLIP")
    parser.add_argument("--out", default=here, help="folder of the fixtures (default: beside this script)")
    parser.add_argument("--check", action="store_true", help="compare with the fixtures instead of writing them")
    args = parser.parse_args()

    sys.path.insert(0, os.path.abspath(args.laclip))
    import losses
    import models
    import timm
    import utils

    torch.set_num_threads(1)
    torch.manual_seed(0)
    # The published loss always gathers over a process group: a group of one.
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)

    if args.check:
        weights = load_file(os.path.join(args.out, "weights.safetensors"))
        batches = load_file(os.path.join(args.out, "batches.safetensors"))
    else:
        weights, batches = perturbed_weights(build(models)), make_batches()
    print(f"torch {torch.__version__}, timm {timm.__version__}", file=sys.stderr)
    tensors, values = compute(models, losses, utils, weights, batches)
    values = {"versions": {"torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__}, **values}
    status = 0
    if args.check:
        status = check(args.out, tensors, values)
    else:
        write(args.out, weights, batches, tensors, values)
    torch.distributed.destroy_process_group()
    return status


if __name__ == "__main__":
    sys.exit(main())
