"""Compares `matrix` and `compare` with `mlqa-eval matrix` and `mlqa-eval compare`."""

import json

import mlqa_eval
import pytest

PAIRS = [("en", "en"), ("fr", "en")]


@pytest.fixture(scope="module")
def folders(fixtures):
    return [fixtures / "matrix" / name for name in ("data", "predictions", "better")]


def load_pairs(folder, rows=False):
    """Returns a folder's files by language pair."""
    files = {}
    for context, question in PAIRS:
        file = folder / f"test-context-{context}-question-{question}.json"
        files[context, question] = json.loads(file.read_text(encoding="utf-8"))
    if rows:
        return {pair: [{"id": id, "prediction_text": text} for id, text in answers.items()]
                for pair, answers in files.items()}
    return files


def test_the_matrix_equals_the_command_lines(command_line, folders, tmp_path):
    data, predictions, _ = folders
    line = ["--data", data, "--predictions", predictions, "--out", tmp_path]
    assert command_line("matrix", *line).returncode == 0
    expected = json.loads((tmp_path / "matrix.json").read_text())
    assert mlqa_eval.matrix(data, str(predictions)) == expected
    assert mlqa_eval.matrix(load_pairs(data), load_pairs(predictions)) == expected
    assert mlqa_eval.matrix(data, load_pairs(predictions, rows=True)) == expected
    single_pair = mlqa_eval.matrix(load_pairs(data), {PAIRS[0]: load_pairs(predictions)[PAIRS[0]]}, title="one")
    assert [cell["context"] for cell in single_pair["cells"]] == ["en"] and single_pair["title"] == "one"
    assert single_pair["averages"]["xlt"] == single_pair["averages"]["gxlt"]


def test_invalid_arguments_are_reported(folders, tmp_path):
    data, predictions, _ = folders
    with pytest.raises(ValueError, match="predictions: no pair"):
        mlqa_eval.matrix(data, tmp_path)
    with pytest.raises(ValueError, match="no dev-context"):
        mlqa_eval.matrix(data, predictions, split="dev")
    with pytest.raises(ValueError, match="data: expected a folder or .*, got list"):
        mlqa_eval.matrix([], predictions)
    with pytest.raises(ValueError, match=r'data: .*expected \("<context>", "<question>"\)'):
        mlqa_eval.matrix({("en", "de", "fr"): []}, predictions)
    with pytest.raises(ValueError, match="norm=\"f1\""):
        mlqa_eval.matrix(data, predictions, norm="f1")
    bad = {PAIRS[0]: {"q": 1}}
    with pytest.raises(ValueError, match="predictions: question `q`: expected its answer"):
        mlqa_eval.matrix(data, bad)


def test_two_runs_are_compared_as_the_command_line_does(command_line, folders):
    def run(*arguments):
        process = command_line("compare", "--format", "json", *arguments)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    data, predictions, better = folders
    line = ["--data", data, "--baseline", predictions, "--predictions", better]
    expected = run(*line)
    assert mlqa_eval.compare(data, predictions, better) == expected
    assert mlqa_eval.compare(*(load_pairs(folder) for folder in folders)) == expected
    assert {row["metric"] for row in expected} == {"f1", "em"}
    by_seeds = run("--data", data, "--baseline", f"{predictions},{better}", "--predictions", better,
                  "--samples", 200, "--level", 0.9, "--seed", 3, "--norm", "squad")
    assert mlqa_eval.compare(
        data, [predictions, load_pairs(better)], better, resamples=200, level=0.9, seed=3, norm="squad"
    ) == by_seeds
    files = [folder / "test-context-en-question-en.json" for folder in folders]
    line = ["--data", files[0], "--language", "en", "--baseline", files[1], "--predictions", files[2]]
    expected = run(*line)
    assert mlqa_eval.compare(*files, "en") == expected
    inputs = [load_pairs(folder, rows=k > 0)[PAIRS[0]] for k, folder in enumerate(folders)]
    actual = mlqa_eval.compare(*inputs, "en")
    assert [{**row, "data": expected[0]["data"]} for row in actual] == expected
    with pytest.raises(ValueError, match="needs lang"):
        mlqa_eval.compare(*files)
    with pytest.raises(ValueError, match="predictions: an empty list"):
        mlqa_eval.compare(files[0], [], files[2], "en")
