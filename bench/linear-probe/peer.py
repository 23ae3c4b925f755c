"""scikit-learn's L-BFGS on the features of compare.ts.

    python3 peer.py FOLDER C float32|float64 TOLERANCE

Prints a line of JSON: seconds and processor seconds of the fit alone, iterations. Leaves weights and bias in FOLDER.
"""

import json
import sys
import time

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

folder, strength, dtype, tolerance = sys.argv[1], float(sys.argv[2]), sys.argv[3], float(sys.argv[4])
features = np.load(f"{folder}/features.npy").astype(dtype)
labels = np.load(f"{folder}/labels.npy")
model = LogisticRegression(C=strength, tol=tolerance, max_iter=1000)
wall, processor = time.perf_counter(), time.process_time()
model.fit(features, labels)
wall, processor = time.perf_counter() - wall, time.process_time() - processor
np.save(f"{folder}/weights.npy", model.coef_.astype(np.float64))
np.save(f"{folder}/bias.npy", model.intercept_.astype(np.float64))
print(json.dumps({"seconds": wall, "processor": processor, "iterations": int(model.n_iter_[0]), "version": sklearn.__version__}))
