"""Fixtures for scores on fixed features: linear probe, zero-shot, nearest class mean, votes of neighbours, retrieval.

    python3 make-fixtures.py        needs NumPy and scikit-learn (made with 2.4.6 and 1.9.1)

The linear probe is scikit-learn's LogisticRegression, run in float64 until nothing changes any more, by two of its solvers that must
agree. The others are written down here from their definitions, one query after another, in float64.
"""

import json
import math
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

here = Path(__file__).parent


def save(name, array):
    np.save(here / f"{name}.npy", array)


def objective(x, y, weights, bias, strength):
    z = x @ weights.T + bias
    z -= z.max(1, keepdims=True)
    cross = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
    return cross.sum() + 0.5 / strength * (weights**2).sum()


def probe(random):
    """Classes that overlap, features whose directions differ by a factor of fifty, and a mean far from zero, as image towers give."""
    rows, test, width, classes = 900, 600, 24, 6
    spread = 3.0 * (1 + np.arange(width)) ** -1.2
    turn, _ = np.linalg.qr(random.normal(size=(width, width)))
    centres = random.normal(size=(classes, width)) * spread * 0.6
    y = random.integers(0, classes, rows + test).astype(np.int32)
    x = (centres[y] + random.normal(size=(rows + test, width)) * spread) @ turn + random.normal(size=width) * 2
    x = x.astype(np.float32)
    save("probe-features", x)
    save("probe-labels", y)
    wide = x.astype(np.float64)
    train, held = (wide[:rows], y[:rows]), wide[rows:]
    mean, scale = train[0].mean(0), train[0].std(0)
    cases = []
    for standardise in (False, True):
        shift = (lambda a: (a - mean) / scale) if standardise else (lambda a: a)
        for exponent in range(-6, 7):
            strength = 10.0**exponent
            fits = [
                LogisticRegression(C=strength, solver=solver, tol=tol, max_iter=100000).fit(shift(train[0]), train[1])
                for solver, tol in (("lbfgs", 1e-11), ("newton-cholesky", 1e-12))
            ]
            values = [objective(shift(train[0]), train[1], fit.coef_, fit.intercept_, strength) for fit in fits]
            assert abs(values[0] - values[1]) < 1e-6 * values[1], (exponent, values)
            best = fits[int(np.argmin(values))]
            predictions = best.predict(shift(np.concatenate([train[0], held])))
            cases.append(
                {
                    "strength": strength,
                    "standardise": standardise,
                    "objective": min(values),
                    "predictions": "".join(str(label) for label in predictions),
                }
            )
    return {"rows": rows, "classes": classes, "cases": cases}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def zero_shot(random):
    images, width = 200, 16
    names, templates = [3, 1, 2, 1, 1, 4, 1], 3
    texts = [random.normal(size=(count * templates, width)) for count in names]
    vectors = np.stack([unit(unit(own).mean(0)) for own in texts])
    labels = random.integers(0, len(names), images)
    features = random.normal(size=(images, width)) * 3 + vectors[labels] * 4
    save("zero-shot-images", features.astype(np.float32))
    save("zero-shot-texts", np.concatenate(texts).astype(np.float32))
    features = features.astype(np.float32).astype(np.float64)
    texts = [own.astype(np.float32).astype(np.float64) for own in texts]
    ranked, ranks = [], []
    for row, label in zip(features, labels):
        cosines = [unit(row) @ unit(unit(own).mean(0)) for own in texts]
        order = sorted(range(len(names)), key=lambda k: -cosines[k])
        ranked.append(order[:5])
        ranks.append(1 + order.index(label))
    right = np.array(ranks) == 1
    return {
        "names": names,
        "templates": templates,
        "labels": labels.tolist(),
        "ranked": ranked,
        "ranks": ranks,
        "acc1": right.mean(),
        "acc5": (np.array(ranks) <= 5).mean(),
        "mean_per_class_recall": float(np.mean([right[labels == k].mean() for k in range(len(names))])),
    }


