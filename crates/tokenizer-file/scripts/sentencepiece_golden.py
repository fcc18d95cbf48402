"""Stores what transformers encodes with SentencePiece models of XLM-R's and DeBERTa's layouts.

    python3 -m venv spm && spm/bin/pip install transformers==5.23.0 tokenizers==0.23.3 \\
        sentencepiece==0.2.3 protobuf==7.36.2
    spm/bin/python crates/tokenizer-file/scripts/sentencepiece_golden.py

transformers converts `crates/testkit/fixtures/sentencepiece.bpe.model` and encodes every context
and question of XQuAD, 10,010 texts in seven languages, each as it is or changed in one of eleven
ways that `tests/it/sentencepiece.rs` repeats, and nine short texts; every tenth also as a pair with
the one after it. Digests of the texts and of the ids go to `tests/golden/sentencepiece.json`, those
of the ids for two models: the file as it is, and with two pieces appended that are found in a text
before it is split. Made with Python 3.11.7; transformers 4.57.6 with tokenizers 0.22.2, whose
conversion has other parts, gives the same digests.

That of DeBERTa is the same file with its first pieces instead. Its ids are stored by transformers
4.57.6 (`transformers==4.57.6 tokenizers==0.22.2` in place of the versions above), whose conversion
the published tokenizer.json files have; 5.23.0 leaves out the model's table of characters.

With `--compare FOLDER` it writes nothing, and says on how many of these texts the tokenizer.json of
FOLDER gives other ids.
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

# `pieces { piece: "[X]" score: 0 type: ... }` of types 4, USER_DEFINED, and 3, CONTROL. Bytes
# that are appended to a message add fields to it.
APPENDED = b"\x0a\x0c\x0a\x03[U]\x15\0\0\0\0\x18\x04"
APPENDED += b"\x0a\x0c\x0a\x03[C]\x15\0\0\0\0\x18\x03"

# The first pieces of DeBERTa's models, and the fields of their trainer_spec.
DEBERTA = b"".join(
    b"\x0a\x0e\x0a\x05" + name + b"\x15\0\0\0\0\x18" + kind
    for name, kind in [(b"[PAD]", b"\3"), (b"[CLS]", b"\3"), (b"[SEP]", b"\3"), (b"[UNK]", b"\2")]
)
DEBERTA_TRAINER = b"\xc0\x02\x03\xc8\x02\x01\xd0\x02\x02\xd8\x02\x00"  # unk, bos, eos, pad
DEBERTA_TRAINER += b"\xea\x02\x05[UNK]\xf2\x02\x05[CLS]\xfa\x02\x05[SEP]\x82\x03\x05[PAD]"


def sources():
    for language in LANGUAGES:
        data = json.loads((ROOT / f"data/xquad/xquad.{language}.json").read_text("utf-8"))["data"]
        for paragraph in (one for article in data for one in article["paragraphs"]):
            yield paragraph["context"]
            yield from (qa["question"] for qa in paragraph["qas"])


def changed(text, way):
    if way == 1:
        return unicodedata.normalize("NFD", text)
    if way == 2:
        return "  " + text.replace(" ", "  ") + "  "
    if way == 3:
        return text.replace(". ", ".\r\n").replace(", ", ",\t") + "\r\n"
    if way == 4:
        return text.replace(" ", " \U0001f600\u200d\U0001f525\U0001f1e9\U0001f1ea ", 3)
    if way == 5:
        return "\u0001" + text.replace("e", "e\u0000").replace(" ", "\u200b", 2) + "\u007f\u009f"
    if way == 6:
        return "\ufeff\u00a0" + text.replace(" ", "\u3000", 4) + "\u2028\u2029\u1680\u0085"
    if way == 7:
        return text.replace(" ", " <mask> ", 1).replace(" ", "<mask>", 1) + " </s><s> <pad><unk>"
    if way == 8:
        return text[::-1]
    if way == 9:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    if way == 10:
        return text.replace(" ", "") + " \ufdfa\ufb01\u2460\u33a1\U0001d400\u1e9b\u0323\u3392"
    if way == 11:
        return text.replace(" ", "\u2581", 5).replace(" ", " [U]", 2) + "[C] [U"
    return text


def texts():
    made = [changed(text, number % 12) for number, text in enumerate(sources())]
    return made + ["", " ", "  ", "\n", "\u200b", "\u3000\u3000", "<mask>", " <mask> ", "\u2581"]


def converted(more=b""):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL.name).write_bytes(MODEL.read_bytes() + more)
        older = transformers.__version__.startswith("4.")
        name = "XLMRobertaTokenizerFast" if older else "XLMRobertaTokenizer"
        return getattr(transformers, name).from_pretrained(folder)


def deberta():
    rest = MODEL.read_bytes()
    for _ in range(3):
        rest = rest[2 + rest[1] :]
    trainer = b"\x12" + bytes([len(DEBERTA_TRAINER)]) + DEBERTA_TRAINER
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spm.model").write_bytes(DEBERTA + rest + trainer)
        return transformers.DebertaV2TokenizerFast.from_pretrained(folder)


def debertas(text):
    """A text with DeBERTa's special tokens in place of XLM-R's."""
    for xlm_r, other in [("<mask>", "[MASK]"), ("</s>", "[SEP]"), ("<s>", "[CLS]"), ("<unk>", "[UNK]")]:
        text = text.replace(xlm_r, other)
    return text


def encoded(tokenizer, all_texts):
    rows = [tokenizer(text)["input_ids"] for text in all_texts]
    pairs = list(zip(all_texts, all_texts[1:]))[::10]
    return rows + [tokenizer(*pair)["input_ids"] for pair in pairs]


def digest(rows):
    sha = hashlib.sha256()
    for row in rows:
        sha.update(len(row).to_bytes(4, "little"))
        sha.update(b"".join(number.to_bytes(4, "little") for number in row))
    return sha.hexdigest()


def main():
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--compare", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    all_texts = list(texts())
    rows = encoded(converted(), all_texts)
    print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
    if arguments.compare:
        path = str(arguments.compare / "tokenizer.json")
        others = encoded(transformers.PreTrainedTokenizerFast(tokenizer_file=path), all_texts)
        different = sum(ours != other for ours, other in zip(rows, others, strict=True))
        print(f"{different} of {len(rows)} rows of ids differ")
        return
    golden = json.loads(GOLDEN.read_text())
    if transformers.__version__.startswith("4."):
        assert golden["ids_sha256"] == digest(rows)
        rows = encoded(deberta(), [debertas(text) for text in all_texts])
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
        "appended_ids_sha256": digest(encoded(converted(APPENDED), all_texts)),
    }
    GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
    print(GOLDEN.read_text())


if __name__ == "__main__":
    main()
