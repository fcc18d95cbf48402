"""Scores answers by the rules of SQuAD v1.1 and MLQA, implemented from their descriptions, and
computes numpy's mean and standard deviation. Reads and writes JSON on standard input and output."""

import json
import re
import string
import sys
import unicodedata
from collections import Counter

import numpy


def ascii_punctuation(character):
    return character in string.punctuation


def any_punctuation(character):
    return ascii_punctuation(character) or unicodedata.category(character).startswith("P")


def tokens(text, articles, is_punctuation):
    text = "".join(character for character in text.lower() if not is_punctuation(character))
    if articles:
        text = re.sub(r"\b(" + "|".join(articles) + r")\b", " ", text)
    return text.split()


RULES = {
    "squad": (["a", "an", "the"], ascii_punctuation),
    "mlqa-en": (["a", "an", "the"], any_punctuation),
    "mlqa-hi": ([], any_punctuation),
}


def f1(predicted, gold):
    common = sum((Counter(predicted) & Counter(gold)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return (2 * precision * recall) / (precision + recall)


def main():
    request = json.load(sys.stdin)
    articles, is_punctuation = RULES[request["rules"]]
    scores = []
    for case in request["cases"]:
        predicted = tokens(case["prediction"], articles, is_punctuation)
        golds = [tokens(gold, articles, is_punctuation) for gold in case["golds"]]
        scores.append(
            [any(predicted == gold for gold in golds), max(f1(predicted, gold) for gold in golds)]
        )
    overlaps = numpy.array([score for _, score in scores])
    json.dump(
        {"scores": scores, "mean": overlaps.mean().item(), "sd": overlaps.std(ddof=1).item()},
        sys.stdout,
    )


main()
