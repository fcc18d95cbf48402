"""Compares collections with the program's, and tests changes and their errors."""

import json
import pickle
import threading

import polyqa
import pytest
from test_reader import assert_close

DOCUMENTS = [
    {"id": "peru", "text": "\ufeffÉcrit: Lima is the capital of Peru.\x0cIt lies on the coast."},
    {"id": 7, "text": "Quito est la capitale de l'Équateur."},
    {"id": "利马", "text": "利马是秘鲁的首都。"},
]


@pytest.fixture
def library(tmp_path):
    library = polyqa.Collection(tmp_path / "library", create=True)
    library.update(DOCUMENTS)
    return library


def test_answers_equal_the_command_lines(reader, model, command_line, library, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS)))
    by_program = tmp_path / "by_program"
    process = command_line("polyqa", "index", tmp_path / "rows.jsonl", "--out", by_program)
    assert process.returncode == 0, process.stderr
    questions = ["Lima?", {"id": 3, "question": " la capitale?"}, "没有"]
    expected = []
    for folder in (library.folder, by_program):
        lines = '{"question": "Lima?"}\n{"id": 3, "question": "la capitale?"}\n{"question": "没有"}\n'
        (tmp_path / "questions.jsonl").write_text(lines)
        process = command_line("polyqa", "answer", "--model", model, "--device", "cpu", "--json", "-n", "3",
                               "--collection", folder, "--questions", tmp_path / "questions.jsonl")
        assert process.returncode == 0, process.stderr
        expected.append([json.loads(line) for line in process.stdout.splitlines()])
    assert expected[0] == expected[1]
    found = reader.answer(questions, library)
    assert_close(found, expected[0])
    assert [item.get("id") for item in found] == [None, "3", None]
    assert found[0]["answers"][0]["document"] == "peru" and "page" in found[0]["answers"][0]
    assert_close(reader.answer("Lima?", library), found[0])
    for item in found[0]["answers"]:
        text = DOCUMENTS[0]["text"]
        assert text[item["start"]:item["end"]] == item["text"]


def test_changes_are_visible_to_open_collections(reader, library):
    other = polyqa.Collection(str(library.folder))
    assert len(other) == 3 and "peru" in other and "chile" not in other
    library.update([{"id": "peru", "text": "Arequipa"}, {"id": "chile", "text": "Santiago"}])
    assert len(other) == 4 and "chile" in other
    assert reader.answer("Lima?", other)["answers"] == []
    assert reader.answer("Arequipa?", other)["answers"][0]["document"] == "peru"
    other.remove(["peru", "7"])
    other.remove("chile")
    assert len(library) == 1
    copied = pickle.loads(pickle.dumps(library))
    assert copied.folder == library.folder and len(copied) == 1
    assert repr(copied) == f"<Collection: {library.folder}>"
    # An existing collection is opened, not created again.
    assert len(polyqa.Collection(library.folder, create=True)) == 1


def test_threads_search_while_documents_change(reader, library):
    results = []

    def ask():
        results.extend(reader.answer("Lima?", library)["answers"][0]["document"] for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(5):
        library.update([{"id": f"town{number}", "text": "Quito"}])
    for thread in threads:
        thread.join()
    assert results == ["peru"] * 30 and len(library) == 8


@pytest.mark.parametrize("method, argument, message_part", [
    ("update", [{"text": "Lima"}], "documents[0]: id is missing"),
    ("update", [{"id": "a"}], "documents[0]: text is missing"),
    ("update", ["Lima"], "documents[0]: expected {"),
    ("update", "Lima", "documents[0]: expected {"),
    ("update", [], "documents: must not be empty"),
    ("update", [{"id": "a", "text": "b"}, {"id": "a", "text": "c"}], 'document "a": the id occurs twice'),
    ("update", [{"id": "a", "text": "b"}, {"id": "", "text": "c"}], "the id is empty"),
    ("remove", "chile", 'document "chile": the collection has no document with this id'),
    ("remove", ["peru", "chile"], 'document "chile"'),
    ("remove", [3], "ids[0]: expected a str, got int"),
])
def test_a_failed_change_leaves_the_collection(library, method, argument, message_part):
    with pytest.raises(ValueError) as raised:
        getattr(library, method)(argument)
    assert message_part in str(raised.value) and "\n" not in str(raised.value)
    assert len(library) == 3 and "peru" in library


def test_folders_are_checked(library, reader, tmp_path):
    for folder, message in [
        (tmp_path / "nowhere", "nowhere: no such folder"),
        (tmp_path, "not a collection"),
        (library.folder.parent, "not a collection"),
    ]:
        with pytest.raises(ValueError, match=message):
            polyqa.Collection(folder)
    with pytest.raises(ValueError, match="the folder is not empty"):
        polyqa.Collection(tmp_path, create=True)
    empty = polyqa.Collection(tmp_path / "empty", create=True)
    assert len(empty) == 0
    with pytest.raises(ValueError, match="empty: the collection has no documents"):
        reader.answer("Lima?", empty)
    with pytest.raises(ValueError, match="or as a Collection"):
        reader.answer(["Lima?"], ["Lima"])
