#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/adapter_hub: bottleneck adapters and fusions of them as AdapterHub saves them, with what it
computes.

    PYTHONPATH=HUB:.peers-4/lib/python3.11/site-packages .peers/bin/python crates/xlmr-model/scripts/golden_adapter_hub.py

where HUB is a folder that `pip install --no-deps --target HUB adapters` filled, which asks for transformers 4. Each case stands
beside a model of fixtures/hf, named in `model_name`, whose inputs it reads, and is a folder as `save_adapter` writes it with
`use_safetensors`, or of one such folder for each bottleneck and one of their fusion, as `save_adapter_fusion` writes it. Computed in float64 from the stored weights, stored as float32; zeros where there is padding. Needs torch,
transformers 4, safetensors and adapters.
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

# Name: base, class, each bottleneck with its reduction, what the fusion is called.
FUSIONS = {
    "fused": ("qa", "XLMRobertaModel", {"ep": 16, "tp": 16, "es": 8}, "ep,tp,es"),
    "bert_fused": ("bert_seqcls", "BertForSequenceClassification", {"one": 4, "two": 8}, "both"),
}


def outputs(model, base, batches):
    inputs = load_file(FIXTURES / "hf" / base / "inputs.safetensors")
    out = {}
    for which in batches:
        names = ("input_ids", "attention_mask", "token_type_ids")
        given = {key: inputs[f"{which}.{key}"] for key in names if f"{which}.{key}" in inputs}
        with torch.no_grad():
            result = model(**given)
        for key in ("logits", "start_logits", "end_logits", "last_hidden_state"):
            if key in result:
                value, mask = result[key], given["attention_mask"]
                if value.shape[:2] == mask.shape:
                    value = value * mask[(...,) + (None,) * (value.dim() - 2)]
                out[f"{which}.{key}"] = value.float().contiguous()
    return out


def opened(base, kind):
    """A model of fixtures/hf, the batches that it is given and what it computes without adapters."""
    options = {"add_pooling_layer": False} if kind.endswith("Model") else {}
    attention = "eager" if base.startswith("deberta") else "sdpa"
    model = getattr(transformers, kind).from_pretrained(FIXTURES / "hf" / base, attn_implementation=attention, **options)
    batches = ["b0"] if kind.endswith("Model") else ["b0", "b1"]
    plain = outputs(model.double().eval(), base, batches)
    adapters.init(model.float())
    return model, batches, plain


def moved(model, parts):
    """Moves the parameters whose names hold one of these parts away from where they start."""
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if any(part in key for part in parts):
                parameter.add_(torch.randn(parameter.shape) * 0.2)


def finish(name, model, base, batches, plain):
    folder = OUT / name
    for path in folder.glob("**/*_config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_name": f"hf/{base}"}, indent=2) + "\n")
    stored = outputs(model.double().eval(), base, batches)
    save_file(stored, folder / "outputs.safetensors")
    versions = {module.__name__: module.__version__ for module in (adapters, transformers, torch)}
    (folder / "meta.json").write_text(json.dumps(versions | {"computed_in": "float64, stored as float32"}, indent=2) + "\n")
    print(name, f"moves outputs by up to {max(float((stored[key] - plain[key]).abs().max()) for key in stored):.2f}")


def emptied(name):
    shutil.rmtree(OUT / name, ignore_errors=True)
    (OUT / name).mkdir(parents=True)
    return OUT / name


def write(name, number):
    torch.manual_seed(400 + number)
    base, kind, reduction, activation = CASES[name]
    folder = emptied(name)
    model, batches, plain = opened(base, kind)
    config = adapters.SeqBnConfig(reduction_factor=reduction, non_linearity=activation)
    model.add_adapter("theirs", config=config)
    model.set_active_adapters("theirs")
    moved(model, [".adapters.", "qa_outputs", "classifier"])
    model.save_adapter(folder, "theirs", use_safetensors=True)
    finish(name, model, base, batches, plain)


def write_fusion(name, number):
    torch.manual_seed(500 + number)
    base, kind, reductions, called = FUSIONS[name]
    folder = emptied(name)
    model, batches, plain = opened(base, kind)
    for adapter, reduction in reductions.items():
        model.add_adapter(adapter, config=adapters.SeqBnConfig(reduction_factor=reduction))
    fuse = adapters.composition.Fuse(*reductions, name=called)
    model.add_adapter_fusion(fuse, set_active=True)
    moved(model, [".adapters.", ".adapter_fusion_layer."])
    for adapter in reductions:
        model.save_adapter(folder / adapter, adapter, with_head=False, use_safetensors=True)
    model.save_adapter_fusion(folder / "fusion", fuse, use_safetensors=True)
    finish(name, model, base, batches, plain)


if __name__ == "__main__":
    for number, name in enumerate(CASES):
        write(name, number)
    for number, name in enumerate(FUSIONS):
        write_fusion(name, number)
