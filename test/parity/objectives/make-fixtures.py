#!/usr/bin/env python3
"""What PyTorch makes of each objective: loss and gradients on one small batch, in double precision.

Each loss is written here pair by pair or row by row from its definition (the paper or repository is named at the function), not in the
blocks of matrices that the program works in.

    python3 make-fixtures.py            # needs torch; writes fixtures.json beside this script
"""
import json
import os

import torch
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
B, K, D, E = 6, 3, 5, 4


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def negatives(row, column, images, masked):
    """Whether column's text may stand in the denominator of row's image: always but for duplicates of the image's own captions."""
    return not (masked and images[row] & {column["key"]} and column["image"] != row)


def slot(x, weights, masked):
    """LaCLIP-MT as stated in its paper: text k against the texts k of other images; K = 1 is CLIP (LaCLIP's losses.py)."""
    image, text = unit(x["image"]), unit(x["text"]).view(B, -1, D)
    k_all = text.shape[1]
    keys = x["keys"].view(B, k_all).tolist()
    own = [set(row) for row in keys]
    loss = 0
    for k in range(k_all):
        s = x["scale"] * image @ text[:, k].T
        for i in range(B):
            keep = [j for j in range(B) if negatives(i, {"key": keys[j][k], "image": j}, own, masked)]
            w = weights[i][k] / (2 * B * k_all)
            loss = loss - w * (s[i, i] - torch.logsumexp(s[i, keep], 0))
            keep = [j for j in range(B) if negatives(j, {"key": keys[i][k], "image": i}, own, masked)]
            loss = loss - w * (s[i, i] - torch.logsumexp(s[keep, i], 0))
    return loss


