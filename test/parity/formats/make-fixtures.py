"""Files of other programs that laclip reads: .mat files by SciPy, pickles by Python and NumPy.

    python make-fixtures.py          # needs numpy, scipy

Writes *.mat, *.pickle and expected.json beside itself.
"""

import json
import pickle
from pathlib import Path

import numpy
import scipy.io

here = Path(__file__).parent

names = numpy.array(["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"], dtype=object)
annotations = numpy.zeros((1, 3), dtype=[("bbox_x1", object), ("class", object), ("fname", object)])
for i in range(3):
    annotations[0, i] = (numpy.uint8(30 + i), numpy.uint8(i + 1), f"{i + 1:05}.jpg")

for compressed in (False, True):
    scipy.io.savemat(
        here / f"labels{'-compressed' if compressed else ''}.mat",
        {
            "class_names": names.reshape(1, 3),
            "annotations": annotations,
            "labels": numpy.array([[1, 77, 102]], dtype=numpy.uint8),
            "trnid": numpy.array([[6765, 6755, 70000, -1]], dtype=numpy.int32),
            "real": numpy.array([[0.5, -2.25], [3.0, 1e300]]),
            "single": numpy.array([[0.5]], dtype=numpy.float32),
            "long": numpy.array([[2**40, -3]], dtype=numpy.int64),
            "text": "caf\u00e9",
            "nothing": numpy.zeros((0, 0)),
        },
        do_compression=compressed,
    )

pixels = (numpy.arange(2 * 12) * 7 % 256).astype(numpy.uint8).reshape(2, 12)
batch = {
    "data": pixels,
    "labels": [6, 300, 70000, -1, 2**40],
    "filenames": ["leptodactylus_pentadactylus_s_000004.png", "caf\u00e9.png"],
    "meta": ("tuple", None, True, False, 1.5, b"bytes", {"inner": []}),
}
for protocol in (2, 3, 4, 5):
    # NumPy hands protocol 5 its bytes in another way, and CIFAR has none of it.
    value = batch if protocol < 5 else {**batch, "data": None}
    (here / f"batch-{protocol}.pickle").write_bytes(pickle.dumps(value, protocol=protocol))

(here / "expected.json").write_text(json.dumps({"pixels": pixels.reshape(-1).tolist()}) + "\n")
