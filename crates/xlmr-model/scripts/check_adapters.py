#!/usr/bin/env python3
"""Opens adapters that this crate wrote by PEFT, or bottlenecks and fusions by AdapterHub, and compares outputs.

Each folder holds `base`, a model folder, `adapter`, what `Model::save_adapter` wrote, or instead `base/adapters` with a fusion
of all that is there, `inputs.safetensors` and
`outputs.safetensors`, what this crate computes: `logits`, or `start_logits` and `end_logits`, or `last_hidden_state`. Nothing
may be missing, unexpected or warned of.

    PYTHONPATH=PEFT python crates/xlmr-model/scripts/check_adapters.py OUT/*

Needs torch, transformers, safetensors and peft or, with transformers 4, adapters.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

TOLERANCE = 1e-5


def open_by_peft(base, folder):
    import peft

    folder = folder / "adapter"
    model = peft.PeftModel.from_pretrained(base, folder)
    return load_file(folder / "adapter_model.safetensors"), peft.get_peft_model_state_dict(model), model


def open_by_hub(base, folder):
    import adapters

    adapters.init(base)
    folder = folder / "adapter"
    name = base.load_adapter(str(folder), use_safetensors=True, set_active=True)
    stored = load_file(folder / "adapter.safetensors")
    head = folder / "model_head.safetensors"
    if head.exists():
        stored |= load_file(head)
    before = "" if any(key in base.state_dict() for key in stored) else f"{base.base_model_prefix}."
    theirs = {key.removeprefix(before): value for key, value in base.state_dict().items()}
    wanted = {key: value for key, value in theirs.items() if f".adapters.{name}." in key or key in stored}
    return stored, wanted, base


def open_fusion_by_hub(base, folder):
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
    theirs = {key: value for key, value in base.state_dict().items() if ".adapters." in key or ".adapter_fusion_layer." in key}
    bare = f"{base.base_model_prefix}."
    return *({key.removeprefix(bare): value for key, value in all.items()} for all in (stored, theirs)), base


def check(folder):
    """Returns the largest difference and a list of faults."""
    (name,) = json.loads((folder / "base/config.json").read_text())["architectures"]
    options = {"add_pooling_layer": False} if name in ("XLMRobertaModel", "BertModel") else {}
    base = getattr(transformers, name).from_pretrained(folder / "base", **options)
    opened = open_by_hub if (folder / "adapter/adapter.safetensors").exists() else open_by_peft
    opened = open_fusion_by_hub if (folder / "base/adapters").exists() else opened
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", r"`is_gradient_checkpointing` is deprecated")  # of transformers 5, which PEFT asks
        warnings.filterwarnings("ignore", r".*`torch\.jit\.script(_method)?` is deprecated")  # of transformers 4 with torch 2.11
        stored, theirs, model = opened(base, folder)
    faults = [f"warned: {warning.message}" for warning in caught]
    if set(theirs) != set(stored):
        faults.append(f"keys differ: {sorted(set(theirs) ^ set(stored))}")
    faults += [f"{key} differs" for key in theirs.keys() & stored.keys() if not torch.equal(theirs[key], stored[key])]
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    with torch.no_grad():
        result = model.eval()(**inputs)
    mask, worst = inputs["attention_mask"], 0.0
    for key, want in expected.items():
        off = (result[key] - want).abs()
        if off.shape[:2] == mask.shape:
            off = off[mask == 1]
        worst = max(worst, off.nan_to_num(nan=torch.inf).max().item())
    if not worst <= TOLERANCE:
        faults.append(f"outputs differ by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst, faults


def main():
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failed = 0
    for folder in map(Path, sys.argv[1:]):
        worst, faults = check(folder)
        print(f"{folder.name}: {'FAILED' if faults else 'ok'}, largest difference {worst:.1e}")
        for fault in faults:
            print(f"  {fault}")
        failed += bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
