#!/usr/bin/env python3
"""Checks model folders written by this crate against transformers.

The class that config.json names must load each folder without warnings and without missing, unexpected or mismatched keys.
`xlmr-model run` must return the same outputs for random inputs.

    cargo build -p xlmr-model
    python crates/xlmr-model/scripts/check_with_transformers.py --program target/debug/xlmr-model MODEL...

Requires torch, transformers and safetensors.
"""

import argparse
import json
import logging
import sys
import warnings
from pathlib import Path

import torch
import transformers
from program_outputs import Refused, run_program

TOLERANCE = 1e-5


class Messages(logging.Handler):
    """Collects the warnings and errors that transformers logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def load(folder):
    """Loads the class that config.json names; returns the model and a list of faults."""
    config = json.loads((folder / "config.json").read_text())
    (name,) = config["architectures"]
    options = {"output_loading_info": True}
    if name.endswith("Model") and name.startswith(("XLMRoberta", "Bert", "RemBert", "Roberta", "Camembert", "Data2VecText", "MPNet")):
        options["add_pooling_layer"] = False
    messages = Messages()
    logger = logging.getLogger("transformers")
    logger.addHandler(messages)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", r".*`torch\.jit\.script(_method)?` is deprecated")  # transformers 4 with torch 2.11
        model, info = getattr(transformers, name).from_pretrained(folder, **options)
    logger.removeHandler(messages)
    faults = [f"logged: {text}" for text in messages.texts]
    faults += [f"warned: {warning.message}" for warning in caught]
    faults += [f"{problem}: {sorted(map(str, keys))}" for problem, keys in info.items() if keys]
    dtypes = {str(parameter.dtype) for parameter in model.parameters()}
    if dtypes != {"torch.float32"}:
        faults.append(f"dtypes {sorted(dtypes)}")
    return model.eval(), faults


def random_inputs(config, seed):
    """Creates padded rows of different lengths, without position ids."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = 5, 24
    ids = torch.randint(4, config.vocab_size, (rows, columns), generator=generator)
    lengths = torch.randint(1, columns + 1, (rows,), generator=generator)
    mask = (torch.arange(columns)[None] < lengths[:, None]).long()
    ids = torch.where(mask == 1, ids, config.pad_token_id)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if hasattr(config, "type_vocab_size"):
        inputs["token_type_ids"] = torch.randint(0, max(config.type_vocab_size, 1), (rows, columns), generator=generator)
    return inputs


def check(folder, program, seed):
    """Returns the largest difference and a list of faults."""
    model, faults = load(folder)
    inputs = random_inputs(model.config, seed)
    with torch.no_grad():
        result = model(**inputs)
        states = model.base_model(**inputs).last_hidden_state
    expected = {"last_hidden_state": states}
    expected |= {key: value for key, value in result.items() if key.endswith("logits")}
    try:
        outputs = run_program(program, folder, inputs)
    except Refused as error:
        return float("nan"), [*faults, f"xlmr-model run: {error}"]
    if outputs.keys() != expected.keys():
        faults.append(f"outputs {sorted(outputs)} instead of {sorted(expected)}")
    max_difference = 0.0
    for key in outputs.keys() & expected.keys():
        if outputs[key].shape != expected[key].shape:
            faults.append(f"{key}: shape {outputs[key].shape} instead of {expected[key].shape}")
            continue
        difference = (outputs[key] - expected[key]).abs()
        if model.config.model_type in ("modernbert", "deberta-v2") and difference.shape[:2] == inputs["attention_mask"].shape:
            # Outputs at padding are meaningless and differ between transformers and this crate.
            difference = difference[inputs["attention_mask"] == 1]
        max_difference = max(max_difference, difference.nan_to_num(nan=torch.inf).max().item())
    if not max_difference <= TOLERANCE:
        faults.append(f"outputs differ by {max_difference:.1e}, more than {TOLERANCE:.0e}")
    return max_difference, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--program", required=True, help="the xlmr-model program")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failed = 0
    for folder in arguments.folders:
        max_difference, faults = check(folder, arguments.program, arguments.seed)
        print(f"{folder.name}: {'FAILED' if faults else 'ok'}, largest difference {max_difference:.1e}")
        for fault in faults:
            print(f"  {fault}")
        failed += bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
