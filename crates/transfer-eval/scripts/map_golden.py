"""Writes tests/golden/map.json: orthogonal maps and nearest neighbours, computed with numpy.

    pip install numpy==2.2.6
    python crates/transfer-eval/scripts/map_golden.py

The stored file is from Python 3.11.7 and this numpy. The script follows the formulas, with full matrices. Vectors are
rounded to float32 where the crate stores them; all other values are float64. Numbers are written with Python's repr.
"""
import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


def unit(x):
    norm = np.sqrt((x * x).sum(1, keepdims=True))
    return np.divide(x, norm, out=x.copy(), where=norm > 0)


def normalise(x, steps):
    x = x.astype(np.float64)
    for step in steps:
        x = unit(x) if step == "unit" else x - x.mean(0)
    return x.astype(np.float32)


def procrustes(x, y):
    u, _, vt = np.linalg.svd(x.astype(np.float64).T @ y.astype(np.float64))
    return u @ vt


def apply(x, w):
    return (x.astype(np.float64) @ w).astype(np.float32)


def mean_of_nearest(similarities, k):
    return -np.sort(-similarities, axis=1)[:, :k].mean(1)


def main():
    """60 and 50 vectors of 8 dimensions; the target is the rotated source with noise."""
    rng = np.random.default_rng(17)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    y = (x[:50] @ rotation + 0.6 * rng.normal(size=(50, 8)) + 0.3).astype(np.float32)
    pairs = [(i, i) for i in range(0, 20)]
    out = {"source": x.tolist(), "target": y.tolist(), "pairs": pairs}
    out["results"] = []
    for steps in (["unit"], ["center", "unit"], ["unit", "center", "unit"]):
        a, b = normalise(x, steps), normalise(y, steps)
        w = procrustes(a[[s for s, _ in pairs]], b[[t for _, t in pairs]])
        mapped = apply(a, w)
        cosines = mapped.astype(np.float64) @ b.astype(np.float64).T
        by_csls = 2 * cosines - mean_of_nearest(cosines.T, 10)[None, :]
        out["results"].append({
            "normalize": steps, "matrix": w.tolist(),
            "nearest": np.argsort(-cosines, axis=1, kind="stable")[:, :5].tolist(),
            "csls_nearest": np.argsort(-by_csls, axis=1, kind="stable")[:, :5].tolist(),
            "mean_similarity": mean_of_nearest(cosines, 10).tolist(),
        })
    (GOLDEN / "map.json").write_text(json.dumps(out, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