def joint(x, weights, masked):
    """StableRep's multi-positive loss (syn-rep-learn, MultiPosConLossMM): targets spread over an image's texts, all texts below."""
    image, text = unit(x["image"]), unit(x["text"])
    keys = x["keys"].tolist()
    k_all = len(keys) // B
    own = [set(keys[i * k_all : (i + 1) * k_all]) for i in range(B)]
    s = x["scale"] * image @ text.T
    loss = 0
    for i in range(B):
        keep = [t for t in range(B * k_all) if negatives(i, {"key": keys[t], "image": t // k_all}, own, masked)]
        for k in range(k_all):
            t = i * k_all + k
            w = weights[i][k] / (2 * B * k_all)
            loss = loss - w * (s[i, t] - torch.logsumexp(s[i, keep], 0))
            rows = [j for j in range(B) if negatives(j, {"key": keys[t], "image": i}, own, masked)]
            loss = loss - w * (s[i, t] - torch.logsumexp(s[rows, t], 0))
    return loss


def fit(x, weights, sharpness):
    """ALIP's rule for a pair, exp(sharpness (similarity - mean)) below the mean and 1 above; the mean is the batch's own."""
    image, text = unit(x["image"]).detach(), unit(x["text"]).detach().view(B, -1, D)
    s = torch.stack([(image[i] * text[i]).sum(-1) for i in range(B)])
    factor = torch.where(s < s.mean(), torch.exp(sharpness * (s - s.mean())), torch.ones_like(s))
    return (torch.tensor(weights) * factor).tolist()


def alip(x, weights, sharpness):
    """ALIP's gates: a sample by how alike its texts are; where it is below the mean, its pairs by their fit too. Batch means."""
    text = unit(x["text"]).detach().view(B, -1, D)
    k_all = text.shape[1]
    alike = torch.stack([sum(t[a] @ t[b] for a in range(k_all) for b in range(k_all) if a != b) for t in text])
    alike = alike / (k_all * (k_all - 1))
    fitted = torch.tensor(fit(x, weights, sharpness))
    plain = torch.tensor(weights, dtype=fitted.dtype)
    doubtful = (alike < alike.mean())[:, None]
    gate = torch.exp(sharpness * (alike - alike.mean()))[:, None]
    return torch.where(doubtful, gate * fitted, plain).tolist()


def simclr(x, temperature):
    """SLIP's SIMCLRLoss: each view against the other views and, itself excepted, those of its own kind."""
    a, b = unit(x["views"][:B]), unit(x["views"][B:])
    labels = torch.arange(B)
    itself = F.one_hot(labels, B) * 1e9
    logits_aa = a @ a.T / temperature - itself
    logits_bb = b @ b.T / temperature - itself
    logits_ab = a @ b.T / temperature
    loss_a = F.cross_entropy(torch.cat([logits_ab, logits_aa], dim=1), labels)
    loss_b = F.cross_entropy(torch.cat([logits_ab.T, logits_bb], dim=1), labels)
    return (loss_a + loss_b) / 2


def sigmoid(x, weights, masked):
    """SigLIP's loss; with several texts an image FLAIR's multi-positive sigmoid: all pairs summed, divided by the texts."""
    image, text = unit(x["image"]), unit(x["text"])
    keys = x["keys"].tolist()
    k_all = len(keys) // B
    own = [set(keys[i * k_all : (i + 1) * k_all]) for i in range(B)]
    loss = 0
    for i in range(B):
        for t in range(B * k_all):
            logit = x["scale"] * (image[i] @ text[t]) + x["bias"]
            if t // k_all == i:
                loss = loss - weights[i][t % k_all] * F.logsigmoid(logit)
            elif negatives(i, {"key": keys[t], "image": t // k_all}, own, masked):
                loss = loss - F.logsigmoid(-logit)
    return loss / (B * k_all)


def soft(x, share, temperature):
    """SoftCLIP's idea: targets (1 - share) I + share softmax(similarity within a modality / temperature), no gradient through them."""
    image, text = unit(x["image"]), unit(x["text"]).view(B, -1, D)
    k_all = text.shape[1]
    loss = 0
    for k in range(k_all):
        s = x["scale"] * image @ text[:, k].T
        for logits, like in [(s, image), (s.T, text[:, k])]:
            y = (1 - share) * torch.eye(B, dtype=s.dtype) + share * F.softmax(like @ like.T / temperature, dim=1)
            loss = loss - (y.detach() * F.log_softmax(logits, dim=1)).sum() / (2 * B * k_all)
    return loss


def view_head():
    """SLIP's image_mlp: Linear, BatchNorm, ReLU, twice; Linear. With its weights' names, in training mode."""
    from collections import OrderedDict

    torch.manual_seed(18)
    nn, width, hidden, out = torch.nn, 6, 7, 5
    head = nn.Sequential(OrderedDict([
        ("layer1", nn.Linear(width, hidden)), ("bn1", nn.BatchNorm1d(hidden)), ("relu1", nn.ReLU()),
        ("layer2", nn.Linear(hidden, hidden)), ("bn2", nn.BatchNorm1d(hidden)), ("relu2", nn.ReLU()),
        ("layer3", nn.Linear(hidden, out)),
    ]))  # fmt: skip
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.startswith("bn"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    weights = {name: {"shape": list(p.shape), "values": p.flatten().tolist()} for name, p in head.named_parameters()}
    head = head.double()
    x = torch.randn(9, width).double().requires_grad_()
    towards = torch.randn(9, out)
    y = head(x)
    (y * towards.double()).sum().backward()
    return {"width": width, "hidden": hidden, "out": out, "weights": weights, "input": x.flatten().tolist(),
            "towards": towards.flatten().tolist(), "output": y.flatten().tolist(), "inputGradient": x.grad.flatten().tolist(),
            "gradients": {name: p.grad.flatten().tolist() for name, p in head.named_parameters()}}  # fmt: skip


def main():
    torch.manual_seed(17)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64).float()  # what float32 can hold
    image = draw(B, D)
    text = 0.6 * image.repeat_interleave(K, 0) + draw(B * K, D)
    text_weights = torch.rand(B * K).float()
    text_weights[4] = 0
    inputs = {
        "image": image, "text": text.float(), "scale": torch.tensor(7.5), "bias": torch.tensor(-2.25), "views": draw(2 * B, E),
    }  # fmt: skip
    # Captions that come again: within an image, at two images, and in other slots.
    keys = torch.tensor([1, 2, 2, 3, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 3, 13, 14, 5])
    one = torch.tensor([1, 2, 1, 3, 2, 4])

    def case(name, settings, texts, loss, weighted=False):
        x = {key: value.double().clone().requires_grad_() for key, value in inputs.items()}
        x["keys"] = keys if texts == K else one
        leaf = x["text"]
        x["text"] = leaf if texts == K else leaf.view(B, K, D)[:, 0]
        weights = torch.ones(B, texts)
        if weighted:
            weights = text_weights.double().view(B, K)[:, :texts]
        value = loss(x, weights.tolist())
        value.backward()
        leaves = {**x, "text": leaf}
        gradients = {k: leaves[k].grad.flatten().tolist() for k in inputs if leaves[k].grad is not None}
        return {"name": name, "settings": settings, "textsPerImage": texts, "weighted": weighted,
                "loss": value.item(), "gradients": gradients}  # fmt: skip

    cases = []
    for masked in [False, True]:
        for weighted in [False, True]:
            flags = {"maskDuplicates": masked}
            word = (", masked" if masked else "") + (", weighted" if weighted else "")
            cases += [
                case(f"clip{word}", {"name": "clip", **flags}, 1, lambda x, w: slot(x, w, masked), weighted),
                case(f"multi-text, slot{word}", {"name": "multi-text", "denominator": "slot", **flags}, K,
                     lambda x, w: slot(x, w, masked), weighted),
                case(f"multi-text, joint{word}", {"name": "multi-text", "denominator": "joint", **flags}, K,
                     lambda x, w: joint(x, w, masked), weighted),
                case(f"sigmoid{word}", {"name": "sigmoid", **flags}, 1, lambda x, w: sigmoid(x, w, masked), weighted),
                case(f"sigmoid, several texts{word}", {"name": "sigmoid", **flags}, K, lambda x, w: sigmoid(x, w, masked), weighted),
            ]  # fmt: skip
    slip = {"name": "slip", "scale": 0.7, "temperature": 0.1}
    soft_settings = {"name": "soft-targets", "share": 0.3, "temperature": 0.2}
    cases += [
        case("slip", slip, 1, lambda x, w: slot(x, w, False) + 0.7 * simclr(x, 0.1)),
        case("slip, several texts, joint", {**slip, "denominator": "joint"}, K, lambda x, w: joint(x, w, False) + 0.7 * simclr(x, 0.1)),
        case("clip, fit", {"name": "clip", "fitSharpness": 2}, 1, lambda x, w: slot(x, fit(x, w, 2), False)),
        case("multi-text, joint, fit, weighted", {"name": "multi-text", "denominator": "joint", "fitSharpness": 3}, K,
             lambda x, w: joint(x, fit(x, w, 3), False), True),
        case("multi-text, slot, fit and agreement, weighted",
             {"name": "multi-text", "denominator": "slot", "fitSharpness": 2, "agreementSharpness": 2}, K,
             lambda x, w: slot(x, alip(x, w, 2), False), True),
        case("soft-targets", soft_settings, 1, lambda x, w: soft(x, 0.3, 0.2)),
        case("soft-targets, several texts", soft_settings, K, lambda x, w: soft(x, 0.3, 0.2)),
    ]  # fmt: skip
    stored = {key: value.flatten().tolist() for key, value in inputs.items()}
    batch = {"B": B, "K": K, "D": D, "E": E, **stored, "keys": keys.tolist(), "oneKeys": one.tolist(),
             "textWeights": text_weights.tolist()}  # fmt: skip
    with open(os.path.join(here, "fixtures.json"), "w") as file:
        json.dump({"torch": torch.__version__, "batch": batch, "cases": cases, "viewHead": view_head()}, file, indent=1)
        file.write("\n")
    print(f"{len(cases)} cases")


main()