def few_shot(random):
    episodes, ways, shots, queries, width = 40, 5, 4, 6, 12
    centres = random.normal(size=(episodes, ways, 1, width))
    noise = 1.5
    support = (5 + centres + noise * random.normal(size=(episodes, ways, shots, width))).astype(np.float32)
    query = (5 + centres + noise * random.normal(size=(episodes, ways, queries, width))).astype(np.float32)
    save("few-shot-support", support.reshape(episodes, ways * shots, width))
    save("few-shot-query", query.reshape(episodes, ways * queries, width))
    support, query = support.astype(np.float64), query.astype(np.float64)
    cases = []
    for settings in (
        {"name": "prototype", "centre": True},
        {"name": "prototype", "centre": False},
        {"name": "knn", "centre": True, "neighbours": 25, "temperature": 0.07},
        {"name": "knn", "centre": False, "neighbours": 1, "temperature": 0.07},
        {"name": "knn", "centre": False, "neighbours": 7, "temperature": 0.5},
        {"name": "knn", "centre": True, "neighbours": 7, "temperature": 0.02},
    ):
        predicted = ""
        for shown, asked in zip(support, query):
            middle = shown.reshape(-1, width).mean(0) if settings["centre"] else np.zeros(width)
            shown = unit(shown - middle)
            for q in unit(asked - middle).reshape(-1, width):
                if settings["name"] == "prototype":
                    distances = [np.linalg.norm(q - own.mean(0)) for own in shown]
                    predicted += str(int(np.argmin(distances)))
                    continue
                neighbours = sorted(((q @ s, way) for way, own in enumerate(shown) for s in own), reverse=True)
                votes = [0.0] * ways
                for cosine, way in neighbours[: settings["neighbours"]]:
                    votes[way] += math.exp(cosine / settings["temperature"])
                predicted += str(int(np.argmax(votes)))
        cases.append({"settings": settings, "predicted": predicted})
    return {"ways": ways, "cases": cases}


def retrieval(random):
    """Several texts an image, none for some, and copies: images and texts with the very same features, which are ties."""
    images, width = 60, 6
    features = random.normal(size=(images, width)).astype(np.float32)
    owners, texts = [], []
    for image in range(images):
        for _ in range(random.integers(0, 5)):
            owners.append(image)
            texts.append(features[image] + 0.9 * random.normal(size=width))
    texts = np.array(texts, dtype=np.float32)
    features[7] = features[21]
    features[33] = 2 * features[40]
    texts[5] = texts[50]
    texts[60] = texts[61]
    save("retrieval-images", features)
    save("retrieval-texts", texts)
    owners = np.array(owners)
    cosines = unit(features.astype(np.float64)) @ unit(texts.astype(np.float64)).T
    tie = 1e-6
    of_images = []
    for image in range(images):
        own = owners == image
        if not own.any():
            of_images.append(0)
            continue
        best = cosines[image, own].max()
        of_images.append(1 + int((cosines[image, ~own] >= best - tie).sum()))
    of_texts = []
    for text, owner in enumerate(owners):
        others = np.arange(images) != owner
        of_texts.append(1 + int((cosines[others, text] >= cosines[owner, text] - tie).sum()))
    metrics = {}
    for name, ranks in (("image_retrieval", np.array(of_texts)), ("text_retrieval", np.array([r for r in of_images if r > 0]))):
        for place in (1, 5, 10):
            metrics[f"{name}_recall@{place}"] = float((ranks <= place).mean())
        metrics[f"{name}_median_rank"] = float(np.median(ranks))
    return {"owners": owners.tolist(), "ofImages": of_images, "ofTexts": of_texts, "metrics": metrics}


def main():
    random = np.random.default_rng(20230531)
    facts = {
        "scikit-learn": sklearn.__version__,
        "probe": probe(random),
        "zeroShot": zero_shot(random),
        "fewShot": few_shot(random),
        "retrieval": retrieval(random),
    }
    (here / "fixtures.json").write_text(json.dumps(facts, separators=(",", ":")) + "\n")


main()
