"""Tests of the stubs, the README and the packaged files."""

import ast
import importlib.metadata
import inspect
import re
import shutil
import subprocess
import sys
import unittest.mock
from pathlib import Path

import polyqa
import pytest
import torch
from polyqa import _libtorch, _polyqa

HERE = Path(__file__).resolve().parents[1]


def test_the_stubs_match_the_module():
    folder = Path(polyqa.__file__).parent
    assert (folder / "py.typed").exists()
    stub = ast.parse((folder / "_polyqa.pyi").read_text())
    (function,) = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    assert [node.arg for node in function.args.args] == list(
        inspect.signature(_polyqa.program).parameters
    )
    (reader_class,) = [node for node in stub.body if getattr(node, "name", "") == "Reader"]
    methods = {node.name: node for node in reader_class.body}
    public = {name for name in dir(polyqa.Reader) if not name.startswith("_")}
    assert public == {name for name in methods if not name.startswith("_")} == {"answer"}
    new, parameters = methods["__new__"].args, inspect.signature(polyqa.Reader).parameters
    assert [node.arg for node in new.args[1:] + new.kwonlyargs] == list(parameters)
    defaults = [one.default for one in parameters.values() if one.kind is one.KEYWORD_ONLY]
    assert [ast.literal_eval(node) for node in new.kw_defaults] == defaults
    answer = inspect.signature(polyqa.Reader.answer).parameters
    assert [node.arg for node in methods["answer"].args.args] == list(answer)
    (collection,) = [node for node in stub.body if getattr(node, "name", "") == "Collection"]
    methods = {node.name: node for node in collection.body}
    public = {name for name in dir(polyqa.Collection) if not name.startswith("_")}
    assert public == {name for name in methods if not name.startswith("_")}
    new, parameters = methods["__new__"].args, inspect.signature(polyqa.Collection).parameters
    assert [node.arg for node in new.args[1:] + new.kwonlyargs] == list(parameters)
    for name in ("update", "remove"):
        signature = inspect.signature(getattr(polyqa.Collection, name)).parameters
        assert [node.arg for node in methods[name].args.args] == list(signature)


def test_everything_has_a_docstring():
    collection = polyqa.Collection
    for item in (polyqa.Reader, polyqa.Reader.answer, collection, collection.update, collection.remove, polyqa):
        assert len(item.__doc__) > 60, item
    assert set(polyqa.__all__) == {"Collection", "Reader", "__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", polyqa.__version__)
    major, minor, _ = torch.__version__.split(".", 2)
    assert importlib.metadata.requires("polyqa") == [f"torch=={major}.{minor}.*"]


def test_all_files_have_the_same_release_of_torch():
    (required,) = importlib.metadata.requires("polyqa")
    backend = (HERE / "backend/polyqa_backend.py").read_text()
    (release,) = re.findall(r'^RELEASE = "(.*)"$', backend, re.MULTILINE)
    assert required == f"torch=={release}.*" and release == _libtorch.RELEASE


@pytest.mark.parametrize("text, version", [
    ("__all__ = []\n__version__ = '2.11.0+cpu'\ndebug = False\n", "2.11.0+cpu"),
    ("__version__: str = \"2.15.0\"\n", "2.15.0"),
    ("version = '2.11.0'\n", None),
    (None, None),
])
def test_torchs_version_is_read_without_importing_torch(text, version, tmp_path, monkeypatch):
    # The backend imports maturin, which is not installed with the package.
    monkeypatch.setitem(sys.modules, "maturin", unittest.mock.MagicMock())
    monkeypatch.syspath_prepend(HERE / "backend")
    import polyqa_backend

    (tmp_path / "torch").mkdir()
    if text is not None:
        (tmp_path / "torch/version.py").write_text(text)
    assert _libtorch._version(tmp_path / "torch") == version
    paths = {"purelib": str(tmp_path), "platlib": str(tmp_path / "none")}
    assert polyqa_backend.installed_torch(paths) == version
    monkeypatch.setattr(polyqa_backend.sysconfig, "get_paths", lambda: paths)
    notes = []
    monkeypatch.setattr(polyqa_backend, "notify", notes.append)
    if version == "2.15.0":
        with pytest.raises(SystemExit, match="has torch 2.15.0, and polyqa needs torch 2.11"):
            polyqa_backend.check_torch()
        monkeypatch.setenv("POLYQA_REPLACE_TORCH", "1")
    polyqa_backend.check_torch()
    assert len(notes) == (version is None) and all("2.7 GB" in note for note in notes)


def test_the_examples_of_the_readme_run(capsys, model, monkeypatch, tmp_path):
    shutil.copytree(model, tmp_path / "runs/mine/model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLYQA_MODEL", "runs/mine/model")
    blocks = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    variables = {}
    exec(blocks[0], variables)
    text, probability = capsys.readouterr().out.rsplit(maxsplit=1)
    assert text and 0 < float(probability) <= 1
    exec(blocks[1], variables)
    assert capsys.readouterr().out == "1 True\n"
    assert variables["found"][0]["answers"] and not variables["found"][1]["answers"]


def test_the_extension_finds_libtorch_by_name():
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    line = ["readelf", "--dynamic", "--wide", _polyqa.__file__]
    output = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    # Only the torch in the same folder is found without torch's Python code.
    assert re.findall(r"(?:RPATH|RUNPATH).*\[(.*)\]", output) == ["$ORIGIN/../torch/lib"]
    libraries = re.findall(r"NEEDED.*\[(.*)\]", output)
    torch_libraries = {name for name in libraries if re.match(r"lib(torch|c10)", name)}
    assert torch_libraries == {"libtorch_cpu.so", "libc10.so"}
