"""Word translation in numpy as MUSE's evaluation does it: blocks of similarities, and a partial sort of each row.

    python peer.py inputs FOLDER WORDS     writes x.npy, y.npy, words.txt, train.txt and test.txt
    python peer.py score FOLDER            prints P@1, P@5 and P@10 by cosine and by CSLS as JSON
"""
import json
import sys
from pathlib import Path

import numpy as np

BLOCK = 1024


def inputs(folder, count):
    """Two spaces of 300 dimensions with a falling spectrum; the second is the first, turned, with noise."""
    rng = np.random.default_rng(1)
    spectrum = (1 / np.sqrt(1 + np.arange(300))).astype(np.float32)
    x = rng.normal(size=(count, 300)).astype(np.float32) * spectrum
    turn, _ = np.linalg.qr(rng.normal(size=(300, 300)))
    y = x @ turn.astype(np.float32) + 0.5 * rng.normal(size=(count, 300)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    words = [f"w{i}\n" for i in range(count)]
    (folder / "words.txt").write_text("".join(words))
    (folder / "train.txt").write_text("".join(words[:5000]))
    (folder / "test.txt").write_text("".join(words[5000:6500]))


def normalise(x):
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x -= x.mean(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def mean_of_nearest(queries, candidates, k):
    means = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), BLOCK):
        similarities = queries[start:start + BLOCK] @ candidates.T
        nearest = np.partition(similarities, len(candidates) - k, axis=1)[:, -k:]
        means[start:start + BLOCK] = nearest.mean(1)
    return means


def precision(x, y, asked, penalty):
    hits = dict.fromkeys((1, 5, 10), 0)
    for start in range(0, len(asked), BLOCK):
        rows = asked[start:start + BLOCK]
        scores = x[rows] @ y.T
        if penalty is not None:
            scores = 2 * scores - penalty
        top = np.argpartition(-scores, 10, axis=1)[:, :10]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
        top = np.take_along_axis(top, order, 1)
        for k in hits:
            hits[k] += int((top[:, :k] == rows[:, None]).any(1).sum())
    return {f"p_at_{k}": 100 * count / len(asked) for k, count in hits.items()}


def score(folder):
    x, y = (normalise(np.load(folder / name)) for name in ("x.npy", "y.npy"))
    index = {word: row for row, word in enumerate((folder / "words.txt").read_text().split())}
    train, test = ([index[word] for word in (folder / name).read_text().split()] for name in ("train.txt", "test.txt"))
    u, _, vt = np.linalg.svd(x[train].T @ y[train])
    x = x @ (u @ vt)
    asked = np.array(test)
    report = {"cosine": precision(x, y, asked, None)}
    report["csls"] = precision(x, y, asked, mean_of_nearest(y, x, 10))
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1] == "inputs":
        inputs(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        score(Path(sys.argv[2]))
