"""Tests of windows and decoding with numpy arrays."""

import copy
import json
import multiprocessing
import pickle
import sys
import threading
import time

import mlqa_eval
import numpy as np
import pytest

PAD = 1  # padding id of the fixture tokenizer
LENGTHS = {"max_question_length": 24}


@pytest.fixture(scope="module")
def tokenizer(fixtures):
    return fixtures / "tokenizer.json"


@pytest.fixture(scope="module")
def xquad(fixtures):
    return fixtures.parents[2] / "data/xquad/xquad.de.json"


@pytest.fixture(scope="module")
def dataset(xquad, tmp_path_factory):
    """A question file with two articles."""
    data = json.loads(xquad.read_text(encoding="utf-8"))
    data["data"] = data["data"][:2]
    file = tmp_path_factory.mktemp("data") / "dataset.json"
    file.write_text(json.dumps(data))
    return file


@pytest.fixture(scope="module")
def train_inputs(dataset, tokenizer):
    return mlqa_eval.windows(
        dataset, tokenizer, max_length=64, doc_stride=16, max_question_length=24, train=True
    )


def gold_logits(inputs):
    """Returns logits whose maximum is at the gold answers."""
    start, end = np.zeros((2, *inputs.input_ids.shape), np.float32)
    rows = np.arange(len(inputs))
    start[rows, inputs.start_positions] = 9
    end[rows, inputs.end_positions] = 9
    return start, end


def test_rows_are_padded_to_the_longest(train_inputs):
    ids, mask, types = train_inputs.input_ids, train_inputs.attention_mask, train_inputs.token_type_ids
    assert ids.shape == mask.shape == types.shape
    assert ids.dtype == mask.dtype == types.dtype == np.int64
    assert len(train_inputs) == len(ids) and 40 < ids.shape[1] <= 64
    lengths = mask.sum(axis=1)
    assert lengths.max() == ids.shape[1] and lengths.min() < ids.shape[1]
    for row, length in zip(ids, lengths):
        assert row[0] == 0 and row[length - 1] == 2  # <s> … </s>
        assert (row[length:] == PAD).all() and not (row[:length] == PAD).any()
    assert (mask[:, 1:] <= mask[:, :-1]).all() and not types.any()


def test_windows_contain_their_questions(dataset, tokenizer, train_inputs):
    data = json.loads(dataset.read_text(encoding="utf-8"))
    paragraphs = [one for article in data["data"] for one in article["paragraphs"]]
    assert train_inputs.ids == [qa["id"] for one in paragraphs for qa in one["qas"]]
    assert set(train_inputs.question) == set(range(len(train_inputs.ids)))
    assert (np.diff(train_inputs.question) >= 0).all()
    inputs = mlqa_eval.windows(dataset, tokenizer)
    assert inputs.start_positions is None and inputs.end_positions is None
    assert len(inputs) < len(train_inputs)


def test_perfect_logits_give_the_gold_answers(dataset, printed_scores, tmp_path, train_inputs):
    predictions = mlqa_eval.decode(train_inputs, *gold_logits(train_inputs), max_answer_length=64)
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps(predictions))
    result = printed_scores(dataset, file, "de")
    assert result["f1"] > 95
    actual = mlqa_eval.score(dataset, predictions, "de")
    assert {key: actual[key] for key in result} == result


def test_the_best_of_n_is_the_answer(train_inputs):
    random = np.random.default_rng(0)
    start, end = random.normal(size=(2, *train_inputs.input_ids.shape)).astype(np.float32)
    lists = mlqa_eval.n_best(train_inputs, start, end, n_best=5)
    predictions = mlqa_eval.decode(train_inputs, start, end, n_best=5)
    assert list(lists) == train_inputs.ids
    assert {id: one["candidates"][0]["text"] for id, one in lists.items()} == predictions
    for one in lists.values():
        assert not one["null"] and len(one["candidates"]) <= 5
        for candidate in one["candidates"]:
            row = candidate["window"]
            assert candidate["start_logit"] == start[row, candidate["start"]]
            assert candidate["end_logit"] == end[row, candidate["end"]]
            assert candidate["score"] == np.float32(
                start[row, candidate["start"]] + end[row, candidate["end"]]
            )


