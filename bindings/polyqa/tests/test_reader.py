"""Compares the reader with the program's JSON lines, and tests its arguments."""

import copy
import json
import multiprocessing
import pickle
import shutil
import signal
import sys
import threading
import time

import polyqa
import pytest

TEXTS = [
    "👩‍🚀 e\u0301\u0323 Lima is the capital of Peru.\r\nIt lies on the coast. 🇵🇪",
    "Quito est la capitale de l'Équateur.",
    "利马是秘鲁的首都。",
]
FLOATS = {"probability", "score", "null_probability"}


def assert_close(actual, expected):
    """Compares results up to rounding, because the program uses faster matmul kernels."""
    if isinstance(actual, dict):
        assert list(actual) == list(expected)
        for key, value in actual.items():
            if key in FLOATS:
                assert value == pytest.approx(expected[key], rel=1e-4, abs=1e-5), key
            else:
                assert_close(value, expected[key])
    elif isinstance(actual, list):
        assert len(actual) == len(expected)
        for pair in zip(actual, expected):
            assert_close(*pair)
    else:
        assert actual == expected and type(actual) is type(expected)


def to_squad(questions):
    return {"data": [
        {"title": item["title"], "paragraphs": [{"context": item["context"], "qas": [
            {"id": item["id"], "question": item["question"]}
        ]}]}
        for item in questions
    ]}


@pytest.fixture(scope="module")
def questions():
    texts = [text * 20 for text in TEXTS]
    return [
        {"id": f"q{k}", "title": f"t{k}", "question": f"Where {k}?", "context": texts[k % 3]}
        for k in range(7)
    ]


