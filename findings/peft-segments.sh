#!/usr/bin/env bash
# PEFT 0.21 trains and runs question-answering adapters of BERT without segments.
#
# PeftModelForQuestionAnswering takes `token_type_ids` and does not pass them to the model, so question
# and context are in the same segment. The same adapter inside the model, or merged, sees the segments
# that the tokenizer returns, and has other logits than in training.
# Versions: peft 0.21.2, transformers 5.24.0, torch 2.11.0 (3 GB to download).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages peft==0.21.2 transformers==5.24.0 torch==2.11.0
export TRANSFORMERS_VERBOSITY=error

with packages - <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForQuestionAnswering

torch.manual_seed(0)
config = BertConfig(
    vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
)
reader = BertForQuestionAnswering(config).eval()
adapted = get_peft_model(reader, LoraConfig(task_type="QUESTION_ANS", r=2, target_modules=["query"])).eval()
ids = torch.arange(5, 17)[None]
segments = torch.tensor([[0] * 5 + [1] * 7])


def change(model):
    with torch.no_grad():
        without = model(input_ids=ids).start_logits
        return (model(input_ids=ids, token_type_ids=segments).start_logits - without).abs().max().item()


merged = adapted.base_model  # the same weights, without PeftModelForQuestionAnswering
print(f"largest change of a logit by segments: {change(merged):.3f} in BERT, {change(adapted):.3f} in PEFT")
assert change(merged) > 0.01 and change(adapted) == 0.0, "PEFT passes segments now"
PY
