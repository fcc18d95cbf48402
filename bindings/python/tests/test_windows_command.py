"""Compares windows and answers with the output of `mlqa-eval windows` and `mlqa-eval decode`."""

import json

import mlqa_eval
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

LENGTHS = {"max_length": 96, "doc_stride": 24, "max_question_length": 32}


@pytest.mark.parametrize("lang, compatible", [("ar", None), ("zh", None), ("ar", "run_qa")])
def test_rows_and_answers_equal_the_command_lines(
    command_line, fixtures, tmp_path, lang, compatible
):
    dataset = fixtures.parents[2] / f"data/xquad/xquad.{lang}.json"
    tokenizer = fixtures / "tokenizer.json"
    # run_qa does not truncate questions.
    config = LENGTHS | ({"compatible": compatible, "max_length": 160} if compatible else {})
    options = [f"--{name.replace('_', '-')}={value}" for name, value in config.items()]

    def run(command, *arguments):
        process = command_line(command, dataset, "--tokenizer", tokenizer, *options, *arguments)
        assert process.returncode == 0, process.stderr

    inputs = mlqa_eval.windows(dataset, tokenizer, **config)
    run("windows", "--out", tmp_path / "windows.safetensors")
    rows = load_file(tmp_path / "windows.safetensors")
    for name in ("input_ids", "attention_mask", "question"):
        assert np.array_equal(getattr(inputs, name), rows[name]), name

    random = np.random.default_rng(17)
    start, end = random.normal(size=(2, *inputs.input_ids.shape)).astype(np.float32)
    logits = {"start_logits": start, "end_logits": end}
    save_file(logits, tmp_path / "logits.safetensors")
    files = tmp_path / "predictions.json", tmp_path / "n_best.json"
    logits_option = ["--logits", tmp_path / "logits.safetensors"]
    run("decode", *logits_option, "--out", files[0], "--n-best", files[1])
    predictions, lists = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert mlqa_eval.decode(inputs, start, end) == predictions
    actual = mlqa_eval.n_best(inputs, start, end)
    assert actual.keys() == lists.keys()
    for id, one in lists.items():
        texts = [candidate["text"] for candidate in actual[id]["candidates"]]
        assert texts == [candidate["text"] for candidate in one["candidates"]]
    if compatible:
        assert inputs.input_ids.shape[1] == config["max_length"]
        # Lists of run_qa may contain a text several times, once per span.
        texts = [[one["text"] for one in actual[id]["candidates"]] for id in actual]
        assert any(len(set(list)) < len(list) for list in texts)
