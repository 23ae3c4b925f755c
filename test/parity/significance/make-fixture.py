"""Intervals and p values as SciPy and statsmodels give them.

    python test/parity/significance/make-fixture.py

needs numpy, scipy and statsmodels. Writes fixture.json beside this file.
"""

import json
from pathlib import Path

import numpy as np
import scipy
import statsmodels
from scipy.stats import binomtest, bootstrap
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

random = np.random.default_rng(20240)

exact = []
for first, second in [(0, 0), (0, 1), (3, 3), (1, 7), (12, 4), (40, 61), (700, 810), (1500, 1502), (5000, 5600), (0, 2000)]:
    result = mcnemar([[10, first], [second, 10]], exact=True)
    exact.append({"onlyFirst": first, "onlySecond": second, "p": min(1.0, float(result.pvalue))})

ps = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04, 1.0]
holm = multipletests(ps, method="holm")[1].tolist()

count = 400
labels = random.integers(0, 7, count)
first = (random.random(count) < 0.4 + 0.05 * labels).astype(float)
second = np.where(random.random(count) < 0.75, first, (random.random(count) < 0.62).astype(float))
graded = random.beta(4, 2, 150)


def interval(statistic, *samples):
    found = bootstrap(samples, statistic, paired=True, vectorized=False, n_resamples=20000, method="percentile", random_state=1)
    return {"value": float(statistic(*samples)), "low": float(found.confidence_interval.low), "high": float(found.confidence_interval.high)}


def per_class(values, classes):
    return np.mean([values[classes == one].mean() for one in np.unique(classes)])


def difference(one, other):
    return other.mean() - one.mean()


def difference_per_class(one, other, classes):
    return per_class(other, classes) - per_class(one, classes)


edges = [[count, right, *binomtest(right, count).proportion_ci(method="exact")] for count in (1, 20, 400) for right in (0, count)]

fixture = {
    "made": f"numpy {np.__version__}, scipy {scipy.__version__}, statsmodels {statsmodels.__version__}",
    "mcnemar": exact,
    "edges": [[int(count), int(right), float(low), float(high)] for count, right, low, high in edges],
    "holm": {"ps": ps, "raised": holm},
    "labels": labels.tolist(),
    "first": first.tolist(),
    "second": second.tolist(),
    "graded": graded.tolist(),
    "intervals": {
        "first": interval(np.mean, first),
        "graded": interval(np.mean, graded),
        "firstPerClass": interval(per_class, first, labels),
        "difference": interval(difference, first, second),
        "differencePerClass": interval(difference_per_class, first, second, labels),
    },
}
Path(__file__).with_name("fixture.json").write_text(json.dumps(fixture) + "\n")
