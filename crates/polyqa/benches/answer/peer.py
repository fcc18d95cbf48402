"""The question-answering pipeline of transformers 4, for `cargo xtask bench answer`.

    python peer.py MODEL PAIRS BATCH_SIZE THREADS

PAIRS is a JSON list of {"question": ..., "context": ...}. Prints a JSON object: the windows that were read, the
seconds without those of imports and loading, and the best answer of each pair.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, QuestionAnsweringPipeline


class Counting(QuestionAnsweringPipeline):
    windows = 0

    def preprocess(self, *arguments, **options):
        for window in super().preprocess(*arguments, **options):
            self.windows += 1
            yield window


def main():
    model, pairs, batch_size, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with open(pairs, encoding="utf-8") as file:
        pairs = json.load(file)
    answer = Counting(
        model=AutoModelForQuestionAnswering.from_pretrained(model), tokenizer=AutoTokenizer.from_pretrained(model)
    )
    begin = time.perf_counter()
    found = answer(
        question=[pair["question"] for pair in pairs],
        context=[pair["context"] for pair in pairs],
        batch_size=int(batch_size),
        max_seq_len=384,
        doc_stride=128,
        max_answer_len=30,
        align_to_words=False,
    )
    seconds = time.perf_counter() - begin
    print(json.dumps({
        "windows": answer.windows, "seconds": seconds, "answers": [one["answer"].strip() for one in found],
    }))


main()
