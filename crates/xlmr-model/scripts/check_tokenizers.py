#!/usr/bin/env python3
"""Checks that transformers opens the tokenizers of model folders and encodes as this project does.

Reads the expected encodings from standard input, as a JSON list of objects with these keys:

    folder            a model folder
    max_length        its model_max_length
    inputs            its model_input_names, sorted
    special           the ids of its special tokens by name: cls, sep, pad, unk, mask
    texts, pairs      lists of {"text": ..., "ids": ...}; the text of a pair is a list of two texts; texts also have "offsets"
    limit             the maximum number of tokens of the next two keys
    long_text         {"text": ..., "ids": ...}; the ids are truncated
    long_pair         as long_text, but for a pair whose second text is truncated

Requires transformers; torch is not used.
"""

import json
import sys

import transformers
from transformers import AutoTokenizer


def check(expected):
    tokenizer = AutoTokenizer.from_pretrained(expected["folder"])
    faults = []

    def compare(title, got, want):
        if got != want:
            faults.append(f"{title}: {got} instead of {want}")

    def ids(case, **options):
        texts = case["text"] if isinstance(case["text"], list) else [case["text"]]
        return tokenizer(*texts, **options)["input_ids"]

    for case in expected["texts"] + expected["pairs"]:
        compare(repr(case["text"]), ids(case), case["ids"])
    for case in expected["texts"]:
        offsets = tokenizer(case["text"], return_offsets_mapping=True)["offset_mapping"]
        compare(f"offsets of {case['text']!r}", list(map(list, offsets)), case["offsets"])
    limit = expected["limit"]
    text, pair = expected["long_text"], expected["long_pair"]
    compare("a long text", ids(text, truncation=True, max_length=limit), text["ids"])
    compare("a long pair", ids(pair, truncation="only_second", max_length=limit), pair["ids"])
    compare("model_max_length", tokenizer.model_max_length, expected["max_length"])
    truncated_length = len(ids({"text": "a " * 2 * expected["max_length"]}, truncation=True))
    compare("length of a truncated text", truncated_length, expected["max_length"])
    compare("model_input_names", sorted(tokenizer.model_input_names), expected["inputs"])
    for name, expected_id in expected["special"].items():
        compare(f"{name}_token_id", getattr(tokenizer, f"{name}_token_id"), expected_id)
    batch = tokenizer([case["text"] for case in expected["texts"]], padding=True)
    rows = [case["ids"] for case in expected["texts"]]
    width = max(map(len, rows))
    padded = [row + [expected["special"]["pad"]] * (width - len(row)) for row in rows]
    compare("padded texts", batch["input_ids"], padded)
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    compare("attention_mask", batch["attention_mask"], mask)
    compare("keys of a batch", sorted(batch), expected["inputs"])
    return type(tokenizer).__name__, faults


def main():
    print(f"transformers {transformers.__version__}")
    failed = 0
    for expected in json.load(sys.stdin):
        name, faults = check(expected)
        print(f"{expected['folder']}: {name}: {'FAILED' if faults else 'ok'}")
        for fault in faults:
            print(f"  {fault}")
        failed += bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
