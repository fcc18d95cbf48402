"""Writes golden digests of token ids for SentencePiece models with the layouts of XLM-R and DeBERTa.

    python3 -m venv spm && spm/bin/pip install transformers==5.23.0 tokenizers==0.23.3 \\
        sentencepiece==0.2.3 protobuf==7.36.2
    spm/bin/python crates/tokenizer-file/scripts/sentencepiece_golden.py

transformers converts `crates/testkit/fixtures/sentencepiece.bpe.model` and encodes 10,010 contexts
and questions of XQuAD in seven languages and nine short texts. Each text of XQuAD is unchanged or
changed in one of eleven ways (`apply_change`, repeated in `tests/it/sentencepiece.rs`). Every
tenth text is also encoded as a pair with the next one. The script writes digests of the texts and
ids to `tests/golden/sentencepiece.json`: ids for the model file, and for the file with two appended
pieces. The golden file was created with Python 3.11.7. transformers 4.57.6 with tokenizers 0.22.2
gives the same digests.

The DeBERTa model is the same file with DeBERTa's first pieces. Its ids are written by transformers
4.57.6 (`transformers==4.57.6 tokenizers==0.22.2` in the command above), whose conversion equals the
published tokenizer.json files; the conversion of 5.23.0 omits the model's character table.

With `--compare FOLDER`, the script writes no file. It prints for how many texts the ids of FOLDER's
tokenizer.json differ.
"""
import argparse
import hashlib
import json
import tempfile
import unicodedata
from pathlib import Path

import tokenizers
import transformers

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "crates/testkit/fixtures/sentencepiece.bpe.model"
GOLDEN = ROOT / "crates/tokenizer-file/tests/golden/sentencepiece.json"
LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]

# `pieces { piece: "[X]" score: 0 type: ... }` with the types USER_DEFINED (4) and CONTROL (3).
# Appending bytes to a protobuf message adds fields.
APPENDED_PIECES = b"\x0a\x0c\x0a\x03[U]\x15\0\0\0\0\x18\x04"
APPENDED_PIECES += b"\x0a\x0c\x0a\x03[C]\x15\0\0\0\0\x18\x03"

# The first pieces of DeBERTa's models, and fields of their trainer_spec.
DEBERTA_PIECES = b"".join(
    b"\x0a\x0e\x0a\x05" + name + b"\x15\0\0\0\0\x18" + kind
    for name, kind in [(b"[PAD]", b"\3"), (b"[CLS]", b"\3"), (b"[SEP]", b"\3"), (b"[UNK]", b"\2")]
)
DEBERTA_TRAINER = b"\xc0\x02\x03\xc8\x02\x01\xd0\x02\x02\xd8\x02\x00"  # ids of unk, bos, eos, pad
DEBERTA_TRAINER += b"\xea\x02\x05[UNK]\xf2\x02\x05[CLS]\xfa\x02\x05[SEP]\x82\x03\x05[PAD]"


def xquad_texts():
    for language in LANGUAGES:
        data = json.loads((ROOT / f"data/xquad/xquad.{language}.json").read_text("utf-8"))["data"]
        for paragraph in (paragraph for article in data for paragraph in article["paragraphs"]):
            yield paragraph["context"]
            yield from (qa["question"] for qa in paragraph["qas"])


