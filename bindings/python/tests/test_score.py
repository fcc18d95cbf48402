"""Compares scores with the output of `mlqa-eval score`."""

import gzip
import json
import warnings

import mlqa_eval
import numpy as np
import pytest

LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]


def official_scores(result):
    return {key: result[key] for key in ("exact_match", "f1")}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_scores_equal_the_command_lines(fixtures, printed_scores, tmp_path, lang):
    folder = fixtures / "scorer" / lang
    files = folder / "dataset.json", folder / "predictions.json"
    per_question = tmp_path / "per-question.json"
    expected = printed_scores(*files, lang, "--per-question", per_question)
    result = mlqa_eval.score(*files, lang, per_question=True)
    assert official_scores(result) == expected
    assert result["per_question"] == json.loads(per_question.read_text())
    assert result["questions"] == len(result["per_question"])
    unanswered = [id for id, scores in result["per_question"].items() if not scores["answered"]]
    assert result["unanswered"] == unanswered


def test_squad_rules_need_no_language(fixtures, printed_scores):
    files = fixtures / "scorer/de/dataset.json", fixtures / "scorer/de/predictions.json"
    result = mlqa_eval.score(*files, norm="squad")
    assert official_scores(result) == printed_scores(*files, "--norm", "squad")
    assert official_scores(result) != official_scores(mlqa_eval.score(*files, "de"))
    with pytest.raises(ValueError, match="needs lang"):
        mlqa_eval.score(*files)
    with pytest.raises(ValueError, match="norm=\"bleu\""):
        mlqa_eval.score(*files, "de", norm="bleu")


def test_files_paths_and_loaded_data_give_equal_scores(fixtures, tmp_path):
    folder = fixtures / "scorer/zh"
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    predictions = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    expected = mlqa_eval.score(folder / "dataset.json", folder / "predictions.json", "zh")
    assert mlqa_eval.score(dataset, predictions, "zh") == expected
    packed = tmp_path / "dataset.json.gz"
    packed.write_bytes(gzip.compress((folder / "dataset.json").read_bytes()))
    assert mlqa_eval.score(str(packed), predictions, "zh") == expected


def test_errors_equal_the_command_lines(command_line, fixtures, tmp_path):
    dataset = fixtures / "scorer/de/dataset.json"
    bad = tmp_path / "bad.json"
    bad.write_text('{"q1": 1}')
    for predictions, kind in [(bad, ValueError), (tmp_path / "absent.json", FileNotFoundError)]:
        process = command_line("score", dataset, predictions, "de")
        with pytest.raises(kind) as raised:
            mlqa_eval.score(dataset, predictions, "de")
        assert process.returncode == 2
        assert process.stderr == f"error: {raised.value}\n"
    with pytest.raises(ValueError, match="deutsch"):
        mlqa_eval.score(dataset, {}, "deutsch!")
    bad.write_text(json.dumps({"data": [{"paragraphs": [{"context": "a", "qas": []}, {"\x1b[2J": 1}]}]}))
    with pytest.raises(ValueError) as raised:
        mlqa_eval.score(bad, {}, "de")
    assert str(raised.value).isprintable()


def test_notes_of_the_command_line_are_warnings(fixtures, tmp_path):
    folder = fixtures / "scorer/de"
    with pytest.warns(UserWarning, match="not one of MLQA's"):
        mlqa_eval.score(folder / "dataset.json", folder / "predictions.json", "fr")


@pytest.mark.parametrize("data, message_part", [
    ({"q1": "a", "q2": None}, "question `q2`: expected its answer, a str, got None"),
    ({"q1": 3}, "question `q1`: expected its answer, a str, got int"),
    ({"q1": ["a"]}, "question `q1`: expected its answer, a str, got list"),
    ({"q\n1": float("nan")}, r"question `q\n1`: expected its answer, a str, got float"),
    ({"q1": "\ud800"}, "question `q1`"),
    ({3: "a"}, "predictions: 3: expected a question's id, a str"),
    ([{"id": "q7"}], "row 1: question `q7`: missing field `prediction_text`"),
    ([{"id": "q7", "prediction_text": 1}], "question `q7`: `prediction_text`: expected a str, got int"),
    ([{"id": "q7", "prediction_text": "a"}] * 2, "row 2: question `q7` has two predictions"),
    ([{"prediction_text": "a"}], "row 1: missing field `id`"),
    ([{"id": "q7", "prediction_text": "", "no_answer_probability": "x"}],
     "question `q7`: `no_answer_probability`: expected a number, got str"),
    (["a"], "row 1: expected a mapping, got str"),
    (3, "got int"),
    (None, "got NoneType"),
])
def test_invalid_predictions_are_reported(fixtures, data, message_part):
    with pytest.raises(ValueError) as raised:
        mlqa_eval.score(fixtures / "scorer/de/dataset.json", data, "de")
    message = str(raised.value)
    assert message_part in message and message.startswith("predictions: ") and "\n" not in message


def squad_data(**more):
    qa = {"id": "q", "question": "?", "answers": [{"text": "a", "answer_start": 0}], **more}
    return {"data": [{"paragraphs": [{"context": "a", "qas": [qa]}]}]}


