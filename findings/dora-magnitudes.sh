#!/usr/bin/env bash
# transformers replaces the trained magnitudes of a DoRA when it opens a folder that PEFT wrote.
#
# PEFT saves the magnitudes as `….lora_magnitude_vector`, transformers expects
# `….lora_magnitude_vector.default.weight`. It lists both in its loading report (UNEXPECTED, MISSING),
# computes new magnitudes from the weights, and goes on, so the logits differ. LoRA without DoRA is
# loaded exactly.
# Versions: transformers 5.24.0, PEFT 0.21.2, torch 2.11.0 (3 GB to download).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages torch==2.11.0 transformers==5.24.0 peft==0.21.2 accelerate==1.15.0 numpy==2.4.6

cat >load.py <<'PY'
import tempfile
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=32, initializer_range=0.5)
ids = torch.arange(1, 9)[None]

def differences(use_dora):
    """The largest difference of logits between the saved model and the one that transformers loads."""
    torch.manual_seed(1)
    base, folder = BertForQuestionAnswering(config), tempfile.mkdtemp()
    base.save_pretrained(folder)
    lora = LoraConfig(r=4, target_modules=["query", "value"], use_dora=use_dora)
    model = get_peft_model(base, lora).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_magnitude" in name:
                parameter.mul_(2)
            elif "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    by_transformers = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(input_ids=ids).start_logits
        found = by_transformers(input_ids=ids).start_logits
    return (found - expected).abs().max().item()

lora, dora = differences(False), differences(True)
print(f"largest difference of logits: LoRA {lora:.1e}, DoRA {dora:.1e}")
assert lora < 1e-5 and dora > 0.1, "the loading of adapters changed"
PY
with packages load.py 2>report.txt || { cat report.txt; exit 1; }
grep -E "magnitude" report.txt | sed 's/\x1b\[[0-9;]*m//g' | sort -u
grep -q "lora_magnitude_vector.*UNEXPECTED" report.txt
