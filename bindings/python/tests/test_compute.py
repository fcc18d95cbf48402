"""Tests of `compute`, whose inputs are rows as for `evaluate`; compares all digits with `mlqa-eval`."""

import json
import random

import mlqa_eval
import numpy as np
import pytest


@pytest.fixture(scope="module")
def german_inputs(fixtures):
    """References and predictions as rows, predictions as a dict, and the question file."""
    files = fixtures / "scorer/de/dataset.json", fixtures / "scorer/de/predictions.json"
    data, predictions = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    qas = [
        qa for item in data["data"] for paragraph in item["paragraphs"] for qa in paragraph["qas"]
    ]
    references = [{"id": qa["id"], "answers": to_columns(qa["answers"])} for qa in qas]
    for qa in qas:
        predictions.setdefault(qa["id"], "")
    rows = [{"id": id, "prediction_text": text} for id, text in predictions.items()]
    return references, rows, predictions, files[0]


def to_columns(answers):
    return {key: [item[key] for item in answers] for key in ("text", "answer_start")}


class Table:
    """Iterates over rows like a `datasets.Dataset`: mappings that are not dicts."""

    class Row:
        def __init__(self, row):
            self.row = row

        def __getitem__(self, key):
            return self.row[key]

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return map(self.Row, self.rows)


def test_every_input_format_equals_the_command_line(german_inputs, printed_scores, tmp_path):
    references, rows, predictions, dataset = german_inputs
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps(predictions))
    for options, line in [({"lang": "de"}, ["de"]), ({"norm": "squad"}, ["--norm", "squad"])]:
        expected = printed_scores(dataset, file, *line)
        result = mlqa_eval.compute(predictions=rows, references=references, **options)
        assert {key: result[key] for key in expected} == expected
        assert result.keys() == {*expected, "questions"}
        arrays = [
            {**row, "answers": {key: np.array(values) for key, values in row["answers"].items()}}
            for row in references
        ]
        extra_fields = [{**row, "context": "", "question": "?", "title": None, "x": object()}
                for row in references]
        for input in (Table(references), iter(references), tuple(references), arrays, extra_fields):
            assert mlqa_eval.compute(rows, input, **options) == result
        for input in (predictions, Table(rows), iter(rows), file):
            assert mlqa_eval.compute(input, references, **options) == result


def random_squad2(seed):
    """Returns questions, some without an answer, as a file and as rows, and predictions as rows."""
    draw = random.Random(seed)
    words = "the red house a dog an apple tree of gold".split()
    qas, references, rows = [], [], []
    for k in range(60):
        gold = [" ".join(draw.choices(words, k=draw.randint(1, 3))) for _ in range(draw.randint(0, 2))]
        prediction = draw.choice([*gold, "", " ".join(draw.choices(words, k=2))])
        answers = [{"text": text, "answer_start": 0} for text in gold]
        qas.append({"id": f"q{k}", "question": "?", "answers": answers})
        references.append({"id": f"q{k}", "answers": to_columns(answers)})
        odds = draw.choice([draw.random(), 0, 1.5])
        row = {"id": f"q{k}", "prediction_text": prediction, "no_answer_probability": odds}
        rows.append(row)
    return {"data": [{"paragraphs": [{"context": "", "qas": qas}]}]}, references, rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [1.0, 0.3, -1])
def test_squad_2_equals_the_command_line(command_line, tmp_path, seed, threshold):
    data, references, rows = random_squad2(seed)
    files = tmp_path / "dev-v2.0.json", tmp_path / "rows.json"
    for file, content in zip(files, (data, rows)):
        file.write_text(json.dumps(content))
    process = command_line("score", "--squad2", *files, "--null-threshold", threshold)
    assert process.returncode == 0, process.stderr
    options = {"norm": "squad2", "no_answer_threshold": threshold}
    result = mlqa_eval.compute(rows, references, **options)
    assert list(result.items()) == list(json.loads(process.stdout).items())
    assert list(result) == [
        "exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total", "NoAns_exact",
        "NoAns_f1", "NoAns_total", "best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh",
    ]
    for dataset in (references, data, files[0]):
        expected = {**result, "unanswered": []}
        assert mlqa_eval.score(dataset, rows, **options) == expected
    plain = {row["id"]: row["prediction_text"] for row in rows}
    assert "best_f1" not in mlqa_eval.compute(plain, references, norm="squad2")


def test_each_reference_needs_a_prediction(german_inputs):
    references, rows, _, _ = german_inputs
    missing = rows[3]["id"]
    incomplete = [row for row in rows if row["id"] != missing]
    for norm in ("squad", "squad2"):
        with pytest.raises(ValueError) as raised:
            mlqa_eval.compute(incomplete, references, norm=norm)
        assert str(raised.value) == f"references: question `{missing}` has no prediction"
        assert mlqa_eval.score(references, incomplete, norm=norm)["unanswered"] == [missing]
    with pytest.raises(ValueError, match=f"references: question id `{missing}` occurs twice"):
        duplicate = next(item for item in references if item["id"] == missing)
        mlqa_eval.compute(rows, [*references, duplicate], norm="squad")
    odds = [{**row, "no_answer_probability": 0.5} for row in rows[1:]]
    with pytest.raises(ValueError, match=f"without `{rows[0]['id']}`"):
        mlqa_eval.compute([rows[0], *odds], references, norm="squad2")
    with pytest.raises(ValueError, match="norm=\"mlqa\" needs lang"):
        mlqa_eval.compute(rows, references)
    for options in ({"per_question": True}, {"interval": True}):
        with pytest.raises(ValueError, match="squad2"):
            mlqa_eval.compute(rows, references, norm="squad2", **options)


def test_intervals_equal_the_command_lines(german_inputs, printed_scores, tmp_path):
    references, rows, predictions, dataset = german_inputs
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps(predictions))
    expected = printed_scores(dataset, file, "de", "--intervals")
    assert mlqa_eval.compute(rows, references, lang="de", interval=True) == expected
    line = ["--samples", 50, "--level", 0.8, "--seed", 7]
    expected = printed_scores(dataset, file, "de", "--intervals", *line)
    options = {"resamples": 50, "level": 0.8, "seed": 7}
    result = mlqa_eval.score(dataset, file, "de", **options)
    assert result == {**expected, "unanswered": []}
    for invalid_options, message_part in [({"resamples": -1}, "resamples=-1: must be"), ({"resamples": 0}, "samples = 0"),
                       ({"interval": True, "level": 1}, "level = 1")]:
        with pytest.raises(ValueError, match=message_part):
            mlqa_eval.compute(rows, references, lang="de", **invalid_options)
