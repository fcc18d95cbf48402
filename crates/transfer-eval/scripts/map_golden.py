"""Writes tests/golden/map.json: orthogonal maps, nearest neighbours and word translation, computed with numpy.

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


def csls(cosines, k=10):
    return 2 * cosines - mean_of_nearest(cosines, k)[:, None] - mean_of_nearest(cosines.T, k)[None, :]


def precision(scores, golds):
    """P@k of the rows of `golds`. A candidate with the score of the best translation is ranked before it."""
    ranks = [1 + int((np.delete(scores[row], gold) >= scores[row][gold].max()).sum()) for row, gold in golds.items()]
    return {f"p_at_{k}": 100.0 * sum(rank <= k for rank in ranks) / len(golds) for k in (1, 5, 10)}


def translation(x, y, golds):
    cosines = x.astype(np.float64) @ y.astype(np.float64).T
    return {"cosine": precision(cosines, golds), "csls": precision(csls(cosines), golds)}


def refined(x, y, pairs, w, max_rounds):
    """The refined map, with the mean cosine of nearest neighbours and the number of mutual ones for each round."""
    def find_pairs(w):
        cosines = apply(x, w).astype(np.float64) @ y.astype(np.float64).T
        scores = csls(cosines)
        forward, backward = scores.argmax(1), scores.argmax(0)
        mutual = [(i, int(j)) for i, j in enumerate(forward) if backward[j] == i]
        return float(cosines[np.arange(len(x)), forward].mean()), mutual

    mean, mutual = find_pairs(w)
    rounds = [{"mean_cosine": mean, "mutual_pairs": len(mutual)}]
    for _ in range(max_rounds):
        both = sorted(set(mutual) | set(pairs))
        next_w = procrustes(x[[s for s, _ in both]], y[[t for _, t in both]])
        next_mean, next_mutual = find_pairs(next_w)
        rounds.append({"mean_cosine": next_mean, "mutual_pairs": len(next_mutual)})
        if next_mean <= mean:
            break
        w, mean, mutual = next_w, next_mean, next_mutual
    return w, rounds


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
    golds = {i: [i] if i % 3 else [i, (i + 7) % 50] for i in range(20, 50)}
    a, b = normalise(x, ["unit", "center", "unit"]), normalise(y, ["unit", "center", "unit"])
    w = procrustes(a[[s for s, _ in pairs]], b[[t for _, t in pairs]])
    refined_w, rounds = refined(a, b, pairs, w, 4)
    out["translation"] = {
        "golds": list(golds.items()), "without_map": translation(a, b, golds),
        "mapped": translation(apply(a, w), b, golds), "refined": translation(apply(a, refined_w), b, golds),
        "rounds": rounds,
    }
    (GOLDEN / "map.json").write_text(json.dumps(out, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
