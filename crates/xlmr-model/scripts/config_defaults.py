#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/config_defaults.json: the default values of the configuration classes of two versions of transformers.

    PYTHONPATH=.peers-4/lib/python3.11/site-packages .peers/bin/python crates/xlmr-model/scripts/config_defaults.py --print > older.json
    .peers/bin/python crates/xlmr-model/scripts/config_defaults.py older.json

With `--print`, the values of the installed version are printed. Requires transformers and torch. Keys that no encoder uses, such as
`use_cache` and the options of text generation, are omitted.
"""

import json
import sys
from pathlib import Path

import transformers

CLASSES = """Bert Electra RemBert XLMRoberta XLMRobertaXL Roberta Camembert Data2VecText DistilBert DebertaV2 ModernBert
EuroBert MPNet""".split()
OMITTED = """_name_or_path architectures chunk_size_feed_forward dtype id2label is_encoder_decoder label2id output_attentions
output_hidden_states problem_type pruned_heads return_dict torchscript transformers_version use_cache bad_words_ids begin_suppress_tokens
cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores prefix remove_invalid_values
repetition_penalty return_dict_in_generate suppress_tokens task_specific_params temperature tf_legacy_loss
tie_encoder_decoder tokenizer_class top_k top_p typical_p use_bfloat16""".split()


def defaults():
    found = {}
    for name in CLASSES:
        kind = getattr(transformers, f"{name}Config", None)
        if kind is not None:
            values = kind().to_dict() | {"num_labels": kind().num_labels}
            found[kind.model_type] = {key: value for key, value in values.items() if key not in OMITTED}
    return found


if __name__ == "__main__":
    found = {transformers.__version__: defaults()}
    if "--print" in sys.argv:
        json.dump(found, sys.stdout)
        sys.exit()
    for path in sys.argv[1:]:
        found |= json.loads(Path(path).read_text())
    out = Path(__file__).parents[2] / "testkit/fixtures/config_defaults.json"
    out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print({version: len(values) for version, values in found.items()})