def test_answers_equal_the_command_lines(reader, model, command_line, tmp_path):
    rows = [{"id": f"d{k}", "text": text} for k, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for options in [{}, {"answers": 1, "max_length": 64, "doc_stride": 8, "max_answer_length": 3,
                         "null_threshold": -1e9, "batch_size": 2}]:
        options_line = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        process = command_line("polyqa", "answer", "--model", model, "-q", "Wo liegt Lima?", "--json",
                               "--device", "cpu", *options_line, tmp_path / "rows.jsonl")
        assert process.returncode == 0, process.stderr
        with_options = polyqa.Reader(model, device="cpu", **options) if options else reader
        result = with_options.answer(" Wo liegt Lima?", rows)
        assert_close(result, json.loads(process.stdout))
        assert len(result["answers"]) == options.get("answers", 3)
        assert result["no_answer"] is bool(options)


def test_questions_with_contexts_are_answered_in_batches(
    reader, model, command_line, tmp_path, questions
):
    (tmp_path / "dev.json").write_text(json.dumps(to_squad(questions)))
    process = command_line("polyqa", "answer", "--model", model, "--json", "--device", "cpu",
                           "--questions", tmp_path / "dev.json")
    assert process.returncode == 0, process.stderr
    result = reader.answer(questions)
    assert_close(result, [json.loads(line) for line in process.stdout.splitlines()])
    assert [item["id"] for item in result] == [item["id"] for item in questions]
    without_ids = [{key: item[key] for key in ("question", "context")} for item in questions]
    answers = reader.answer(without_ids)
    assert all("id" not in item for item in answers)
    assert [item["answers"][0]["text"] for item in answers] == [
        item["answers"][0]["text"] for item in result
    ]
    assert reader.answer([without_ids[0] | {"id": 7}])[0]["id"] == "7"


def test_offsets_refer_to_the_text(reader):
    result = reader.answer("Where?", TEXTS)
    assert result["question"] == "Where?" and "id" not in result
    for item in result["answers"]:
        text = TEXTS[int(item["document"])]
        assert text[item["start"]:item["end"]] == item["text"]
        assert text.encode()[item["start_byte"]:item["end_byte"]].decode() == item["text"]
        offset = item["start_in_sentence"]
        length = len(item["text"])
        assert item["sentence"][offset:offset + length] == item["text"]
    single = reader.answer("Where?", TEXTS[0])
    assert single["answers"] and {item["document"] for item in single["answers"]} == {"0"}
    assert single == reader.answer("Where?", [TEXTS[0]])


def test_an_empty_document_has_no_answer(reader):
    result = reader.answer("Where?", [{"id": "void", "text": ""}, " \n"])
    assert result["answers"] == [] and result["no_answer"] is True


@pytest.mark.parametrize("arguments, message_part", [
    ((" ", "a"), "question: must not be empty"),
    (("a",), "a question of type str needs documents"),
    (("a", []), "documents: must not be empty"),
    (("a", 3), "documents: expected a str or a list, got int"),
    (("a", {"id": "1", "text": "b"}), "documents: expected a str or a list, got dict"),
    (("a", ["b", 3]), "documents[1]: expected a str, got int"),
    (("a", [{"id": "b"}]), "documents[0]: text is missing"),
    (("a", [{"id": [], "text": "b"}]), "documents[0]: id: expected a str, got list"),
    (("a", ["\udc00"]), "documents[0]: an unpaired surrogate"),
    ((3, "a"), "documents are only supported"),
    ((3,), "question: expected a str, or a list without documents, got int"),
    (([],), "question: must not be empty"),
    ((["a"],), 'question[0]: expected {"question": …, "context": …}, got str'),
    (([{"id": "x\ny", "question": "a"}],), "question `x\\ny`: context is missing"),
    (([{"question": "a", "context": "b"}, {"context": "b"}],), "question[1]: question is missing"),
    (([{"id": "x", "question": "", "context": "b"}],), "question `x`: must not be empty"),
])
def test_invalid_arguments_are_reported(reader, arguments, message_part):
    with pytest.raises(ValueError) as raised:
        reader.answer(*arguments)
    assert message_part in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("options, message_part", [
    ({"batch_size": 0}, "batch_size=0: must be from 1 to"),
    ({"answers": -1}, "answers=-1: must be from 1 to"),
    ({"max_length": 9}, "max_length"),
    ({"max_answer_length": 2**40}, "max_answer_length=1099511627776: must be from 1"),
    ({"device": "tpu"}, "tpu"),
    ({"device": "cuda:99"}, "cuda:99"),
    ({"precision": "fp8"}, 'precision "fp8": must be one of auto, f32, bf16, f16, int8'),
    ({"precision": "f16"}, 'precision "f16": needs a CUDA device'),
])
def test_options_are_checked(model, options, message_part):
    with pytest.raises(ValueError) as raised:
        polyqa.Reader(model, **{"device": "cpu"} | options)
    assert message_part in str(raised.value) and "\n" not in str(raised.value)


def test_invalid_model_folders_are_reported(model, tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        polyqa.Reader("nowhere")
    with pytest.raises(ValueError, match="tokenizer"):
        polyqa.Reader(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="config.json") as raised:
        polyqa.Reader(tmp_path)
    assert "\n" not in str(raised.value)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not the configuration of a model"):
        polyqa.Reader(tmp_path)


def test_the_model_is_optional(model, reader, monkeypatch, tmp_path):
    monkeypatch.setenv("POLYQA_MODEL", str(model))
    by_variable = polyqa.Reader(device="cpu")
    assert answers(by_variable) == answers(reader) and str(model) in repr(by_variable)
    monkeypatch.setenv("POLYQA_MODEL", "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        polyqa.Reader()
    # A reader in the package; pickle does not store its path.
    monkeypatch.setenv("POLYQA_MODEL", "")
    shutil.copytree(model, tmp_path / "reader")
    monkeypatch.setattr(polyqa, "__file__", str(tmp_path / "__init__.py"))
    by_package = polyqa.Reader(device="cpu")
    assert str(tmp_path / "reader") in repr(by_package)
    copied = pickle.loads(pickle.dumps(by_package))
    assert answers(copied) == answers(reader)
    assert by_package.__getnewargs_ex__()[0] == (None,)


def test_bfloat16_answers_are_close(reader, model, questions):
    bf16_reader = polyqa.Reader(model, device="cpu", precision="bf16")
    for actual, expected in zip(bf16_reader.answer(questions), reader.answer(questions)):
        assert actual["null_probability"] == pytest.approx(expected["null_probability"], abs=0.1)


def answers(reader):
    """Returns answers; a module function, so that other processes can call it."""
    return reader.answer("Where?", TEXTS)


@pytest.mark.parametrize("duplicate", [
    copy.copy,
    copy.deepcopy,
    *(lambda reader, p=p: pickle.loads(pickle.dumps(reader, p)) for p in range(2, 6)),
])
def test_a_reader_is_the_same_after_pickle_and_copy(model, duplicate):
    original = polyqa.Reader(str(model), device="cpu", precision="int8", answers=2, null_threshold=-1e9)
    copied = duplicate(original)
    assert copied is not original and answers(copied) == answers(original)
    assert repr(copied) == repr(original) == f"<Reader: {model}, cpu, int8>"


def test_a_reader_can_be_sent_to_other_processes(reader):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert_close(pool.map(answers, [reader])[0], answers(reader))


def test_threads_share_a_reader(reader, questions):
    expected, results = reader.answer(questions), []
    threads = [
        threading.Thread(target=lambda: results.append(reader.answer(questions))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected, expected]


def test_other_threads_run_concurrently(reader, questions):
    """Sets a long switch interval: threads switch only if one releases the interpreter's lock."""
    turns, observed = [0], []

    def work():
        observed.append(turns[0])
        reader.answer(questions)
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


def test_an_interrupt_stops_a_long_call(reader):
    """Without the signal, the call would take minutes."""
    texts = (f"{number} {TEXTS[0] * 50}" for number in range(20_000))
    documents = list(texts)
    threading.Timer(1, signal.raise_signal, [signal.SIGINT]).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        reader.answer("Where?", documents)
    assert time.monotonic() - start < 60
    assert reader.answer("Where?", TEXTS)["answers"]
