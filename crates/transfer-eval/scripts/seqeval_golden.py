"""Writes tests/golden/seqeval.json: tag sequences with the scores of seqeval 1.2.2.

    pip install "numpy<2" scikit-learn seqeval==1.2.2
    python crates/transfer-eval/scripts/seqeval_golden.py

The stored file is from Python 3.11.7, numpy 1.26.4 and scikit-learn 1.9.1. Numbers are written with Python's repr.
"""
import json
import random
import warnings
from pathlib import Path

from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as lenient
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.metrics.v1 import precision_recall_fscore_support as strict
from seqeval.scheme import IOB2, Entities

warnings.filterwarnings("ignore")


def scores(function, gold, predicted, names, **options):
    out = {}
    if not names:
        return {"types": {}, "micro": [0.0, 0.0, 0.0, 0]}
    per_type = function(gold, predicted, average=None, **options)
    out["types"] = {
        name: [float(p), float(r), float(f), int(s)]
        for name, p, r, f, s in zip(names, *per_type)
    }
    for average in ("micro", "macro", "weighted"):
        p, r, f, s = function(gold, predicted, average=average, **options)
        out[average] = [float(p), float(r), float(f), int(s)]
    return out


def case(name, gold, predicted):
    names = sorted({kind for kind, _, _ in get_entities(gold)} | {kind for kind, _, _ in get_entities(predicted)})
    row = {"name": name, "gold": gold, "predicted": predicted, "lenient": scores(lenient, gold, predicted, names)}
    letters = {tag[0] for tags in gold + predicted for tag in tags}
    if letters <= set("BIO"):
        names = sorted(Entities(gold, IOB2).unique_tags | Entities(predicted, IOB2).unique_tags)
        row["strict"] = scores(strict, gold, predicted, names, scheme=IOB2)
    else:
        row["strict"] = None
    return row


def tags(rng, length, letters, kinds, outside):
    return ["O" if rng.random() < outside else f"{rng.choice(letters)}-{rng.choice(kinds)}" for _ in range(length)]


def perturbed(rng, sentence, letters, kinds, rate):
    return [tags(rng, 1, letters, kinds, 0.3)[0] if rng.random() < rate else tag for tag in sentence]


def iob2(rng, length, kinds):
    out = []
    while len(out) < length:
        if rng.random() < 0.6:
            out.append("O")
        else:
            kind = rng.choice(kinds)
            out += [f"B-{kind}"] + [f"I-{kind}"] * rng.choice([0, 0, 1, 2])
    return out[:length]


def main():
    rng = random.Random(20)
    conll = ["LOC", "MISC", "ORG", "PER"]
    many = ["PER", "NORP", "FAC", "ORG", "GPE", "LOC", "PRODUCT", "EVENT", "LAW", "DATE", "TIME", "A-B"]
    cases = [
        case("documented", [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]],
             [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]),
        case("nothing predicted", [["B-PER", "O"]], [["O", "O"]]),
        case("nothing gold", [["O", "O"]], [["B-PER", "O"]]),
        case("no entity", [["O", "O"]], [["O", "O"]]),
        case("a sentence ends an entity", [["O", "B-PER"], ["I-PER", "O"]], [["O", "B-PER"], ["B-PER", "O"]]),
        case("IOB1 beside IOB2", [["I-PER", "I-PER", "O", "I-LOC", "B-LOC"]], [["B-PER", "I-PER", "O", "B-LOC", "B-LOC"]]),
        case("a type only predicted", [["B-PER", "O", "B-LOC"]], [["B-PER", "O", "B-ORG"]]),
        case("bare letters", [["B", "I", "O", "B-PER"]], [["B", "I", "O", "B-PER"]]),
    ]
    for index in range(8):
        gold = [iob2(rng, rng.randrange(1, 16), conll) for _ in range(12)]
        predicted = [perturbed(rng, one, "BI", conll, 0.2) for one in gold]
        cases.append(case(f"IOB2 {index}", gold, predicted))
    for index in range(6):
        gold = [tags(rng, rng.randrange(1, 14), "BIES", conll, 0.4) for _ in range(12)]
        predicted = [perturbed(rng, one, "BIES", conll, 0.3) for one in gold]
        cases.append(case(f"any letters {index}", gold, predicted))
    for index in range(4):
        gold = [iob2(rng, 20, many) for _ in range(20)]
        predicted = [perturbed(rng, one, "BI", many, 0.15) for one in gold]
        cases.append(case(f"twelve types {index}", gold, predicted))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in cases)
    path = Path(__file__).parents[1] / "tests" / "golden" / "seqeval.json"
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
