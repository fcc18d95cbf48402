"""Compares the installed program with the workspace's program."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import polyqa
import pytest


def test_version_and_help_equal_the_programs(installed, command_line):
    for line in (["--version"], ["--help"], ["answer", "--help"]):
        actual, expected = installed(*line), command_line("polyqa", *line)
        assert (actual.returncode, actual.stdout) == (0, expected.stdout)
    assert installed("--version").stdout.split()[1] == polyqa.__version__


def test_answers_equal_the_programs(installed, command_line, model, tmp_path):
    (tmp_path / "peru.txt").write_text("👩‍🚀 Lima liegt in Peru. Quito nicht.")
    line = ["answer", "--model", model, "-q", "Wo?", "--json", tmp_path / "peru.txt"]
    actual, expected = installed(*line), command_line("polyqa", *line)
    assert (actual.returncode, actual.stdout) == (0, expected.stdout)
    assert json.loads(actual.stdout)["answers"]


@pytest.mark.parametrize("line", [
    ["answer", "--model", "nowhere", "-q", "Wo?", "none.txt"],
    ["answer"],
    ["nothing"],
    [],
    [b"caf\xe9"],
])
def test_errors_equal_the_programs(installed, command_line, line, tmp_path):
    line = [os.fsdecode(word) for word in line]
    actual, expected = installed(*line), command_line("polyqa", *line)
    assert (actual.returncode, actual.stdout) == (2, "")
    assert actual.stderr == expected.stderr and actual.stderr.count("\n") == 1


def test_the_console_script_equals_the_module(installed):
    (script,) = entry_points(group="console_scripts", name="polyqa")
    assert script.value == "polyqa.__main__:main"
    # `pip install --target` writes the script to this path; after any other installation, the script
    # is in the PATH.
    path = Path(polyqa.__file__).parents[1] / "bin/polyqa"
    process = subprocess.run(
        [path if path.exists() else "polyqa", "x"], capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (2, installed("x").stderr)


def interactive_program(model, tmp_path):
    """Starts the program, which waits for questions on standard input."""
    (tmp_path / "peru.txt").write_text("Lima liegt in Peru.")
    line = ["-m", "polyqa", "answer", "--model", model, "--json", tmp_path / "peru.txt"]
    return subprocess.Popen(
        [sys.executable, *line], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, bufsize=1,
    )


def test_an_interrupt_stops_the_program(model, tmp_path):
    process = interactive_program(model, tmp_path)
    process.stdin.write("Wo?\n")
    assert process.stdout.readline().startswith("{")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == -signal.SIGINT
    assert process.stderr.read() == ""
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_a_closed_pipe_is_not_an_error(model, tmp_path):
    process = interactive_program(model, tmp_path)
    process.stdout.close()
    _, stderr = process.communicate("Wo?\nWo?\n", timeout=60)
    assert (process.returncode, stderr) == (0, "")


def test_another_torch_version_is_rejected_in_one_line(tmp_path):
    (tmp_path / "torch.py").write_text("__version__ = '2.10.1+cpu'")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    process = subprocess.run(
        [sys.executable, "-c", "import polyqa"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        "ImportError: polyqa needs torch 2.11 and found 2.10.1+cpu: pip install 'torch==2.11.*'"
    )
