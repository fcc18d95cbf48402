#!/usr/bin/env bash
# transformers 5.24 drops steps of a normalizer that tokenizer.json contains and 4.57 applies.
#
# The class XLMRobertaTokenizer of 5.24.0 builds a normalizer of its own and takes at most
# SentencePiece's character map from the file, so an added `Lowercase` or `Replace` is lost without a
# warning: a lower-casing model gets other ids. transformers 4.57.6, the library tokenizers, and
# PreTrainedTokenizerFast in both versions use the file as it is.
# Versions: transformers 4.57.6 and 5.24.0.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install old transformers==4.57.6
install new transformers==5.24.0
export TRANSFORMERS_VERBOSITY=error

with old - <<'PY'
import json, os
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁lima", "▁LIMA", "▁ist", "<mask>"]
tokenizer = Tokenizer(models.Unigram([(piece, 0.0) for piece in vocabulary], unk_id=3))
tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase()])
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.post_processor = processors.TemplateProcessing(
    single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
)
for name in ("XLMRobertaTokenizer", "PreTrainedTokenizerFast"):
    os.mkdir(name)
    tokenizer.save(f"{name}/tokenizer.json")
    special = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
                   cls_token="<s>", sep_token="</s>")
    json.dump(special | {"tokenizer_class": name}, open(f"{name}/tokenizer_config.json", "w"))
    json.dump({"model_type": "xlm-roberta"}, open(f"{name}/config.json", "w"))
PY
cat >tokens.py <<'PY'
import sys
from transformers import AutoTokenizer, __version__

for name in ("XLMRobertaTokenizer", "PreTrainedTokenizerFast"):
    tokenizer = AutoTokenizer.from_pretrained(name)
    print(__version__, name, tokenizer.convert_ids_to_tokens(tokenizer("LIMA ist")["input_ids"]))
PY
with old tokens.py | tee seen
with new tokens.py | tee -a seen
diff - seen <<'TXT'
4.57.6 XLMRobertaTokenizer ['<s>', '▁lima', '▁ist', '</s>']
4.57.6 PreTrainedTokenizerFast ['<s>', '▁lima', '▁ist', '</s>']
5.24.0 XLMRobertaTokenizer ['<s>', '▁LIMA', '▁ist', '</s>']
5.24.0 PreTrainedTokenizerFast ['<s>', '▁lima', '▁ist', '</s>']
TXT
