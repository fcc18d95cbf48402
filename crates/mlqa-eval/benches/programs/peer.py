"""Runs the preprocessing and postprocessing of transformers' run_qa.

    python peer.py features DATASET TOKENIZER
    python peer.py decode DATASET TOKENIZER LOGITS UTILS_QA.py OUT

The features are computed as in run_qa: batches of 1,000 examples, one tokenizer call per batch,
padding to 384. Prints the time in seconds, without the imports.
"""

import importlib.util
import json
import logging
import sys
import time

import numpy
from transformers import PreTrainedTokenizerFast

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
NAMES |= {"unk_token": "<unk>", "pad_token": "<pad>"}


class Examples(list):
    """A list of examples; the key `id` returns the column of ids."""

    def __getitem__(self, key):
        return [row["id"] for row in self] if key == "id" else super().__getitem__(key)


def examples(path):
    with open(path, encoding="utf-8") as file:
        data = json.load(file)["data"]
    return Examples(
        {"id": qa["id"], "question": qa["question"], "context": paragraph["context"]}
        for article in data
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    )


def features(rows, tokenizer):
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


def main():
    command, dataset, tokenizer = sys.argv[1:4]
    begin = time.perf_counter()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizer, **NAMES)
    rows = examples(dataset)
    all_features = list(features(rows, tokenizer))
    if command == "decode":
        from safetensors.numpy import load_file

        logits, utils_qa, out = sys.argv[4:]
        spec = importlib.util.spec_from_file_location("utils_qa", utils_qa)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        logits = load_file(logits)
        begin_decoding = time.perf_counter()
        module.postprocess_qa_predictions(
            rows, all_features, (logits["start_logits"], logits["end_logits"]), output_dir=out,
            log_level=logging.WARNING,
        )
        decoding = time.perf_counter() - begin_decoding
    report = {"rows": len(all_features), "seconds": time.perf_counter() - begin}
    print(json.dumps(report | ({"decoding": decoding} if command == "decode" else {})))


main()
