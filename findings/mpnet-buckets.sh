#!/usr/bin/env bash
# MPNet in transformers 5.24 ignores the number of position buckets in its configuration.
#
# `relative_attention_num_buckets` sets the rows of the table of biases, but positions are always
# divided into 32 buckets: with 64 rows, 32 are never read or trained.
# Versions: transformers 5.24.0, torch 2.11.0 (3 GB to download).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages transformers==5.24.0 torch==2.11.0
export TRANSFORMERS_VERBOSITY=error

with packages - <<'PY'
import torch
from transformers import MPNetConfig, MPNetModel

torch.manual_seed(0)
model = MPNetModel(MPNetConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=300, relative_attention_num_buckets=64,
)).eval()
model(torch.randint(3, 30, (1, 290))).last_hidden_state.sum().backward()
table = model.encoder.relative_attention_bias.weight
used = table.grad.abs().sum(1).nonzero().flatten().tolist()
print(f"rows of the table: {len(table)}; the last row with a gradient: {used[-1]}")
assert (len(table), used[-1]) == (64, 31), "the number of buckets is no longer fixed"
PY
