"""Writes run_qa.json: the results of transformers' run_qa for XQuAD questions and synthetic logits.

    python run_qa.py UTILS_QA.py

UTILS_QA.py is `examples/pytorch/question-answering/utils_qa.py` of transformers, which is in no
package. The features are computed like run_qa's prepare_validation_features: one call of the
tokenizer with the same arguments. The logits are functions of small integers, which are exact in
any programming language.
"""

import hashlib
import importlib.util
import json
import logging
import sys
from pathlib import Path

import numpy
import tokenizers
import transformers
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).parents[4]
LANGUAGES = ["en", "es", "de", "ar", "hi", "vi", "zh"]
QUESTIONS = 3
MAX_LENGTH, STRIDE = 128, 32
MASK = (1 << 64) - 1


def mix(value):
    """SplitMix64."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def logits(kind, side, feature, length):
    draws = [mix(((kind * 2 + side) * 4096 + feature) * 4096 + at) for at in range(length)]
    flat = numpy.array([(draw >> 40) / 2**20 - 8 for draw in draws], dtype=numpy.float32)
    assert len(set(flat.tolist())) == length, "numpy leaves the order of equal logits open"
    if kind == 0:
        return flat
    # Peaks make the logits similar to those of a trained model.
    peaks = numpy.array([8 * (draw % 41 == 0) for draw in draws], dtype=numpy.float32)
    return flat / numpy.float32(4) + peaks


def examples():
    rows = []
    for language in LANGUAGES:
        data = json.loads((ROOT / "data/xquad" / f"xquad.{language}.json").read_text("utf-8"))
        paragraphs = [paragraph for article in data["data"] for paragraph in article["paragraphs"]]
        for k, paragraph in enumerate(paragraphs[:: len(paragraphs) // QUESTIONS][:QUESTIONS]):
            question = paragraph["qas"][0]["question"]
            # run_qa strips leading white space of questions, and does not truncate questions.
            question = ["  " + question, question, " ".join([question] * 3)][k]
            rows.append((f"{language}-{k}", question, paragraph["context"]))
    rows += [
        ("short", "What?", "x"),
        ("empty", "What?", ""),
        ("spaces", "Who is it?", "  Leading\u00a0 spaces,\u3000 e\u0302 and \uff76\uff9e."),
    ]
    return rows


def features(rows, tokenizer):
    encoded = tokenizer(
        [question.lstrip() for _, question, _ in rows],
        [context for _, _, context in rows],
        truncation="only_second",
        max_length=MAX_LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    for i, sample in enumerate(encoded["overflow_to_sample_mapping"]):
        sequence = encoded.sequence_ids(i)
        offsets = encoded["offset_mapping"][i]
        yield {
            "example_id": rows[sample][0],
            "input_ids": encoded["input_ids"][i][: sum(encoded["attention_mask"][i])],
            "offset_mapping": [o if sequence[k] == 1 else None for k, o in enumerate(offsets)],
        }


class Examples(list):
    """A list of examples; the key `id` returns the column of ids."""

    def __getitem__(self, key):
        return [row["id"] for row in self] if key == "id" else super().__getitem__(key)


def main():
    spec = importlib.util.spec_from_file_location("utils_qa", sys.argv[1])
    utils_qa = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils_qa)
    file = ROOT / "crates/testkit/fixtures/tokenizer.json"
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    names |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), **names)
    rows = examples()
    all_features = list(features(rows, tokenizer))
    table = Examples({"id": i, "question": q, "context": c} for i, q, c in rows)
    runs = []
    for kind, null, n_best, max_tokens in [
        (0, None, 20, 30), (1, None, 20, 30), (1, None, 3, 5), (1, 0.0, 20, 30), (0, -9.5, 5, 30),
    ]:
        logit_pair = [
            numpy.stack([logits(kind, side, k, MAX_LENGTH) for k in range(len(all_features))])
            for side in (0, 1)
        ]
        out = Path("/tmp/run_qa_golden")
        out.mkdir(exist_ok=True)
        utils_qa.postprocess_qa_predictions(
            table, all_features, tuple(logit_pair), version_2_with_negative=null is not None,
            n_best_size=n_best, max_answer_length=max_tokens, output_dir=str(out),
            null_score_diff_threshold=null or 0.0, log_level=logging.WARNING,
        )
        read = lambda name: json.loads((out / f"{name}.json").read_text("utf-8"))
        run = {"kind": kind, "null_threshold": null, "n_best": n_best, "max_answer_length": max_tokens}
        run["predictions"] = read("predictions")
        run["n_best_predictions"] = {
            key: [[p["text"], p["start_logit"], p["end_logit"], p["probability"]] for p in best]
            for key, best in read("nbest_predictions").items()
        }
        run["null_odds"] = read("null_odds") if null is not None else None
        runs.append(run)
    versions = {m.__name__: m.__version__ for m in (transformers, tokenizers, numpy)}
    versions["utils_qa.py, SHA-256"] = hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest()
    for feature in all_features:
        first = next((k for k, o in enumerate(feature["offset_mapping"]) if o is not None), None)
        feature["context_start"] = first
        feature["offsets"] = [o for o in feature.pop("offset_mapping") if o is not None]
    golden = {
        "versions": versions, "max_length": MAX_LENGTH, "doc_stride": STRIDE,
        "examples": rows, "features": all_features, "runs": runs,
    }
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    Path(__file__).with_suffix(".json").write_text(text + "\n", "utf-8")


main()
