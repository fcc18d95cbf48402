#!/usr/bin/env bash
# BertModel of transformers 5.24 rejects `use_cache` as a positional argument, and so cannot be exported to
# ONNX by the exporter that passes every parameter by position.
#
# `use_cache` is the ninth parameter of `forward`. A decorator also passes it by name. So a call with nine
# positional arguments, and `torch.onnx.export(..., dynamo=False)` with two, end with a TypeError; the model
# inside a module that passes its inputs by name can be exported.
# Versions: transformers 5.24.0, torch 2.11.0 (3 GB to download), onnx 1.23.2.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages transformers==5.24.0 torch==2.11.0 onnx==1.23.2
export TRANSFORMERS_VERBOSITY=error

with packages -W ignore - <<'PY'
import inspect
import io

import torch
from transformers import BertConfig, BertModel

config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
model = BertModel(config, add_pooling_layer=False).eval()
ids = torch.full((2, 8), 5)
mask = torch.ones_like(ids)


class ByName(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def outcome(call):
    try:
        call()
        return "works"
    except TypeError as error:
        return f"TypeError: {error}"


parameters = list(inspect.signature(BertModel.forward).parameters)[1:]
print("parameters of forward:", ", ".join(parameters))
assert parameters.index("use_cache") == 8, parameters
outcomes = {
    "eight positional arguments": outcome(lambda: model(ids, mask, *[None] * 6)),
    "nine positional arguments": outcome(lambda: model(ids, mask, *[None] * 7)),
    "export of the model": outcome(lambda: torch.onnx.export(model, (ids, mask), io.BytesIO(), dynamo=False)),
    "export by name": outcome(lambda: torch.onnx.export(ByName(), (ids, mask), io.BytesIO(), dynamo=False)),
}
for call, result in outcomes.items():
    print(f"{call}: {result}")
fails = [call for call, result in outcomes.items() if result != "works"]
assert fails == ["nine positional arguments", "export of the model"], "the behaviour has changed"
PY
