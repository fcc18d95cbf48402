#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/pll.json: pseudo-log-likelihoods of target texts given source texts, computed with transformers.

The model is data/base in float64. Each token of the target text is masked in a separate row.

    .peers/bin/python crates/tasks/scripts/golden_pll.py

Requires torch, transformers and tokenizers.
"""

import json
from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import XLMRobertaForMaskedLM

ROOT = Path(__file__).parents[3]
TEXTS = [
    ("the city of Bern", "die Stadt Bern"),
    ("In 1492 [Columbus] sailed.", "1492 segelte [Kolumbus]."),
    ("the United States", "美國"),
]


def main():
    model = XLMRobertaForMaskedLM.from_pretrained(ROOT / "data/base", attn_implementation="eager").double().eval()
    tokenizer = tokenizers.Tokenizer.from_file(str(ROOT / "data/base/tokenizer.json"))
    mask = tokenizer.token_to_id("<mask>")
    requests = []
    for source, target in TEXTS:
        encoding = tokenizer.encode(source, target)
        scores = []
        for position, sequence_id in enumerate(encoding.sequence_ids):
            if sequence_id != 1:
                continue
            ids = torch.tensor([encoding.ids])
            ids[0, position] = mask
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, position]
            scores.append(logits.log_softmax(-1)[encoding.ids[position]].item())
        requests.append({"source": source, "target": target, "tokens": scores})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    out = ROOT / "crates/testkit/fixtures/pll.json"
    out.write_text(json.dumps({"versions": versions, "requests": requests}, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
