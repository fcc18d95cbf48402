#!/usr/bin/env bash
# RemBertForQuestionAnswering changes the caller's labels; the other readers copy them first.
#
# Positions of answers beyond the sequence are limited to its length, which the loss ignores.
# RemBERT's model in transformers 5.24.0 limits them in place: in a data set that is held in memory,
# the position 50 of a truncated text becomes 10, and in a later, longer batch 10 is a wrong answer
# that is trained.
# Versions: transformers 5.24.0, torch 2.11.0 (3 GB to download).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages transformers==5.24.0 torch==2.11.0
export TRANSFORMERS_VERBOSITY=error

with packages - <<'PY'
import torch
from transformers import BertConfig, BertForQuestionAnswering, RemBertConfig, RemBertForQuestionAnswering

sizes = dict(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
readers = {
    "BERT": BertForQuestionAnswering(BertConfig(**sizes)),
    "RemBERT": RemBertForQuestionAnswering(RemBertConfig(**sizes, input_embedding_size=8, bos_token_id=1, eos_token_id=2)),
}
seen = {}
for name, reader in readers.items():
    starts, ends = torch.tensor([50, 1]), torch.tensor([60, 2])
    reader(torch.full((2, 10), 5), start_positions=starts, end_positions=ends)
    seen[name] = (starts.tolist(), ends.tolist())
    print(f"{name}: labels [50, 1] and [60, 2] are {seen[name]} after the loss")
assert seen == {"BERT": ([50, 1], [60, 2]), "RemBERT": ([10, 1], [10, 2])}, "the labels are treated in another way"
PY
