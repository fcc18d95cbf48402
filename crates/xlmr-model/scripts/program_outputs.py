"""Runs `xlmr-model run` and compares its outputs. Used by the scripts in this folder."""

import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


class Refused(Exception):
    """The program rejected a model folder; the message is its standard error."""


def run_program(program, folder, inputs):
    """Returns the outputs of `xlmr-model run` for a model folder."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "in.safetensors"), Path(scratch, "out.safetensors")
        save_file({key: value.contiguous() for key, value in inputs.items()}, source)
        command = [program, "run", "--model", folder, "--inputs", source, "--out", target, "--device", "cpu"]
        run = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise Refused(run.stderr.strip())
        return load_file(target)


def largest_difference(outputs, expected, mask):
    """Returns the largest difference over all outputs, without those at padding. Other names or shapes are an error."""
    assert outputs.keys() == expected.keys(), f"outputs {sorted(outputs)} instead of {sorted(expected)}"
    largest = 0.0
    for key, want in expected.items():
        assert outputs[key].shape == want.shape, f"{key}: shape {outputs[key].shape} instead of {want.shape}"
        difference = (outputs[key].double() - want.double()).abs()
        if difference.shape[:2] == mask.shape:
            difference = difference[mask == 1]
        largest = max(largest, difference.nan_to_num(nan=torch.inf).max().item())
    return largest
