"""Makes two small tokenizers of other families than XLM-R's from the text of XQuAD.

    .peers/bin/python crates/testkit/scripts/small_tokenizers.py

`wordpiece.json` is laid out as multilingual BERT's: cased WordPiece, `[CLS] A [SEP] B [SEP]`.
`byte_fallback.json` is laid out as Gemma's: BPE over text whose spaces are `▁`, characters that are
no piece as their bytes, `<bos> A <eos> B <eos>`; the alphabets of both are kept so small that many
characters of Arabic, Chinese and Hindi are no piece. `byte_level.json` is laid out as EuroBERT's: BPE
over bytes, words with the space before them, no unknown token, padding with the token after a text.
Each has 3,000 pieces. The same every time.
Made with tokenizers 0.23.3.
"""
import json
import unicodedata
from collections import Counter
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "crates/testkit/fixtures"
LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]
SIZE = 3000


def texts():
    """Contexts and questions of all languages."""
    for language in LANGUAGES:
        data = json.loads((ROOT / f"data/xquad/xquad.{language}.json").read_text("utf-8"))["data"]
        for paragraph in (one for article in data for one in article["paragraphs"]):
            yield paragraph["context"]
            yield from (qa["question"] for qa in paragraph["qas"])


def alphabet(lines, most):
    """The most frequent characters; of equally frequent ones the first by code point."""
    counts = Counter(c for line in lines for c in line if not c.isspace())
    counts = {c: n for c, n in counts.items() if unicodedata.category(c)[0] != "C"}
    return sorted(counts, key=lambda c: (-counts[c], c))[:most]


def trainer(kind, lines, size, most, special, **options):
    letters = alphabet(lines, most)
    return kind(
        vocab_size=size,
        min_frequency=2,
        limit_alphabet=len(letters),
        initial_alphabet=letters,
        special_tokens=special,
        show_progress=False,
        **options,
    )


def special(token, number):
    return {
        "id": number,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def wordpiece(lines):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    options = {"continuing_subword_prefix": "##"}
    tokenizer.train_from_iterator(
        lines, trainer(trainers.WordPieceTrainer, lines, SIZE, 600, names, **options)
    )
    # The trainer numbers the pieces in another order every time.
    made = json.loads(tokenizer.to_str())
    pieces = names + sorted(set(made["model"]["vocab"]) - set(names))
    made["model"]["vocab"] = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return json.loads(tokenizer.to_str())


def byte_fallback(lines):
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    numbers = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # Only for training, so that no piece is of two words.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("▁", "merged_with_next"),
        pre_tokenizers.Punctuation("isolated"),
    ])
    size = SIZE - len(names) - len(numbers)
    marked = [line.replace(" ", "▁") for line in lines]
    tokenizer.train_from_iterator(lines, trainer(trainers.BpeTrainer, marked, size, 150, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made = json.loads(tokenizer.to_str())
    trained = sorted(made["model"]["vocab"], key=made["model"]["vocab"].get)
    pieces = names + numbers + [piece for piece in trained if piece not in names]
    made["model"]["vocab"] = {piece: number for number, piece in enumerate(pieces)}
    made["added_tokens"] = [special(name, number) for number, name in enumerate(names)]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> $B:1 <eos>:1",
        special_tokens=[(name, names.index(name)) for name in ("<bos>", "<eos>")],
    )
    return json.loads(tokenizer.to_str())


def byte_level(lines):
    before, after, mask = names = ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    options = trainers.BpeTrainer(
        vocab_size=SIZE - len(names),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, options)
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = [special(name, SIZE - len(names) + n) for n, name in enumerate(names)]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    around = [(name, tokenizer.token_to_id(name)) for name in (before, after)]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single=f"{before} $A {after}",
            pair=f"{before} $A {after} $B:1 {after}:1",
            special_tokens=around,
        ),
    ])
    return json.loads(tokenizer.to_str())


def main():
    lines = list(texts())
    for name, made in [
        ("wordpiece", wordpiece(lines)),
        ("byte_fallback", byte_fallback(lines)),
        ("byte_level", byte_level(lines)),
    ]:
        text = json.dumps(made, ensure_ascii=False, indent=0) + "\n"
        (FIXTURES / f"{name}.json").write_text(text, "utf-8")
        print(f"{name}: {len(made['model']['vocab'])} pieces, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
