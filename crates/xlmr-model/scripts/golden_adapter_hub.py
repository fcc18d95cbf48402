#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/adapter_hub: bottleneck adapters as AdapterHub saves them, with what it computes.

    PYTHONPATH=HUB:.peers-4/lib/python3.11/site-packages .peers/bin/python crates/xlmr-model/scripts/golden_adapter_hub.py

where HUB is a folder that `pip install --no-deps --target HUB adapters` filled, which asks for transformers 4. Each case stands
beside a model of fixtures/hf, named in `model_name`, whose inputs it reads, and is a folder as `save_adapter` writes it with
`use_safetensors`. Computed in float64 from the stored weights, stored as float32; zeros where there is padding. Needs torch,
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


def write(name, number):
    torch.manual_seed(400 + number)
    base, kind, reduction, activation = CASES[name]
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = {"add_pooling_layer": False} if kind.endswith("Model") else {}
    attention = "eager" if base.startswith("deberta") else "sdpa"
    model = getattr(transformers, kind).from_pretrained(FIXTURES / "hf" / base, attn_implementation=attention, **options)
    batches = ["b0"] if kind.endswith("Model") else ["b0", "b1"]
    plain = outputs(model.double().eval(), base, batches)
    adapters.init(model.float())
    config = adapters.SeqBnConfig(reduction_factor=reduction, non_linearity=activation)
    model.add_adapter("theirs", config=config)
    model.set_active_adapters("theirs")
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".adapters." in key or "qa_outputs" in key or "classifier" in key:
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    model.save_adapter(folder, "theirs", use_safetensors=True)
    for path in folder.glob("*_config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_name": f"hf/{base}"}, indent=2) + "\n")
    stored = outputs(model.double().eval(), base, batches)
    save_file(stored, folder / "outputs.safetensors")
    versions = {module.__name__: module.__version__ for module in (adapters, transformers, torch)}
    (folder / "meta.json").write_text(json.dumps(versions | {"computed_in": "float64, stored as float32"}, indent=2) + "\n")
    print(name, f"moves outputs by up to {max(float((stored[key] - plain[key]).abs().max()) for key in stored):.2f}")


if __name__ == "__main__":
    for number, name in enumerate(CASES):
        write(name, number)