def nested_data(depth):
    data = squad_data()
    for _ in range(depth):
        data = [data]
    return data


def make_row(**more):
    answers = {"text": ["a"], "answer_start": [0]}
    return {"id": "q", "question": "?", "context": "a", "answers": answers, **more}


@pytest.mark.parametrize("data, message_part", [
    (squad_data(question="\udc00"), "data[0]: paragraphs[0].qas[0]: question `q`: `question`: an unpaired surrogate"),
    (squad_data(answers=3), "question `q`: `answers`: expected lists `text` and `answer_start`, or a list"),
    (squad_data(answers=[{"text": "a"}]), "question `q`: `answers`: missing field `answer_start`"),
    (squad_data(answers=["a"]), "question `q`: `answers`: expected a mapping, got str"),
    (squad_data(id=None), "data[0]: paragraphs[0].qas[0]: missing field `id`"),
    (nested_data(100_000), "row 1: expected a mapping, got list"),
    ({"data": [{"id": "q", "context": "a", "question": "?"}]},
     "row 1: question `q`: missing field `answers`"),
    ({"data": 3}, "expected a file, the result of json.load, or rows, got int"),
    ({"q": "a"}, "expected a file, the result of json.load, or rows, got dict"),
    ([make_row(), make_row(id=3, answers={"text": ["a"], "answer_start": []})],
     "row 2: question `3`: `answers`: 1 in `text`, 0 in `answer_start`"),
    ([make_row(answers={"text": ["a"], "answer_start": [-2]})],
     "question `q`: `answers`: expected a number of code points, or -1, got -2"),
    ([make_row(answers={"text": "a", "answer_start": [0]})], "question `q`: `answers`: expected lists"),
    ([make_row(context=b"a")], "row 1: question `q`: `context`: expected a str, got bytes"),
    ([make_row(), make_row()], "question id `q` occurs twice"),
    (3, "expected a file, the result of json.load, or rows, got int"),
])
def test_invalid_data_is_reported(data, message_part):
    with pytest.raises(ValueError) as raised:
        mlqa_eval.score(data, {}, "de")
    message = str(raised.value)
    assert message_part in message and message.startswith("dataset: ") and "\n" not in message


def test_unused_fields_may_have_any_value():
    expected = mlqa_eval.score([make_row()], {"q": "a"}, "de")
    assert expected["f1"] == 100
    for value in (float("nan"), np.zeros(2), object(), "\udc00"):
        assert mlqa_eval.score([make_row(unused=value)], {"q": "a"}, "de") == expected
        assert mlqa_eval.score(squad_data(unused=value), {"q": "a"}, "de") == expected
    with pytest.raises(ZeroDivisionError):
        mlqa_eval.score((make_row(k=1 / k) for k in (1, 0)), {"q": "a"}, "de")


def test_recursive_data_is_rejected():
    data = squad_data()
    data["data"].append(data)
    with pytest.raises(ValueError, match="dataset: "):
        mlqa_eval.score(data, {}, "de")


def test_rows_of_a_file_and_of_a_list_give_equal_scores(fixtures):
    folder = fixtures / "rows"
    predictions = json.loads((folder / "predictions.json").read_text())
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    result = mlqa_eval.score(folder / "questions.jsonl", predictions, "en")
    assert result["questions"] == len(rows)
    assert mlqa_eval.score(rows, predictions, "en") == result
    assert mlqa_eval.score(iter(rows), predictions, "en") == result


def test_parquet_files_are_question_files(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "questions.parquet"
    answers = "{'text': ['Lima'], 'answer_start': [0]}"
    row = f"'q' AS id, '' AS title, 'Lima is there.' AS context, 'Where?' AS question, {answers} AS answers"
    duckdb.sql(f"COPY (SELECT {row}) TO '{path}' (FORMAT parquet)")
    assert official_scores(mlqa_eval.score(path, {"q": "Lima"}, "en")) == {"exact_match": 100.0, "f1": 100.0}


def test_languages_are_case_insensitive(fixtures):
    folder = fixtures / "scorer/en"
    files = folder / "dataset.json", folder / "predictions.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mlqa_eval.score(*files, "EN") == mlqa_eval.score(*files, "en")


def test_each_language_has_its_score(printed_scores, tmp_path):
    ids = ["english-11-1", "arabic-23-0", "finnish-3-0", "finnish-4-1"]
    answers = [{"text": "the house", "answer_start": 0}]
    qas = [{"id": id, "question": "?", "answers": answers} for id in ids]
    data = {"data": [{"paragraphs": [{"context": "the house", "qas": qas}]}]}
    predictions = dict.fromkeys(ids, "house")
    files = tmp_path / "tydi.json", tmp_path / "predictions.json"
    for file, content in zip(files, (data, predictions)):
        file.write_text(json.dumps(content))
    for options, line in [({}, []), ({"norm": "squad"}, ["--norm", "squad"])]:
        result = mlqa_eval.score(data, predictions, **options)
        del result["unanswered"]
        assert result == printed_scores(*files, *line)
    assert mlqa_eval.score(data, predictions)["languages"]["en"]["exact_match"] == 100
    with pytest.raises(ValueError, match="several languages"):
        mlqa_eval.score(data, predictions, "en")
