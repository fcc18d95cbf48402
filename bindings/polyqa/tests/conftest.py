"""Fixtures: a reader with random weights, the workspace's programs, and torch."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

if importlib.util.find_spec("torch") is None:
    # libtorch has torch's libraries, but not its Python code.
    stand_in = str(Path(__file__).parent / "stand_in")
    sys.path.insert(0, stand_in)
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([stand_in, *filter(None, [path])])
    os.environ.setdefault("LIBTORCH", str(ROOT / ".libtorch/torch"))


def run_program(line, **options):
    return subprocess.run([*map(str, line)], capture_output=True, text=True, **options)


@pytest.fixture(scope="session")
def command_line():
    """Runs a program of the workspace; POLYQA_PROGRAMS is the programs' folder."""
    folder = Path(os.environ.get("POLYQA_PROGRAMS", ROOT / "target/debug"))
    return lambda name, *arguments: run_program([folder / name, *arguments])


@pytest.fixture(scope="session")
def installed():
    """Runs the program as `python -m polyqa` does."""
    return lambda *arguments, **options: run_program(
        [sys.executable, "-m", "polyqa", *arguments], **options
    )


@pytest.fixture(scope="session")
def model(command_line, tmp_path_factory):
    """A folder with a small reader that has random weights."""
    base = ROOT / "data/base"
    folder = tmp_path_factory.mktemp("model")
    config = json.loads((base / "config.json").read_text())
    config |= {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 130, "initializer_range": 0.2,
    }
    (folder / "small.json").write_text(json.dumps(config))
    process = command_line(
        "xlmr-model", "init", "--config", folder / "small.json",
        "--tokenizer", base / "tokenizer.json", "--heads", "qa", "--out", folder / "reader",
    )
    assert process.returncode == 0, process.stderr
    return folder / "reader"


@pytest.fixture(scope="session")
def reader(model):
    import polyqa

    return polyqa.Reader(model, device="cpu")
