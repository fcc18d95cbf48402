#!/usr/bin/env bash
# GemmaTokenizer of transformers 4.57 drops the final token of a template that 5.24 applies.
#
# mmBERT's tokenizer.json ends each text with <eos>, and its tokenizer_class is GemmaTokenizer. The
# class of 4.57.6 replaces the template by one from `add_bos_token` and `add_eos_token` (default:
# false), so a sentence or a pair has no separator; the class of 5.24.0 uses the file.
# Versions: transformers 4.57.6 and 5.24.0.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install old transformers==4.57.6
install new transformers==5.24.0
export TRANSFORMERS_VERBOSITY=error

with old - <<'PY'
import json, os
from tokenizers import Tokenizer, models, pre_tokenizers, processors

vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4, "▁": 5, "l": 6, "▁l": 7}
tokenizer = Tokenizer(models.BPE(vocabulary, [("▁", "l")], unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.post_processor = processors.TemplateProcessing(
    single="<bos> $A <eos>", pair="<bos> $A <eos> $B:1 <eos>:1", special_tokens=[("<bos>", 2), ("<eos>", 1)]
)
os.mkdir("saved")
tokenizer.save("saved/tokenizer.json")
special = dict(bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
json.dump(special | {"tokenizer_class": "GemmaTokenizer"}, open("saved/tokenizer_config.json", "w"))
json.dump({"model_type": "modernbert"}, open("saved/config.json", "w"))
PY
cat >tokens.py <<'PY'
from transformers import AutoTokenizer, __version__

tokenizer = AutoTokenizer.from_pretrained("saved")
print(__version__, tokenizer.convert_ids_to_tokens(tokenizer("l", "l")["input_ids"]))
PY
with old tokens.py | tee seen
with new tokens.py | tee -a seen
diff - seen <<'TXT'
4.57.6 ['<bos>', '▁l', '<bos>', '▁l']
5.24.0 ['<bos>', '▁l', '<eos>', '▁l', '<eos>']
TXT
