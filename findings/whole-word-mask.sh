#!/usr/bin/env bash
# With whole-word masking, transformers 5.24 masks a Chinese sentence as a whole or not at all.
#
# DataCollatorForLanguageModeling(whole_word_mask=True) takes tokens whose offsets have no gap for one word.
# BERT's tokenizer makes each Chinese character a token, and 4.57's DataCollatorForWholeWordMask a word; now a
# sentence without spaces is one word. With probability 0.15, 85 % of the sentences have no masked token, and in
# the others no token remains from which to predict. GemmaTokenizer (mmBERT) makes the space a part of a token,
# so English sentences are single words, too. The share of masked tokens, 15 %, shows nothing of this.
# Versions: transformers 5.24.0, torch 2.11.0 (3 GB to download); transformers 4.57.6.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages transformers==5.24.0 torch==2.11.0
export TRANSFORMERS_VERBOSITY=error
cat > texts.py <<'PY'
import torch

TEXTS = {"Chinese": "北京是中国的首都，人口约两千万。", "English": "Lima is the capital of Peru."}
CHARACTERS = sorted(set("".join(TEXTS.values())) - {" "})
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *("##" + c for c in CHARACTERS)]


def masked(tokenizer, collator, text):
    """Shares of texts without a masked token, and of texts with masked tokens only."""
    encoded = dict(tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True))
    tokens = len(encoded["input_ids"]) - sum(encoded["special_tokens_mask"])
    torch.manual_seed(0)
    count = (collator([dict(encoded) for _ in range(2000)])["labels"] != -100).sum(1)
    return (count == 0).float().mean().item(), (count == tokens).float().mean().item()
PY
cat > new.py <<'PY'
from texts import CHARACTERS, TEXTS, WORD_PIECES, masked
from transformers import BertTokenizer, DataCollatorForLanguageModeling, GemmaTokenizer

bert = BertTokenizer(vocab={piece: n for n, piece in enumerate(WORD_PIECES)}, do_lower_case=False)
pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *CHARACTERS]
gemma = GemmaTokenizer(vocab={piece: n for n, piece in enumerate(pieces)}, merges=[])
gemma.mask_token = "<mask>"
for tokenizer, language, is_one_word in [
    (bert, "English", False),
    (bert, "Chinese", True),
    (gemma, "English", True),
]:
    collator = DataCollatorForLanguageModeling(
        tokenizer, whole_word_mask=True, mlm_probability=0.15, mask_replace_prob=1.0, random_replace_prob=0.0
    )
    nothing, everything = masked(tokenizer, collator, TEXTS[language])
    print(f"5.24, {type(tokenizer).__name__}, {language}: {nothing:.0%} without a masked token, {everything:.0%} masked as a whole")
    assert (everything > 0.1) == is_one_word == (nothing > 0.8), "the behaviour has changed"
PY
with packages new.py
"$folder/packages/bin/python3" -m pip install --quiet transformers==4.57.6
cat > old.py <<'PY'
from pathlib import Path

from texts import TEXTS, WORD_PIECES, masked
from transformers import BertTokenizerFast, DataCollatorForWholeWordMask

Path("vocab.txt").write_text("\n".join(WORD_PIECES) + "\n")
bert = BertTokenizerFast("vocab.txt", do_lower_case=False)
nothing, everything = masked(bert, DataCollatorForWholeWordMask(bert, mlm_probability=0.15), TEXTS["Chinese"])
print(f"4.57, BertTokenizerFast, Chinese: {nothing:.0%} without a masked token, {everything:.0%} masked as a whole")
assert nothing < 0.01 and everything < 0.01, "the behaviour has changed"
PY
with packages old.py
