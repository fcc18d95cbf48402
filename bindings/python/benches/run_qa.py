"""Compares the module with the pre- and post-processing of transformers' run_qa.

    python run_qa.py UTILS_QA.py [TOKENIZER] [--rounds N] [--languages en,ar,zh]

The module and run_qa process the same rows alternately in one process; features and answers must be equal. Prints the
time of the first call, including loading the tokenizer, and the minimum over the rounds, in which both
tokenizers have cached the words. UTILS_QA.py is in transformers' examples/pytorch/question-answering.
"""

import argparse
import importlib.util
import json
import logging
import os
import time
from pathlib import Path

import mlqa_eval
import numpy as np
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[3]
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
NAMES |= {"unk_token": "<unk>", "pad_token": "<pad>"}


class Examples(list):
    """A list of rows; the key `id` returns the column of ids."""

    def __getitem__(self, key):
        return [row["id"] for row in self] if key == "id" else super().__getitem__(key)


def rows_of(language):
    data = json.loads((ROOT / f"data/xquad/xquad.{language}.json").read_text(encoding="utf-8"))
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = {key: [answer[key] for answer in qa["answers"]] for key in ("text", "answer_start")}
                row = {"id": f"{language}-{qa['id']}", "question": qa["question"], "answers": answers}
                yield row | {"context": paragraph["context"]}


def create_features(rows, tokenizer):
    """Yields the features that run_qa's prepare_validation_features creates, in batches of 1,000 rows."""
    for begin in range(0, len(rows), 1000):
        batch = rows[begin : begin + 1000]
        encoded = tokenizer(
            [row["question"].lstrip() for row in batch],
            [row["context"] for row in batch],
            truncation="only_second",
            max_length=384,
            stride=128,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length",
        )
        for i, sample in enumerate(encoded["overflow_to_sample_mapping"]):
            sequence = encoded.sequence_ids(i)
            offsets = encoded["offset_mapping"][i]
            yield {
                "example_id": batch[sample]["id"],
                "input_ids": encoded["input_ids"][i],
                "attention_mask": encoded["attention_mask"][i],
                "offset_mapping": [o if sequence[k] == 1 else None for k, o in enumerate(offsets)],
            }


def measure(function):
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("utils_qa")
    arguments.add_argument("tokenizer", nargs="?", default=str(ROOT / "data/base/tokenizer.json"))
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--languages", default="en,ar,zh")
    arguments = arguments.parse_args()
    spec = importlib.util.spec_from_file_location("utils_qa", arguments.utils_qa)
    utils_qa = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils_qa)
    utils_qa.tqdm = lambda all: all  # no progress bar
    rows = Examples(row for lang in arguments.languages.split(",") for row in rows_of(lang))

    def load():
        return PreTrainedTokenizerFast(tokenizer_file=arguments.tokenizer, **NAMES)

    def run_qa():
        return list(create_features(rows, tokenizer))

    def create_windows(**options):
        return mlqa_eval.windows(rows, arguments.tokenizer, **options)

    loading, tokenizer = measure(load)
    run_qa_seconds, run_qa_features = measure(run_qa)
    our_seconds, inputs = measure(lambda: create_windows(compatible="run_qa"))
    print(f"features, first call: {1e3 * our_seconds:.1f} ms, run_qa {1e3 * (loading + run_qa_seconds):.1f} ms, "
          f"{(loading + run_qa_seconds) / our_seconds:.2f}x")
    assert [row["input_ids"] for row in run_qa_features] == inputs.input_ids.tolist()
    random = np.random.default_rng(3)
    logits = random.normal(size=(2, *inputs.input_ids.shape)).astype(np.float32)

    def run_qa_answers():
        return utils_qa.postprocess_qa_predictions(
            rows, run_qa_features, tuple(logits), log_level=logging.WARNING
        )

    assert run_qa_answers() == mlqa_eval.decode(inputs, *logits)
    programs = {
        "features, run_qa": run_qa,
        "features, ours": lambda: create_windows(compatible="run_qa"),
        "features, ours, default rules": create_windows,
        "decoding, run_qa": run_qa_answers,
        "decoding, ours": lambda: mlqa_eval.decode(inputs, *logits),
        "decoding, ours, n-best arrays": lambda: mlqa_eval.n_best_arrays(inputs, *logits),
        "decoding, ours, n-best dicts": lambda: mlqa_eval.n_best(inputs, *logits),
    }
    times = {name: [] for name in programs}
    for _ in range(arguments.rounds):
        for name, program in programs.items():
            seconds, result = measure(program)
            times[name].append(seconds)
            del result
    print(f"{len(rows)} questions, {len(run_qa_features)} rows, load {os.getloadavg()[0]:.1f}")
    for name, seconds in times.items():
        run_qa_seconds = min(times[f"{name.split(',')[0]}, run_qa"])
        print(f"{name}: {1e3 * min(seconds):.1f} ms, {len(run_qa_features) / min(seconds):,.0f}/s, {run_qa_seconds / min(seconds):.2f}x")


main()
