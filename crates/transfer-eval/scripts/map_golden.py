"""Writes tests/golden/map.json: maps, neighbours and P@k of `transfer-eval map`, by numpy.

    pip install numpy==2.2.6 safetensors==0.8.0 tokenizers==0.23.3
    python crates/transfer-eval/scripts/map_golden.py

Made with Python 3.11.7 and these versions. Written from the formulas alone, with full matrices. Vectors are rounded to
float32 where the crate stores them; all else is float64. The file holds every digit that Python's repr gives.
"""
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


def unit(x):
    norm = np.sqrt((x * x).sum(1, keepdims=True))
    return np.divide(x, norm, out=x.copy(), where=norm > 0)


def normalise(x, steps):
    x = x.astype(np.float64)
    for step in steps.split(","):
        x = unit(x) if step == "unit" else x - x.mean(0)
    return x.astype(np.float32)


def procrustes(x, y):
    u, _, vt = np.linalg.svd(x.astype(np.float64).T @ y.astype(np.float64))
    return u @ vt


def apply(x, w):
    return (x.astype(np.float64) @ w).astype(np.float32)


def mean_of_nearest(similarities, k):
    return -np.sort(-similarities, axis=1)[:, :k].mean(1)


def csls(cosines, k):
    return 2 * cosines - mean_of_nearest(cosines, k)[:, None] - mean_of_nearest(cosines.T, k)[None, :]


def precision(scores, golds, counted):
    hits = dict.fromkeys((1, 5, 10), 0)
    for row, gold in golds.items():
        best = max(scores[row, g] for g in gold)
        others = np.delete(scores[row], gold)
        rank = 1 + int((others >= best).sum())
        for k in hits:
            hits[k] += rank <= k
    return {f"p_at_{k}": 100.0 * count / counted for k, count in hits.items()}


def scores(x, y, golds, counted, k=10):
    cosines = x.astype(np.float64) @ y.astype(np.float64).T
    return {"cosine": precision(cosines, golds, counted), "csls": precision(csls(cosines, k), golds, counted)}


def small():
    """60 and 50 words of 8 dimensions; the target is the source turned, with noise."""
    rng = np.random.default_rng(17)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    y = (x[:50] @ turn + 0.6 * rng.normal(size=(50, 8)) + 0.3).astype(np.float32)
    pairs = [(i, i) for i in range(0, 20)]
    golds = {i: [i] if i % 3 else [i, (i + 7) % 50] for i in range(20, 50)}
    out = {"source": x.tolist(), "target": y.tolist(), "pairs": pairs, "golds": [[k, v] for k, v in golds.items()]}
    out["results"] = []
    for steps in ("unit", "center,unit", "unit,center,unit"):
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
            **scores(mapped, b, golds, len(golds)),
            "backward": scores(b, mapped, {i: [i] for i in range(20, 50)}, 30),
        })
    return out


def text_vectors(texts):
    tokenizer = Tokenizer.from_file(str(ROOT / "data/base/tokenizer.json"))
    embeddings = load_file(ROOT / "data/base/model.safetensors")["roberta.embeddings.word_embeddings.weight"]
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return np.stack([embeddings[i].astype(np.float64).mean(0) for i in ids]).astype(np.float32)


def embedded(read, languages, fits):
    """The words of some rows fit a map, more than there are dimensions, so that there is one map; the others are looked
    up."""
    texts = {language: read(language) for language in ["en", *languages]}
    out = {}
    for language in languages:
        assert [key for key, _ in texts["en"]] == [key for key, _ in texts[language]]
        count = len(texts["en"])
        x, y = (normalise(text_vectors([t for _, t in texts[l]]), "unit,center,unit") for l in ("en", language))
        fitted = [i for i in range(count) if fits(i)]
        golds = {i: [i] for i in range(count) if not fits(i)}
        w = procrustes(x[fitted], y[fitted])
        out[language] = {
            "words": count, "without_map": scores(x, y, golds, len(golds)),
            "mapped": scores(apply(x, w), y, golds, len(golds)), "matrix_row": w[0].tolist(),
        }
    return out


def read_pud(language):
    lines = (ROOT / f"data/pud/{language}.tsv").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t", 1)) for line in lines]


def read_labels(language):
    lines = (ROOT / "data/demo/kg/labels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return [(i, label) for i, lang, label, kind in rows if lang == language and kind == "entity"]


def main():
    out = {
        "small": small(),
        "pud": embedded(read_pud, ["de", "es", "ar", "hi", "zh"], lambda i: i % 5 == 0),
        "labels": embedded(read_labels, ["de", "es", "ar", "hi", "vi", "zh"], lambda i: i % 5 != 0),
    }
    (GOLDEN / "map.json").write_text(json.dumps(out, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