@pytest.mark.parametrize("options", [{}, {"compatible": "run_qa", "max_length": 160}])
@pytest.mark.parametrize("allow_null", [None, 0.5])
def test_arrays_equal_lists(dataset, tokenizer, options, allow_null):
    inputs = mlqa_eval.windows(dataset, tokenizer, **{"max_length": 64, "doc_stride": 16, **LENGTHS, **options})
    random = np.random.default_rng(1)
    logits = random.normal(size=(2, *inputs.input_ids.shape)).astype(np.float32)
    decoding = {"n_best": 7, "allow_null": allow_null}
    lists = mlqa_eval.n_best(inputs, *logits, **decoding)
    candidates, questions = mlqa_eval.n_best_arrays(inputs, *logits, **decoding)
    assert {len(array) for array in candidates.values()} == {questions["last"][-1]}
    spans = (candidates[key] for key in ("question", "answer_start", "answer_end"))
    texts = inputs.texts(*spans)
    for k, (id, one) in enumerate(lists.items()):
        assert id == inputs.ids[k] and one["null"] == questions["null"][k]
        assert one["null_score"] == questions["null_score"][k]
        first, last = questions["first"][k], questions["last"][k]
        assert last - first == len(one["candidates"])
        for at, candidate in zip(range(first, last), one["candidates"]):
            assert candidates["question"][at] == k
            text = candidate.pop("text")
            assert texts[at] == ("" if candidate["end"] == 0 else text)
            assert {key: candidates[key][at] for key in candidate} == candidate
    types = {key: str(array.dtype) for key, array in {**candidates, **questions}.items()}
    floats = ("score", "start_logit", "end_logit", "null_score")
    assert {key for key, kind in types.items() if kind == "float32"} == set(floats)
    assert types["probability"] == "float64" and types["null"] == "bool"
    assert {kind for key, kind in types.items() if key not in (*floats, "probability", "null")} == {"int64"}
    # `decode` selects answers without building the lists.
    assert mlqa_eval.decode(inputs, *logits, **decoding) == {
        id: "" if one["null"] else next((text for text in texts[first:last] if text), "empty")
        for (id, one), first, last in zip(lists.items(), questions["first"], questions["last"])
    }


def test_texts_are_parts_of_contexts(tokenizer):
    rows = [{"id": "a", "question": "?", "context": "Ein Haus 家 屋", "answers": []}]
    inputs = mlqa_eval.windows(rows, tokenizer)
    assert inputs.texts([0, 0, 0], [4, 9, 0], [8, 12, 0]) == ["Haus", "家 屋", ""]
    for span in ([1], [0], [1]), ([0], [11], [13]), ([0], [3], [2]), ([-1], [0], [1]):
        with pytest.raises(ValueError, match="has no text"):
            inputs.texts(*span)
    with pytest.raises(ValueError, match="differ in length"):
        inputs.texts([0], [0, 1], [1])