def apply_change(text, change):
    if change == 1:
        return unicodedata.normalize("NFD", text)
    if change == 2:
        return "  " + text.replace(" ", "  ") + "  "
    if change == 3:
        return text.replace(". ", ".\r\n").replace(", ", ",\t") + "\r\n"
    if change == 4:
        return text.replace(" ", " \U0001f600\u200d\U0001f525\U0001f1e9\U0001f1ea ", 3)
    if change == 5:
        return "\u0001" + text.replace("e", "e\u0000").replace(" ", "\u200b", 2) + "\u007f\u009f"
    if change == 6:
        return "\ufeff\u00a0" + text.replace(" ", "\u3000", 4) + "\u2028\u2029\u1680\u0085"
    if change == 7:
        return text.replace(" ", " <mask> ", 1).replace(" ", "<mask>", 1) + " </s><s> <pad><unk>"
    if change == 8:
        return text[::-1]
    if change == 9:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    if change == 10:
        return text.replace(" ", "") + " \ufdfa\ufb01\u2460\u33a1\U0001d400\u1e9b\u0323\u3392"
    if change == 11:
        return text.replace(" ", "\u2581", 5).replace(" ", " [U]", 2) + "[C] [U"
    return text


def texts():
    changed_texts = [apply_change(text, index % 12) for index, text in enumerate(xquad_texts())]
    return changed_texts + ["", " ", "  ", "\n", "\u200b", "\u3000\u3000", "<mask>", " <mask> ", "\u2581"]


def converted_tokenizer(appended=b""):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL.name).write_bytes(MODEL.read_bytes() + appended)
        is_version_4 = transformers.__version__.startswith("4.")
        name = "XLMRobertaTokenizerFast" if is_version_4 else "XLMRobertaTokenizer"
        return getattr(transformers, name).from_pretrained(folder)


def deberta_tokenizer():
    other_fields = MODEL.read_bytes()
    for _ in range(3):
        other_fields = other_fields[2 + other_fields[1] :]
    trainer = b"\x12" + bytes([len(DEBERTA_TRAINER)]) + DEBERTA_TRAINER
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spm.model").write_bytes(DEBERTA_PIECES + other_fields + trainer)
        return transformers.DebertaV2TokenizerFast.from_pretrained(folder)


def with_deberta_tokens(text):
    """Replaces XLM-R's special tokens in a text by DeBERTa's."""
    for xlm_r, deberta in [("<mask>", "[MASK]"), ("</s>", "[SEP]"), ("<s>", "[CLS]"), ("<unk>", "[UNK]")]:
        text = text.replace(xlm_r, deberta)
    return text


def encode_all(tokenizer, all_texts):
    rows = [tokenizer(text)["input_ids"] for text in all_texts]
    pairs = list(zip(all_texts, all_texts[1:]))[::10]
    return rows + [tokenizer(*pair)["input_ids"] for pair in pairs]


def digest(rows):
    sha = hashlib.sha256()
    for row in rows:
        sha.update(len(row).to_bytes(4, "little"))
        sha.update(b"".join(value.to_bytes(4, "little") for value in row))
    return sha.hexdigest()


def main():
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--compare", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    all_texts = list(texts())
    rows = encode_all(converted_tokenizer(), all_texts)
    print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
    if arguments.compare:
        path = str(arguments.compare / "tokenizer.json")
        other_rows = encode_all(transformers.PreTrainedTokenizerFast(tokenizer_file=path), all_texts)
        different = sum(row != other_row for row, other_row in zip(rows, other_rows, strict=True))
        print(f"{different} of {len(rows)} rows of ids differ")
        return
    golden = json.loads(GOLDEN.read_text())
    if transformers.__version__.startswith("4."):
        assert golden["ids_sha256"] == digest(rows)
        rows = encode_all(deberta_tokenizer(), [with_deberta_tokens(text) for text in all_texts])
        golden["deberta"] = {
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "ids_sha256": digest(rows),
            "unknown": sum(row.count(3) for row in rows),
        }
        GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
        print(GOLDEN.read_text())
        return
    golden |= {
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "texts": len(all_texts),
        "texts_sha256": digest([list(text.encode()) for text in all_texts]),
        "ids_sha256": digest(rows),
        "unknown": sum(row.count(3) for row in rows),
        "appended_ids_sha256": digest(encode_all(converted_tokenizer(APPENDED_PIECES), all_texts)),
    }
    GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
    print(GOLDEN.read_text())


if __name__ == "__main__":
    main()
