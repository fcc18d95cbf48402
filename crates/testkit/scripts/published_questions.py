"""Writes fixtures/published: question files in the forms of published data sets, with invented text.

The Parquet files are written by datasets 5.2.0 and pyarrow 26.0.1 (Python 3.11):
    pip install datasets==5.2.0 pyarrow==26.0.1
    python crates/testkit/scripts/published_questions.py crates/testkit/fixtures/published
"""
import json
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(sys.argv[1])
FERRY = "The ferry from Tarvik to Ossund sails at noon and returns at dusk."
MILL = "Die Mühle 🌾 steht in Grünau am Fluss."
CHINESE = "渡轮每天中午从塔维克开往奥松德。"


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_lines(name, values):
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    (FOLDER / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def squad(qas, context=FERRY, version="1.1", title="Ferry"):
    return {"version": version, "data": [{"title": title, "paragraphs": [{"context": context, "qas": qas}]}]}


def qa(id, text, start, question="When does the ferry sail?", **extra):
    return {"id": id, "question": question, "answers": [{"text": text, "answer_start": start}], **extra}


noon = FERRY.index("noon")
# Integer ids, a number as version, a null title, offsets as text: PersianQA, TQuAD, COVID-QA.
write("integer_ids.json", squad([qa(1, "noon", noon), qa(2, "dusk", str(FERRY.index("dusk")))], version=1.0, title=None))
# Answers that were not located: CMRC 2018 and translations of SQuAD.
write("without_offsets.json", squad([
    {"id": "a", "question": "When?", "answers": [{"text": "", "answer_start": -1}, {"text": "noon", "answer_start": noon}]},
    qa("b", "midday", -1),
    {"id": "c", "question": "Who?", "answers": None, "is_impossible": 1},
]))
# Wrong offsets, as in translations of SQuAD.
write("wrong_offsets.json", squad([qa("a", "noon", noon), qa("b", "Noon", noon), qa("c", "dusk", 3)]))
# Offsets in bytes and in UTF-16 units.
start = MILL.index("Grünau")
for name, offset in [("bytes", len(MILL[:start].encode())), ("utf16", len(MILL[:start].encode("utf-16-le")) // 2)]:
    write(f"offsets_in_{name}.json", squad([
        qa("a", "Grünau", offset, "Wo?"), qa("b", "Die Mühle", 0, "Was?"), qa("c", "Fluss", 40, "Wo?")], MILL))
# Labels that contradict each other, and questions without labels.
write("impossible_with_answer.json", squad([qa("a", "noon", noon), qa("b", "noon", noon, is_impossible=True)]))
write("paragraphs.json", [{"context": FERRY, "qas": [qa("a", "noon", noon), qa("b", "dusk", FERRY.index("dusk"))]}])
(FOLDER / "one_object.json").write_text(json.dumps(
    {"id": "a", "context": FERRY, "question": "When?", "answers": {"text": ["noon"], "answer_start": [noon]}}, indent=2))
write_lines("mrqa.jsonl", [
    {"header": {"dataset": "Ferry", "split": "dev"}},
    {"context": FERRY, "context_tokens": [["The", 0]], "qas": [
        {"qid": "a", "question": "When?", "question_tokens": [["When", 0]], "answers": ["noon", "Midday"],
         "detected_answers": [{"text": "noon", "char_spans": [[noon, noon + 3]], "token_spans": [[8, 8]]}]}]},
])
write_lines("mrqa_hub.jsonl", [
    {"subset": "Ferry", "context": FERRY, "qid": "a", "question": "When?", "answers": ["noon", "Midday"],
     "detected_answers": {"text": ["noon"], "char_spans": [{"start": [noon], "end": [noon + 3]}], "token_spans": [{"start": [8], "end": [8]}]}}])
write("cmrc2018.json", [{"context_id": "T_1", "context_text": CHINESE, "title": "渡轮",
                         "qas": [{"query_id": "T_1_Q_0", "query_text": "渡轮何时开？", "answers": ["中午", "每天中午"]}]}])
write_lines("afriqa.json", [
    {"answer_pivot": {"answer_start": [noon], "text": ["noon"]}, "context": FERRY, "id": "0", "question_lang": "Yaushe?",
     "question_translated": "When?", "title": "Ferry", "answer_lang": "tsakar rana"},
    {"answer_pivot": {"answer_start": [-1], "text": ["yes"]}, "context": FERRY, "id": "1", "question_lang": "Akwai?",
     "question_translated": "Is there?", "title": "Ferry", "answer_lang": "i"}])
write_lines("iapp.jsonl", [
    {"question_id": "q_1", "article_id": "a_1", "title": "Ferry", "context": FERRY, "question": "When?",
     "answers": {"text": ["noon"], "answer_start": [noon], "answer_end": [noon + 4]}}])
write_lines("without_answers.jsonl", [{"id": "a", "context": FERRY, "question": "When?"}])
write_lines("qed.jsonl", [{"example_id": 1, "title_text": "Ferry", "question_text": "when", "paragraph_text": FERRY,
                           "original_nq_answers": [[{"start": noon, "end": noon + 4, "string": "noon"}]]}])
write("without_ids.json", squad([{"question": "When?", "answers": [{"text": "noon", "answer_start": noon, "generative_answer": "at noon"}]}]))

rows = [{"id": f"q{k}", "title": "Bridge", "context": f"The bridge was opened on {date} by the mayor.", "question": "When?",
         "answers": {"text": [date], "answer_start": [25]}} for k, date in enumerate(["1998-06-14", "2004-11-02"])]
write_lines("dates.jsonl", rows)
# The JSON reader of datasets takes ISO dates for timestamps.
datasets.disable_progress_bars()
datasets.load_dataset("json", data_files=str(FOLDER / "dates.jsonl"), split="train").to_parquet(str(FOLDER / "dates.parquet"))
mixed = [{"id": "a", "context": FERRY, "question": "When?", "answers": [{"text": "noon", "answer_start": noon}]},
         {"id": "b", "context": FERRY, "question": "When?", "answers": [{"text": "dusk", "answer_start": FERRY.index("dusk"), "note": "x"}]}]
features = datasets.Features({key: datasets.Value("string") for key in ["id", "context", "question"]} | {"answers": datasets.List(datasets.Json())})
datasets.Dataset.from_list(mixed, features=features).to_parquet(str(FOLDER / "json_column.parquet"))
table = pa.Table.from_pylist([{"id": "a", "context": FERRY, "question": "When?", "answers": {"text": ["noon"], "answer_start": [noon]}}])
for codec in ["gzip", "lz4", "brotli"]:
    pq.write_table(table, FOLDER / f"{codec}.parquet", compression=codec)
moment = pa.array([[1000]], pa.list_(pa.timestamp("ms")))
for name, texts in [("timestamp_answers", moment), ("binary_answers", pa.array([[b"noon"]], pa.list_(pa.binary())))]:
    answers = pa.StructArray.from_arrays([texts, pa.array([[noon]])], ["text", "answer_start"])
    pq.write_table(table.set_column(3, "answers", answers), FOLDER / f"{name}.parquet")
