#!/usr/bin/env bash
# With 8-bit integers, usearch 2.26 compares by cosine whatever its metric is.
#
# `dtype="i8"` scales each vector to the same length before rounding. So the index of metric "ip" (inner
# product) or "l2sq" returns the nearest vectors by cosine. For vectors of different lengths (0.2 to 3 times
# a normal vector), as models trained with dot products have them, these are 39 and 16 % of the ten nearest.
# "bf16" keeps the lengths.
# Versions: usearch 2.26.6, numpy 2.2.6.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages usearch==2.26.6 numpy==2.2.6

with packages - <<'PY'
import numpy as np
from usearch.index import Index

random = np.random.default_rng(0)
lengths = random.uniform(0.2, 3.0, size=(2000, 1))
vectors = (random.normal(size=(2000, 64)) * lengths).astype(np.float32)
queries = random.normal(size=(50, 64)).astype(np.float32)
products = queries @ vectors.T
squared = (vectors**2).sum(1)
scores = {
    "ip": products,
    "l2sq": 2 * products - squared,  # minus the squared distance, apart from the query's length
    "cos": products / np.sqrt(squared),
}
nearest = {name: np.argsort(-values, axis=1)[:, :10] for name, values in scores.items()}


def recall(found, expected):
    return np.mean([len(set(row) & set(right)) / 10 for row, right in zip(found, expected)])


for metric in ["ip", "l2sq"]:
    for dtype in ["bf16", "i8"]:
        index = Index(ndim=64, metric=metric, dtype=dtype)
        index.add(np.arange(2000), vectors)
        found = index.search(queries, 10, exact=True).keys
        own, cosine = recall(found, nearest[metric]), recall(found, nearest["cos"])
        print(f"{metric}, {dtype}: {own:.0%} of the ten nearest, {cosine:.0%} of the ten nearest by cosine")
        expected = own < 0.5 and cosine > 0.9 if dtype == "i8" else own > 0.98
        assert expected, "the behaviour has changed"
PY
