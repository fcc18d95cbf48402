"""Tests of the stubs, the README and the packaged files."""

import ast
import inspect
import json
import re
from pathlib import Path

import mlqa_eval

HERE = Path(__file__).resolve().parents[1]


def stub_parameters(function):
    """Returns names, defaults and kinds of a stub's parameters."""
    arguments = function.args
    plain = arguments.args
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    named = zip(arguments.kwonlyargs, arguments.kw_defaults)
    all_parameters = [(node, default, "plain") for node, default in zip(plain, defaults)]
    all_parameters += [(node, default, "named") for node, default in named]
    return [(node.arg, ast.literal_eval(d) if d else "none", kind) for node, d, kind in all_parameters]


def runtime_parameters(function):
    all_parameters = []
    for parameter in inspect.signature(function).parameters.values():
        kind = "named" if parameter.kind is parameter.KEYWORD_ONLY else "plain"
        default = "none" if parameter.default is parameter.empty else parameter.default
        all_parameters.append((parameter.name, default, kind))
    return all_parameters


def test_the_stubs_match_the_module():
    folder = Path(mlqa_eval.__file__).parent
    assert (folder / "py.typed").exists()
    stub = ast.parse((folder / "__init__.pyi").read_text())
    # The first definition of an overloaded function has all defaults.
    functions = {node.name: node for node in stub.body[::-1] if isinstance(node, ast.FunctionDef)}
    public = {name for name in mlqa_eval.__all__ if not name.startswith("_")}
    assert public == functions.keys() | {"Windows"}
    for name, function in functions.items():
        assert stub_parameters(function) == runtime_parameters(getattr(mlqa_eval, name)), name
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    stubbed = {node.name for node in classes["Windows"].body if not node.name.startswith("_")}
    assert stubbed == {name for name in dir(mlqa_eval.Windows) if not name.startswith("_")}


def test_everything_has_a_docstring():
    for name in set(mlqa_eval.__all__) - {"__version__"}:
        assert len(getattr(mlqa_eval, name).__doc__) > 60, name
    assert re.fullmatch(r"\d+\.\d+\.\d+", mlqa_eval.__version__)


def test_the_examples_of_the_readme_run(capsys, fixtures, monkeypatch, tmp_path):
    for name in ("scorer/zh/dataset.json", "scorer/zh/predictions.json", "tokenizer.json"):
        (tmp_path / Path(name).name).write_bytes((fixtures / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    page = (HERE / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 5
    scope = {}
    for block in blocks:
        exec(block, scope)
    printed = capsys.readouterr().out.split()
    expected = json.loads((fixtures / "scorer/zh/expected.json").read_text())
    assert [float(text) for text in printed[:2]] == [expected["exact_match"], expected["f1"]]
    assert printed[2:9] == ["100.0", "100.0", "100.0", "100.0", "100.0", "100.0", "1.0"]
    assert len(scope["texts"]) == len(scope["inputs"].ids) == 40