def test_rows_are_accepted_as_questions(dataset, tokenizer):
    data = json.loads(dataset.read_text(encoding="utf-8"))
    rows = [
        {**qa, "context": paragraph["context"], "title": article["title"]}
        for article in data["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]
    ]
    expected = mlqa_eval.windows(dataset, tokenizer)
    for given in (data, rows, iter(rows)):
        inputs = mlqa_eval.windows(given, tokenizer)
        assert inputs.ids == expected.ids and (inputs.input_ids == expected.input_ids).all()
    for lacking in ("context", "question"):
        row = {key: value for key, value in rows[0].items() if key != lacking}
        with pytest.raises(ValueError, match=f"question `{row['id']}`: missing field `{lacking}`"):
            mlqa_eval.windows([row], tokenizer)
    moved = {**rows[0], "answers": [{"text": rows[0]["context"][3:9], "answer_start": 4}]}
    with pytest.raises(ValueError, match=f"question `{moved['id']}`: answer_start 4 should hold"):
        mlqa_eval.windows([moved], tokenizer, train=True)


def test_a_replaced_tokenizer_file_is_reloaded(dataset, tokenizer, tmp_path):
    other = tmp_path / "tokenizer.json"
    text = tokenizer.read_text(encoding="utf-8")
    other.write_text(text, encoding="utf-8")
    first = mlqa_eval.windows(dataset, tmp_path)
    assert (mlqa_eval.windows(dataset, other).input_ids == first.input_ids).all()
    tokenizer_json = json.loads(text)
    vocabulary = tokenizer_json["model"]["vocab"]
    vocabulary[10], vocabulary[11] = vocabulary[11], vocabulary[10]
    other.write_text(json.dumps(tokenizer_json, ensure_ascii=False), encoding="utf-8")
    second = mlqa_eval.windows(dataset, tmp_path)
    assert not (second.input_ids == first.input_ids).all()
    other.write_text("{}")
    with pytest.raises(ValueError, match="tokenizer.json"):
        mlqa_eval.windows(dataset, tmp_path)


def test_other_float_types_and_layouts_are_accepted(train_inputs):
    start, end = gold_logits(train_inputs)
    expected = mlqa_eval.decode(train_inputs, start, end)
    for other in (np.float16, np.float64):
        assert mlqa_eval.decode(train_inputs, start.astype(other), end.astype(other)) == expected
    assert mlqa_eval.decode(train_inputs, np.asfortranarray(start), end) == expected
    wider = [np.pad(one, ((0, 0), (0, 7)), constant_values=99) for one in (start, end)]
    assert mlqa_eval.decode(train_inputs, *wider) == expected


def test_invalid_logits_are_rejected(train_inputs):
    start, end = gold_logits(train_inputs)
    with pytest.raises(ValueError, match="rows of start_logits"):
        mlqa_eval.decode(train_inputs, start[1:], end)
    with pytest.raises(ValueError, match="end_logits"):
        mlqa_eval.decode(train_inputs, start, end[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        mlqa_eval.decode(train_inputs, start * np.nan, end)
    with pytest.raises(TypeError):
        mlqa_eval.decode(train_inputs, start[0], end)


def test_options_are_checked(dataset, tokenizer, tmp_path, train_inputs):
    with pytest.raises(ValueError, match='separator="triple": must be "template", "double" or'):
        mlqa_eval.windows(dataset, tokenizer, separator="triple")
    with pytest.raises(ValueError, match='compatible="squad": must be None or "run_qa"'):
        mlqa_eval.windows(dataset, tokenizer, compatible="squad")
    with pytest.raises(ValueError, match="train=True"):
        mlqa_eval.windows(dataset, tokenizer, train=True, compatible="run_qa")
    with pytest.raises(ValueError, match="max_length"):
        mlqa_eval.windows(dataset, tokenizer, max_length=0)
    with pytest.raises(FileNotFoundError, match="absent"):
        mlqa_eval.windows(dataset, tmp_path / "absent.json")
    one = mlqa_eval.windows(dataset, tokenizer, separator="single", segment_ids=True)
    assert [(row == 2).sum() for row in one.input_ids] == [2] * len(one)  # </s>
    template = mlqa_eval.windows(dataset, tokenizer)
    double = mlqa_eval.windows(dataset, tokenizer, separator="double")
    assert (template.input_ids == double.input_ids).all()
    assert one.token_type_ids.any(axis=1).all() and not one.token_type_ids[:, 0].any()
    answerable = mlqa_eval.windows(
        dataset, tokenizer, max_length=64, doc_stride=16, max_question_length=24, train=True,
        unanswerable_window="drop",
    )
    assert len(answerable) < len(train_inputs) and (answerable.start_positions > 0).all()


@pytest.mark.parametrize("count", [-1, 2**32, 2**70])
@pytest.mark.parametrize("name", ["max_length", "doc_stride", "max_question_length"])
def test_counts_of_windows_are_checked(dataset, tokenizer, name, count):
    with pytest.raises(ValueError, match=f"{name}={count}: must be from 0 to"):
        mlqa_eval.windows(dataset, tokenizer, **{name: count})


@pytest.mark.parametrize("count", [-1, 2**32, 2**70])
@pytest.mark.parametrize("name", ["n_best", "max_answer_length"])
def test_counts_of_answers_are_checked(train_inputs, name, count):
    for function in (mlqa_eval.decode, mlqa_eval.n_best):
        with pytest.raises(ValueError, match=f"{name}={count}: must be from 0 to"):
            function(train_inputs, *gold_logits(train_inputs), **{name: count})


ARRAYS = ["input_ids", "attention_mask", "token_type_ids", "question"]
POSITIONS = ["start_positions", "end_positions"]


def random_answers(inputs):
    """Returns the answers for random logits; a module function, so that other processes can call it."""
    random = np.random.default_rng(5)
    return mlqa_eval.n_best(inputs, *random.normal(size=(2, *inputs.input_ids.shape)))


@pytest.mark.parametrize("options", [{"train": True}, {}, {"compatible": "run_qa"}])
@pytest.mark.parametrize("duplicate", [
    copy.copy,
    copy.deepcopy,
    *(lambda inputs, p=p: pickle.loads(pickle.dumps(inputs, p)) for p in range(6)),
])
def test_windows_are_the_same_after_pickle_and_copy(dataset, tokenizer, options, duplicate):
    inputs = mlqa_eval.windows(dataset, tokenizer, **options)
    copied = duplicate(inputs)
    assert copied is not inputs and len(copied) == len(inputs) and copied.ids == inputs.ids
    for name in ARRAYS + POSITIONS * ("train" in options):
        assert (getattr(copied, name) == getattr(inputs, name)).all(), name
        shared = getattr(copied, name) is getattr(inputs, name)
        assert shared == (duplicate is copy.copy), name
    assert random_answers(copied) == random_answers(inputs)
    assert (copied.start_positions is None) == (not options.get("train"))
    assert repr(copied) == repr(inputs)


def test_windows_can_be_sent_to_other_processes(train_inputs):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(random_answers, [train_inputs]) == [random_answers(train_inputs)]


def test_damaged_windows_are_rejected(train_inputs):
    restore, (questions, *rest) = train_inputs.__reduce__()
    with pytest.raises(ValueError, match="saved windows"):
        restore(questions[:-1], *rest)
    with pytest.raises(ValueError, match="saved windows: damaged"):
        restore(questions, b"[", *rest[1:])


def test_windows_show_their_size(train_inputs):
    rows, length = train_inputs.input_ids.shape
    assert repr(train_inputs) == (
        f"<Windows: {len(train_inputs.ids)} questions, {rows} rows of {length} tokens>"
    )


def test_no_answer_is_selected_if_allowed(train_inputs):
    start, end = np.zeros((2, *train_inputs.input_ids.shape), np.float32)
    start[:, 0] = 5
    assert all(mlqa_eval.decode(train_inputs, start, end).values())
    assert set(mlqa_eval.decode(train_inputs, start, end, allow_null=0).values()) == {""}


def test_other_threads_run_concurrently(xquad, tokenizer):
    """Sets a long switch interval: threads switch only if one releases the interpreter's lock."""
    turns, observed = [0], []

    def work():
        observed.append(turns[0])
        mlqa_eval.windows(xquad, tokenizer)
        observed.append(turns[0])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        worker = threading.Thread(target=work)
        worker.start()
        while worker.is_alive():
            turns[0] += 1
            time.sleep(0)
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    before, after = observed
    assert after > before
