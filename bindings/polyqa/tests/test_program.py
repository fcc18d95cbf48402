"""Compares the installed program with the workspace's program."""

import json
import os
import shutil
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


@pytest.mark.parametrize("code, error", [
    ("from polyqa import Reader", "ImportError: polyqa needs"),
    ("import polyqa; polyqa.__version__", "ImportError: polyqa needs"),
    ("import torch; from polyqa import Reader", "ImportError: polyqa needs"),
    ("import sys, polyqa.__main__; sys.exit(polyqa.__main__.main())", "error: polyqa needs"),
])
@pytest.mark.parametrize("is_package", [True, False])
def test_another_torch_version_is_rejected_in_one_line(code, error, is_package, tmp_path):
    version = "__version__ = '2.15.0+cpu'"
    if is_package:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch/version.py").write_text(version)
        (tmp_path / "torch/__init__.py").write_text("from .version import __version__")
    else:
        (tmp_path / "torch.py").write_text(version)
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    is_program = error.startswith("error")
    assert process.returncode == (2 if is_program else 1)
    assert process.stderr.count("\n") == 1 or not is_program
    line = process.stderr.splitlines()[-1]
    assert line.startswith(f"{error} torch 2.11 and found 2.15.0+cpu: ")
    assert "pip install 'torch==2.11.*'" in line


def test_a_missing_torch_is_reported(tmp_path):
    code = "import importlib.util; importlib.util.find_spec = lambda name: None; import polyqa; polyqa.Reader"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 1
    assert "ImportError: polyqa needs torch 2.11, which is not installed. " in process.stderr


def test_the_default_model_is_the_packages_reader(installed, model, tmp_path):
    """Copies the package, because a wheel for tests contains no reader."""
    package = tmp_path / "polyqa"
    shutil.copytree(Path(polyqa.__file__).parent, package)
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "POLYQA_MODEL"}

    def run_all(code, **variables):
        process = subprocess.run(
            [sys.executable, "-c", f"import polyqa; {code}"], capture_output=True, text=True,
            env=environment | {"PYTHONPATH": path} | variables,
        )
        return process.stdout + process.stderr

    def run(code, **variables):
        return run_all(code, **variables).splitlines()[-1]

    assert run("print(polyqa.Reader(device='cpu', precision='f32'))", POLYQA_MODEL=str(model)) == (
        f"<Reader: {model}, cpu, f32>"
    )
    shutil.copytree(model, package / "reader")
    assert run("print(polyqa.Reader(device='cpu', precision='f32'))") == (
        f"<Reader: {package}/reader, cpu, f32>"
    )
    show_default = (
        "from polyqa.__main__ import main; import sys; sys.argv = ['polyqa', 'doctor']; main()"
    )
    assert str(package / "reader") in run_all(show_default)
    assert str(model) in run_all(show_default, POLYQA_MODEL=str(model))
