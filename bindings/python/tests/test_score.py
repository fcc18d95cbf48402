"""Scores beside those of the command line."""

import gzip
import json

import mlqa_eval
import pytest

LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]


def official(result):
    return {key: result[key] for key in ("exact_match", "f1")}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_digit_of_the_command_line(fixtures, scored, tmp_path, lang):
    folder = fixtures / "scorer" / lang
    files = folder / "dataset.json", folder / "predictions.json"
    per_question = tmp_path / "per-question.json"
    expected = scored(*files, lang, "--per-question", per_question)
    result = mlqa_eval.score(*files, lang, per_question=True)
    assert official(result) == expected
    assert result["per_question"] == json.loads(per_question.read_text())
    assert result["questions"] == len(result["per_question"])
    unanswered = [id for id, one in result["per_question"].items() if not one["answered"]]
    assert result["unanswered"] == unanswered


def test_squad_rules_need_no_language(fixtures, scored):
    files = fixtures / "scorer/de/dataset.json", fixtures / "scorer/de/predictions.json"
    result = mlqa_eval.score(*files, norm="squad")
    assert official(result) == scored(*files, "--norm", "squad")
    assert official(result) != official(mlqa_eval.score(*files, "de"))
    with pytest.raises(ValueError, match="needs lang"):
        mlqa_eval.score(*files)
    with pytest.raises(ValueError, match="norm=\"bleu\""):
        mlqa_eval.score(*files, "de", norm="bleu")


def test_files_texts_and_loaded_data_are_the_same(fixtures, tmp_path):
    folder = fixtures / "scorer/zh"
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    predictions = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    expected = mlqa_eval.score(folder / "dataset.json", folder / "predictions.json", "zh")
    assert mlqa_eval.score(dataset, predictions, "zh") == expected
    packed = tmp_path / "dataset.json.gz"
    packed.write_bytes(gzip.compress((folder / "dataset.json").read_bytes()))
    assert mlqa_eval.score(str(packed), predictions, "zh") == expected


def test_errors_are_those_of_the_command_line(command_line, fixtures, tmp_path):
    dataset = fixtures / "scorer/de/dataset.json"
    bad = tmp_path / "bad.json"
    bad.write_text('{"q1": 1}')
    for predictions, kind in [(bad, ValueError), (tmp_path / "absent.json", FileNotFoundError)]:
        done = command_line("score", dataset, predictions, "de")
        with pytest.raises(kind) as raised:
            mlqa_eval.score(dataset, predictions, "de")
        assert done.returncode == 2
        assert done.stderr == f"error: {raised.value}\n"
    with pytest.raises(ValueError, match="deutsch"):
        mlqa_eval.score(dataset, {}, "deutsch!")
    with pytest.raises(TypeError):
        mlqa_eval.score(dataset, {"q1": 1}, "de")


def test_what_the_command_line_notes_is_a_warning(fixtures, tmp_path):
    folder = fixtures / "scorer/de"
    with pytest.warns(UserWarning, match="none of MLQA's"):
        mlqa_eval.score(folder / "dataset.json", folder / "predictions.json", "fr")
