#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/adapter_hub: bottleneck adapters and fusions saved by AdapterHub, with outputs.

    PYTHONPATH=HUB:.peers-4/lib/python3.11/site-packages .peers/bin/python crates/xlmr-model/scripts/golden_adapter_hub.py

HUB is a folder filled by `pip install --no-deps --target HUB adapters`, which requires transformers 4. `model_name` is the case
of fixtures/hf whose model and inputs are used. A case is a folder written by `save_adapter` with `use_safetensors`, or contains
such a folder for each bottleneck and a folder written by `save_adapter_fusion`. Outputs are computed in float64 from the stored
weights, and stored as float32, with zeros at padding. Requires torch, transformers 4, safetensors and adapters.
"""

import json
import shutil
from pathlib import Path

import adapters
import torch
import transformers
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parents[2] / "testkit/fixtures"
OUT = FIXTURES / "adapter_hub"

# Name: base, class, reduction, activation.
CASES = {
    "qa": ("qa", "XLMRobertaForQuestionAnswering", 4, "relu"),
    "bert_seqcls": ("bert_seqcls", "BertForSequenceClassification", 16, "gelu"),
    "deberta_qa": ("deberta_qa", "DebertaV2ForQuestionAnswering", 7, "relu"),
    "encoder": ("qa", "XLMRobertaModel", 1, "gelu"),
}

# Name: base, class, reduction of each bottleneck, name of the fusion.
FUSIONS = {
    "fused": ("qa", "XLMRobertaModel", {"ep": 16, "tp": 16, "es": 8}, "ep,tp,es"),
    "bert_fused": ("bert_seqcls", "BertForSequenceClassification", {"one": 4, "two": 8}, "both"),
}


def outputs(model, base, batches):
    inputs = load_file(FIXTURES / "hf" / base / "inputs.safetensors")
    out = {}
    for batch_name in batches:
        names = ("input_ids", "attention_mask", "token_type_ids")
        batch = {key: inputs[f"{batch_name}.{key}"] for key in names if f"{batch_name}.{key}" in inputs}
        with torch.no_grad():
            result = model(**batch)
        for key in ("logits", "start_logits", "end_logits", "last_hidden_state"):
            if key in result:
                value, mask = result[key], batch["attention_mask"]
                if value.shape[:2] == mask.shape:
                    value = value * mask[(...,) + (None,) * (value.dim() - 2)]
                out[f"{batch_name}.{key}"] = value.float().contiguous()
    return out


def load(base, kind):
    """Loads a model of fixtures/hf; returns the model, its batches' names and its outputs without adapters."""
    options = {"add_pooling_layer": False} if kind.endswith("Model") else {}
    attention = "eager" if base.startswith("deberta") else "sdpa"
    model = getattr(transformers, kind).from_pretrained(FIXTURES / "hf" / base, attn_implementation=attention, **options)
    batches = ["b0"] if kind.endswith("Model") else ["b0", "b1"]
    base_outputs = outputs(model.double().eval(), base, batches)
    adapters.init(model.float())
    return model, batches, base_outputs


def add_noise(model, parts):
    """Adds noise to the parameters whose names contain one of `parts`."""
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if any(part in key for part in parts):
                parameter.add_(torch.randn(parameter.shape) * 0.2)


def write_outputs(name, model, base, batches, base_outputs):
    folder = OUT / name
    for path in folder.glob("**/*_config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_name": f"hf/{base}"}, indent=2) + "\n")
    stored = outputs(model.double().eval(), base, batches)
    save_file(stored, folder / "outputs.safetensors")
    versions = {module.__name__: module.__version__ for module in (adapters, transformers, torch)}
    (folder / "meta.json").write_text(json.dumps(versions | {"computed_in": "float64, stored as float32"}, indent=2) + "\n")
    print(name, f"changes outputs by up to {max(float((stored[key] - base_outputs[key]).abs().max()) for key in stored):.2f}")


def empty_folder(name):
    shutil.rmtree(OUT / name, ignore_errors=True)
    (OUT / name).mkdir(parents=True)
    return OUT / name


def write(name, number):
    torch.manual_seed(400 + number)
    base, kind, reduction, activation = CASES[name]
    folder = empty_folder(name)
    model, batches, base_outputs = load(base, kind)
    config = adapters.SeqBnConfig(reduction_factor=reduction, non_linearity=activation)
    model.add_adapter("theirs", config=config)
    model.set_active_adapters("theirs")
    add_noise(model, [".adapters.", "qa_outputs", "classifier"])
    model.save_adapter(folder, "theirs", use_safetensors=True)
    write_outputs(name, model, base, batches, base_outputs)


def write_fusion(name, number):
    torch.manual_seed(500 + number)
    base, kind, reductions, fusion_name = FUSIONS[name]
    folder = empty_folder(name)
    model, batches, base_outputs = load(base, kind)
    for adapter, reduction in reductions.items():
        model.add_adapter(adapter, config=adapters.SeqBnConfig(reduction_factor=reduction))
    fuse = adapters.composition.Fuse(*reductions, name=fusion_name)
    model.add_adapter_fusion(fuse, set_active=True)
    add_noise(model, [".adapters.", ".adapter_fusion_layer."])
    for adapter in reductions:
        model.save_adapter(folder / adapter, adapter, with_head=False, use_safetensors=True)
    model.save_adapter_fusion(folder / "fusion", fuse, use_safetensors=True)
    write_outputs(name, model, base, batches, base_outputs)


if __name__ == "__main__":
    for number, name in enumerate(CASES):
        write(name, number)
    for number, name in enumerate(FUSIONS):
        write_fusion(name, number)
