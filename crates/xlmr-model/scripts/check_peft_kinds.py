#!/usr/bin/env python3
"""Saves each kind of PEFT adapter next to its base model, and compares this crate's outputs with PEFT's, or checks the error.

    cargo build -p xlmr-model
    .peers/bin/python crates/xlmr-model/scripts/check_peft_kinds.py --program target/debug/xlmr-model

The last lines are the table of docs/reference/transformers.md. Requires torch, transformers and peft.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import peft
import torch
import transformers
from check_savers import new_model, outputs_of, random_inputs, randomize
from program_outputs import Refused, largest_difference, run_program

TOLERANCE = 2e-5
BOTH = ["query", "value"]


def lora(**options):
    return peft.LoraConfig(**dict(dict(r=3, lora_alpha=5, target_modules=BOTH), **options))


REFUSED_INIT = "change the base model's weights"
# Title: configuration, and a part of the error message, or None if the adapter is merged.
KINDS = {
    "LoRA": (lambda: lora(), None),
    "LoRA, bfloat16": (lambda: lora(), None),
    "LoRA of a layer in the head": (lambda: lora(target_modules=["query", "qa_outputs"]), None),
    "rsLoRA": (lambda: lora(use_rslora=True), None),
    "DoRA": (lambda: lora(use_dora=True), None),
    "LoRA, `rank_pattern` and `alpha_pattern`": (
        lambda: lora(rank_pattern={"query": 2}, alpha_pattern={"layer.1.*value": 9}), None
    ),
    "LoRA, `layers_to_transform`": (lambda: lora(layers_to_transform=[1]), None),
    "LoRA, `exclude_modules`": (lambda: lora(target_modules=["dense"], exclude_modules=".*intermediate.*"), None),
    "LoRA, regular expression as `target_modules`": (lambda: lora(target_modules=r".*layer\.1\..*(key|query)"), None),
    "LoRA, `bias=\"all\"`": (lambda: lora(bias="all"), None),
    "LoRA, `bias=\"all\"` and a saved head": (lambda: lora(bias="all", modules_to_save=["qa_outputs"]), None),
    "LoRA, `bias=\"lora_only\"`": (lambda: lora(bias="lora_only"), None),
    "LoRA, `lora_bias`": (lambda: lora(lora_bias=True), None),
    "LoRA, `modules_to_save`": (lambda: lora(modules_to_save=["qa_outputs"]), None),
    "LoRA, `modules_to_save` of embeddings": (lambda: lora(modules_to_save=["word_embeddings"]), None),
    "LoRA of token embeddings": (lambda: lora(target_modules=["word_embeddings", "query"]), None),
    "LoRA of position embeddings": (lambda: lora(target_modules=["position_embeddings", "query"]), None),
    "LoRA, `init_lora_weights=\"gaussian\"`": (lambda: lora(init_lora_weights="gaussian"), None),
    "LoRA, `init_lora_weights=\"orthogonal\"`": (lambda: lora(r=4, init_lora_weights="orthogonal"), None),
    "PiSSA": (lambda: lora(init_lora_weights="pissa"), REFUSED_INIT),
    "OLoRA": (lambda: lora(init_lora_weights="olora"), REFUSED_INIT),
    "LoRA, `target_parameters`": (lambda: lora(target_modules=[], target_parameters=["query.weight"]), "target_parameters"),
    "LoRA, `trainable_token_indices`": (lambda: lora(trainable_token_indices=[3, 5]), "trainable_token_indices"),
    "AdaLoRA": (lambda: peft.AdaLoraConfig(total_step=10, target_modules=BOTH), "peft_type"),
    "IA³": (lambda: peft.IA3Config(target_modules=BOTH, feedforward_modules=[]), "peft_type"),
    "LoHa": (lambda: peft.LoHaConfig(r=3, target_modules=BOTH), "peft_type"),
    "VeRA": (lambda: peft.VeraConfig(r=3, target_modules=BOTH), "peft_type"),
    "trainable tokens": (lambda: peft.TrainableTokensConfig(token_indices=[3], target_modules=["word_embeddings"]), "peft_type"),
    "prefix tuning": (lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="QUESTION_ANS"), "peft_type"),
    "prompt tuning": (lambda: peft.PromptTuningConfig(num_virtual_tokens=3, task_type="QUESTION_ANS"), "peft_type"),
}


def save(title, config, folder):
    """Saves a base model with an adapter; returns inputs and the outputs of PEFT, which opens the saved adapter."""
    base = new_model("xlm-roberta", "spans", 7)
    base.save_pretrained(folder)
    model = peft.get_peft_model(base, config()).eval()
    randomize([p for p in model.parameters() if p.requires_grad and p.is_floating_point()], 0.1)
    if "bfloat16" in title:
        model.to(torch.bfloat16)
    model.save_pretrained(folder)
    inputs = random_inputs(base.config, 8)
    if model.peft_config["default"].is_prompt_learning:
        return inputs, None
    base = new_model("xlm-roberta", "spans", 7)
    model = peft.PeftModel.from_pretrained(base, folder).eval().double()
    return inputs, outputs_of(model, base.base_model, inputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", required=True, help="the xlmr-model program")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    print(f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
    failed, table = 0, []
    for title, (config, expected_error) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            inputs, expected = save(title, config, Path(folder))
            try:
                difference = largest_difference(run_program(arguments.program, folder, inputs), expected, inputs["attention_mask"])
                is_right = expected_error is None and difference <= TOLERANCE
                verdict = f"merged, largest difference {difference:.0e}"
            except Refused as error:
                is_right = expected_error is not None and expected_error in str(error)
                verdict = f"refused: {str(error).replace(folder + '/', '').removeprefix('error: ')}"
        print(f"{title}: {'ok' if is_right else 'FAILED'}: {verdict}", flush=True)
        failed += not is_right
        table.append(f"| {title} | {verdict} |")
    print("\n| kind | verdict |\n|---|---|", *table, sep="\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
