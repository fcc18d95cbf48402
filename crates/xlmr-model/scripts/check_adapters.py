#!/usr/bin/env python3
"""Loads adapters written by this crate with PEFT or AdapterHub, and compares stored tensors and outputs.

Each folder contains the model folder `base`, `inputs.safetensors`, and this crate's outputs in `outputs.safetensors`: `logits`,
`start_logits` and `end_logits`, or `last_hidden_state`. The adapter is in `adapter`, written by `Model::save_adapter`, or in
`base/adapters`, as a fusion of all bottlenecks in that folder. Missing or unexpected tensors and warnings are faults.

    PYTHONPATH=PEFT python crates/xlmr-model/scripts/check_adapters.py OUT/*

Requires torch, transformers, safetensors and peft or, with transformers 4, adapters.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

TOLERANCE = 1e-5


def load_with_peft(base, folder):
    import peft

    folder = folder / "adapter"
    model = peft.PeftModel.from_pretrained(base, folder)
    return load_file(folder / "adapter_model.safetensors"), peft.get_peft_model_state_dict(model), model


def load_with_hub(base, folder):
    import adapters

    adapters.init(base)
    folder = folder / "adapter"
    name = base.load_adapter(str(folder), use_safetensors=True, set_active=True)
    stored = load_file(folder / "adapter.safetensors")
    head = folder / "model_head.safetensors"
    if head.exists():
        stored |= load_file(head)
    prefix = "" if any(key in base.state_dict() for key in stored) else f"{base.base_model_prefix}."
    tensors = {key.removeprefix(prefix): value for key, value in base.state_dict().items()}
    loaded = {key: value for key, value in tensors.items() if f".adapters.{name}." in key or key in stored}
    return stored, loaded, base


def load_fusion_with_hub(base, folder):
    import adapters

    adapters.init(base)
    saved = folder / "base/adapters"
    names = json.loads((saved / "active.json").read_text())
    (fusion,) = names["active"]
    stored = load_file(saved / fusion / "model_adapter_fusion.safetensors")
    for name in sorted(set(names["adapters"]) - {fusion}):
        base.load_adapter(str(saved / name), use_safetensors=True)
        stored |= load_file(saved / name / "adapter.safetensors")
    base.load_adapter_fusion(str(saved / fusion), use_safetensors=True, set_active=True)
    loaded = {key: value for key, value in base.state_dict().items() if ".adapters." in key or ".adapter_fusion_layer." in key}
    prefix = f"{base.base_model_prefix}."
    return *({key.removeprefix(prefix): value for key, value in tensors.items()} for tensors in (stored, loaded)), base


def check(folder):
    """Returns the largest difference and a list of faults."""
    (name,) = json.loads((folder / "base/config.json").read_text())["architectures"]
    options = {"add_pooling_layer": False} if name in ("XLMRobertaModel", "BertModel") else {}
    base = getattr(transformers, name).from_pretrained(folder / "base", **options)
    load = load_with_hub if (folder / "adapter/adapter.safetensors").exists() else load_with_peft
    load = load_fusion_with_hub if (folder / "base/adapters").exists() else load
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", r"`is_gradient_checkpointing` is deprecated")  # transformers 5, called by PEFT
        warnings.filterwarnings("ignore", r".*`torch\.jit\.script(_method)?` is deprecated")  # transformers 4 with torch 2.11
        stored, loaded, model = load(base, folder)
    faults = [f"warned: {warning.message}" for warning in caught]
    if set(loaded) != set(stored):
        faults.append(f"keys differ: {sorted(set(loaded) ^ set(stored))}")
    faults += [f"{key} differs" for key in loaded.keys() & stored.keys() if not torch.equal(loaded[key], stored[key])]
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    with torch.no_grad():
        result = model.eval()(**inputs)
    mask, max_difference = inputs["attention_mask"], 0.0
    for key, want in expected.items():
        difference = (result[key] - want).abs()
        if difference.shape[:2] == mask.shape:
            difference = difference[mask == 1]
        max_difference = max(max_difference, difference.nan_to_num(nan=torch.inf).max().item())
    if not max_difference <= TOLERANCE:
        faults.append(f"outputs differ by {max_difference:.1e}, more than {TOLERANCE:.0e}")
    return max_difference, faults


def main():
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failed = 0
    for folder in map(Path, sys.argv[1:]):
        max_difference, faults = check(folder)
        print(f"{folder.name}: {'FAILED' if faults else 'ok'}, largest difference {max_difference:.1e}")
        for fault in faults:
            print(f"  {fault}")
        failed += bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
