#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/peft and peft_merged: LoRAs saved by PEFT for the models of fixtures/hf, with PEFT's outputs.

    PYTHONPATH=PEFT .peers/bin/python crates/xlmr-model/scripts/golden_peft.py

PEFT is a folder filled by `pip install --no-deps --target PEFT peft accelerate psutil`. Each case is a folder written by
`PeftModel.save_pretrained`, without its README.md; `base_model_name_or_path` is the case of fixtures/hf whose model and inputs
are used. `pair` has two LoRAs for one encoder, with outputs of each and of both. Outputs are computed in float64 from the
stored weights, and stored as float32. Requires torch, transformers, safetensors and peft.

The cases of `peft_merged` use options that are supported only if the LoRA is merged into the weights. With `merged` as argument,
only these cases are written.
"""

import json
import shutil
import sys
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parents[2] / "testkit/fixtures"
OUT = FIXTURES / "peft"

# Name: base, class, options.
CASES = {
    "qa": ("qa", "XLMRobertaForQuestionAnswering", dict(task_type="QUESTION_ANS", target_modules=["query", "value"])),
    "seqcls": (
        "seqcls",
        "XLMRobertaForSequenceClassification",
        dict(task_type="SEQ_CLS", target_modules=["key", "intermediate.dense", "output.dense"]),
    ),
    "bert_seqcls": (
        "bert_seqcls",
        "BertForSequenceClassification",
        dict(task_type="SEQ_CLS", target_modules=["attention.output.dense"], modules_to_save=["pooler"]),
    ),
    "modernbert_seqcls": (
        "modernbert_seqcls",
        "ModernBertForSequenceClassification",
        dict(task_type="SEQ_CLS", target_modules=["Wqkv", "mlp.Wi", "Wo"], modules_to_save=["head"]),
    ),
    "eurobert_tokcls": (
        "eurobert_tokcls",
        "EuroBertForTokenClassification",
        dict(task_type="TOKEN_CLS", target_modules=["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]),
    ),
    "deberta_mlm": ("deberta_mlm", "DebertaV2ForMaskedLM", dict(target_modules=["query_proj", "key_proj"])),
    "pair": ("qa", "XLMRobertaModel", None),
}
# Cases of `peft_merged`: base, class, options.
QA = ("qa", "XLMRobertaForQuestionAnswering")
MERGED_CASES = {
    "rslora": (*QA, dict(use_rslora=True, target_modules=["query", "output.dense"])),
    "dora": (*QA, dict(use_dora=True, target_modules=["value", "intermediate.dense"])),
    "patterns": (
        *QA,
        dict(
            target_modules=["query", "key", "intermediate.dense"],
            rank_pattern={"key": 3, "layer.1.attention.self.query": 1},
            alpha_pattern={r"layer\.0\..*\.query": 7},
        ),
    ),
    "bias_all": (*QA, dict(bias="all", target_modules=["query"])),
    "bias_lora_only": (*QA, dict(bias="lora_only", target_modules=["query", "value"])),
    "lora_bias": (*QA, dict(lora_bias=True, target_modules=["key", "output.dense"])),
    "embedding": (*QA, dict(target_modules=["word_embeddings", "query"])),
    "embedding_dora": (*QA, dict(use_dora=True, target_modules=["word_embeddings", "value"])),
    "layers": (*QA, dict(layers_to_transform=[1], target_modules=["query", "value"])),
    "layers_pattern": (*QA, dict(layers_to_transform=0, layers_pattern="layer", target_modules=["key"])),
    "regex": (*QA, dict(target_modules=r".*layer\.(?!0\.)\d+\.attention\.self\.(query|key)")),
    "excluded": (*QA, dict(target_modules=["dense"], exclude_modules=r".*intermediate\.dense")),
    "saved_embeddings": (
        *QA,
        dict(target_modules=["query"], modules_to_save=["embeddings.LayerNorm"], task_type="QUESTION_ANS"),
    ),
    "bare": ("qa", "XLMRobertaModel", dict(use_rslora=True, target_modules=r"encoder\.layer\.\d+\.attention\.self\.value")),
    "eurobert": (
        "eurobert_tokcls",
        "EuroBertForTokenClassification",
        dict(task_type="TOKEN_CLS", use_dora=True, target_modules=["q_proj", "gate_proj"]),
    ),
}
PAIR = {
    "one": dict(r=2, lora_alpha=3, target_modules=["query", "key"]),
    "second": dict(r=3, lora_alpha=8, target_modules=["value", "intermediate.dense"]),
}


def save(model, folder, base, name="default"):
    model.save_pretrained(folder, selected_adapters=[name])
    if name != "default":
        for file in (folder / name).iterdir():
            file.rename(folder / file.name)
        (folder / name).rmdir()
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    stored = json.loads(path.read_text()) | {"base_model_name_or_path": f"hf/{base}"}
    path.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")


def outputs(model, base, batches=("b0", "b1")):
    inputs = load_file(FIXTURES / "hf" / base / "inputs.safetensors")
    out = {}
    for batch_name in batches:
        batch = {key.split(".", 1)[1]: value for key, value in inputs.items() if key.startswith(batch_name)}
        batch = {key: value for key, value in batch.items() if key in ("input_ids", "attention_mask", "token_type_ids")}
        with torch.no_grad():
            result = model(**batch, output_hidden_states=True)
        if "logits" in result and result["logits"].shape[-1] == model.config.vocab_size:
            result = {"last_hidden_state": result["hidden_states"][-1]}  # fewer bytes than logits
        for key in ("logits", "start_logits", "end_logits", "last_hidden_state"):
            if key in result:
                value, mask = result[key], batch["attention_mask"]
                if value.shape[:2] == mask.shape:
                    value = value * mask[(...,) + (None,) * (value.dim() - 2)]
                out[f"{batch_name}.{key}"] = value.float().contiguous()
    return out


def write(name, number, cases=CASES, out=OUT):
    torch.manual_seed(300 + number)
    base, kind, options = cases[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    attention = "eager" if base.startswith("deberta") else "sdpa"
    model_class = getattr(transformers, kind)
    model = model_class.from_pretrained(FIXTURES / "hf" / base, dtype=torch.float32, attn_implementation=attention)
    base_outputs = outputs(model.double().eval(), base)
    model = model.float()
    if options is not None:
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=3, lora_dropout=0.1, **options))
    else:
        for adapter, pair_options in PAIR.items():
            config = peft.LoraConfig(lora_dropout=0.1, **pair_options)
            if isinstance(model, peft.PeftModel):
                model.add_adapter(adapter, config)
            else:
                model = peft.get_peft_model(model, config, adapter_name=adapter)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key or parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    stored = {}
    if options is not None:
        save(model, folder, base)
        stored = outputs(model.double().eval(), base)
        max_change = max(float((stored[key] - base_outputs[key]).abs().max()) for key in stored)
    else:
        for adapter in PAIR:
            save(model, folder / adapter, base, adapter)
        model.double().eval()
        for title, active in {"one": "one", "second": "second", "both": list(PAIR)}.items():
            model.base_model.set_adapter(active)
            stored |= {f"{title}.{key}": value for key, value in outputs(model, base, ["b0"]).items()}
        max_change = max(float((stored[f"both.{key}"] - value).abs().max()) for key, value in base_outputs.items() if "b0" in key)
    save_file(stored, folder / "outputs.safetensors")
    versions = {module.__name__: module.__version__ for module in (peft, transformers, torch)}
    (folder / "meta.json").write_text(json.dumps(versions | {"computed_in": "float64, stored as float32"}, indent=2) + "\n")
    print(name, f"changes outputs by up to {max_change:.2f}")


if __name__ == "__main__":
    if "merged" not in sys.argv:
        for number, name in enumerate(CASES):
            write(name, number)
    for number, name in enumerate(MERGED_CASES):
        write(name, 100 + number, MERGED_CASES, FIXTURES / "peft_merged")
