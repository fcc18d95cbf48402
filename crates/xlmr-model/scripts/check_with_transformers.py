#!/usr/bin/env python3
"""Checks model folders written by this crate against transformers.

Each folder must load in the class that its config.json names without a warning and without a missing, unexpected or
mismatched key, and `xlmr-model run` must give the same outputs on random inputs.

    cargo build -p xlmr-model
    python crates/xlmr-model/scripts/check_with_transformers.py --program target/debug/xlmr-model MODEL...

Needs torch, transformers and safetensors.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-5


class Messages(logging.Handler):
    """Keeps what transformers would have logged as a warning or worse."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def load(folder):
    """The model in its own class, and everything that is wrong with the folder."""
    config = json.loads((folder / "config.json").read_text())
    (name,) = config["architectures"]
    options = {"output_loading_info": True}
    if name in ("XLMRobertaModel", "BertModel", "RobertaModel", "CamembertModel", "Data2VecTextModel"):
        options["add_pooling_layer"] = False
    messages = Messages()
    logger = logging.getLogger("transformers")
    logger.addHandler(messages)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", r".*`torch\.jit\.script(_method)?` is deprecated")  # of transformers 4 with torch 2.11
        model, info = getattr(transformers, name).from_pretrained(folder, **options)
    logger.removeHandler(messages)
    faults = [f"logged: {text}" for text in messages.texts]
    faults += [f"warned: {warning.message}" for warning in caught]
    faults += [f"{what}: {sorted(map(str, keys))}" for what, keys in info.items() if keys]
    kinds = {str(parameter.dtype) for parameter in model.parameters()}
    if kinds != {"torch.float32"}:
        faults.append(f"dtypes {sorted(kinds)}")
    return model.eval(), faults


def random_inputs(config, seed):
    """Rows of different lengths, padded, with positions left to the model."""
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
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "in.safetensors"), Path(scratch, "out.safetensors")
        save_file(inputs, source)
        command = [program, "run", "--model", folder, "--inputs", source, "--out", target]
        run = subprocess.run([*map(str, command), "--device", "cpu"], stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            return float("nan"), [*faults, f"xlmr-model run: {run.stderr.strip()}"]
        outputs = load_file(target)
    if outputs.keys() != expected.keys():
        faults.append(f"outputs {sorted(outputs)} instead of {sorted(expected)}")
    worst = 0.0
    for key in outputs.keys() & expected.keys():
        if outputs[key].shape != expected[key].shape:
            faults.append(f"{key}: shape {outputs[key].shape} instead of {expected[key].shape}")
            continue
        off = (outputs[key] - expected[key]).abs()
        if model.config.model_type in ("modernbert", "deberta-v2") and off.shape[:2] == inputs["attention_mask"].shape:
            # A token of padding sees itself or its row here, and other things there: it means nothing.
            off = off[inputs["attention_mask"] == 1]
        worst = max(worst, off.nan_to_num(nan=torch.inf).max().item())
    if not worst <= TOLERANCE:
        faults.append(f"outputs differ by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--program", required=True, help="the xlmr-model program")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failed = 0
    for folder in arguments.folders:
        worst, faults = check(folder, arguments.program, arguments.seed)
        print(f"{folder.name}: {'FAILED' if faults else 'ok'}, largest difference {worst:.1e}")
        for fault in faults:
            print(f"  {fault}")
        failed += bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
