"""Fixtures: the workspace's files and the program `mlqa-eval`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return ROOT / "crates/testkit/fixtures"


@pytest.fixture(scope="session")
def command_line():
    """Runs `mlqa-eval` and returns the finished process; POLYQA_PROGRAMS is the program's folder."""
    folder = os.environ.get("POLYQA_PROGRAMS")
    cargo = ["cargo", "run", "--quiet", "--package", "mlqa-eval", "--"]
    program = [f"{folder}/mlqa-eval"] if folder else cargo

    def run(*arguments):
        line = [*program, *map(str, arguments)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def printed_scores(command_line):
    """Returns the scores that `mlqa-eval score` prints."""

    def run(*arguments):
        process = command_line("score", *arguments)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    return run
