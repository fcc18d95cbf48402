"""Trains three small tokenizers with layouts other than XLM-R's on the text of XQuAD.

    .peers/bin/python crates/testkit/scripts/small_tokenizers.py

- `wordpiece.json` has the layout of multilingual BERT: cased WordPiece, `[CLS] A [SEP] B [SEP]`.
- `byte_fallback.json` has the layout of Gemma: BPE over text in which spaces are replaced by `▁`,
  byte tokens for characters that are not in the vocabulary, `<bos> A <eos> B <eos>`.
- `byte_level.json` has the layout of EuroBERT: BPE over bytes, words with the preceding space, no
  unknown token, and the token after a text as padding.

Each vocabulary has 3,000 pieces. The alphabets of the first two are small, so that many characters
of Arabic, Chinese and Hindi are not in the vocabulary. The output is deterministic. The stored
files were written with tokenizers 0.23.3.
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
N_PIECES = 3000


def texts():
    """Yields the contexts and questions of all languages."""
    for language in LANGUAGES:
        data = json.loads((ROOT / f"data/xquad/xquad.{language}.json").read_text("utf-8"))["data"]
        for paragraph in (paragraph for article in data for paragraph in article["paragraphs"]):
            yield paragraph["context"]
            yield from (qa["question"] for qa in paragraph["qas"])


def alphabet(lines, max_characters):
    """Returns the most frequent characters; characters of equal frequency are ordered by code point."""
    counts = Counter(c for line in lines for c in line if not c.isspace())
    counts = {c: n for c, n in counts.items() if unicodedata.category(c)[0] != "C"}
    return sorted(counts, key=lambda c: (-counts[c], c))[:max_characters]


def trainer(trainer_class, lines, size, max_characters, special_tokens, **options):
    characters = alphabet(lines, max_characters)
    return trainer_class(
        vocab_size=size,
        min_frequency=2,
        limit_alphabet=len(characters),
        initial_alphabet=characters,
        special_tokens=special_tokens,
        show_progress=False,
        **options,
    )


def added_token(token, token_id):
    return {
        "id": token_id,
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
        lines, trainer(trainers.WordPieceTrainer, lines, N_PIECES, 600, names, **options)
    )
    # The trainer assigns ids in random order.
    file = json.loads(tokenizer.to_str())
    pieces = names + sorted(set(file["model"]["vocab"]) - set(names))
    file["model"]["vocab"] = {piece: token_id for token_id, piece in enumerate(pieces)}
    tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return json.loads(tokenizer.to_str())


def byte_fallback(lines):
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # This pre-tokenizer is used only for training, so that no piece spans two words.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("▁", "merged_with_next"),
        pre_tokenizers.Punctuation("isolated"),
    ])
    size = N_PIECES - len(names) - len(byte_tokens)
    normalized_lines = [line.replace(" ", "▁") for line in lines]
    tokenizer.train_from_iterator(lines, trainer(trainers.BpeTrainer, normalized_lines, size, 150, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    file = json.loads(tokenizer.to_str())
    trained = sorted(file["model"]["vocab"], key=file["model"]["vocab"].get)
    pieces = names + byte_tokens + [piece for piece in trained if piece not in names]
    file["model"]["vocab"] = {piece: token_id for token_id, piece in enumerate(pieces)}
    file["added_tokens"] = [added_token(name, token_id) for token_id, name in enumerate(names)]
    tokenizer = Tokenizer.from_str(json.dumps(file))
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
        vocab_size=N_PIECES - len(names),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, options)
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = [added_token(name, N_PIECES - len(names) + n) for n, name in enumerate(names)]
    tokenizer = Tokenizer.from_str(json.dumps(file))
    outer_tokens = [(name, tokenizer.token_to_id(name)) for name in (before, after)]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single=f"{before} $A {after}",
            pair=f"{before} $A {after} $B:1 {after}:1",
            special_tokens=outer_tokens,
        ),
    ])
    return json.loads(tokenizer.to_str())


def main():
    lines = list(texts())
    for name, file in [
        ("wordpiece", wordpiece(lines)),
        ("byte_fallback", byte_fallback(lines)),
        ("byte_level", byte_level(lines)),
    ]:
        text = json.dumps(file, ensure_ascii=False, indent=0) + "\n"
        (FIXTURES / f"{name}.json").write_text(text, "utf-8")
        print(f"{name}: {len(file['model']['vocab'])} pieces, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
