#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/config_defaults.json: the default values of transformers' configuration classes.

    .peers/bin/python crates/xlmr-model/scripts/config_defaults.py [OLDER]

OLDER is the output of `config_defaults.py --print` under an older transformers; keys that it also has must have equal values.
Requires transformers and torch. Keys that no encoder uses, such as `use_cache`, are omitted.
"""

import json
import sys
from pathlib import Path

import transformers

CLASSES = """Bert Electra RemBert XLMRoberta XLMRobertaXL Roberta Camembert Data2VecText DistilBert DebertaV2 ModernBert
EuroBert""".split()
OMITTED = """_name_or_path architectures chunk_size_feed_forward dtype id2label is_encoder_decoder label2id output_attentions
output_hidden_states problem_type pruned_heads return_dict torchscript transformers_version use_cache""".split()


def defaults():
    found = {}
    for name in CLASSES:
        kind = getattr(transformers, f"{name}Config", None)
        if kind is not None:
            values = kind().to_dict() | {"num_labels": kind().num_labels}
            found[kind.model_type] = {key: value for key, value in values.items() if key not in OMITTED}
    return found


if __name__ == "__main__":
    found = defaults()
    if "--print" in sys.argv:
        json.dump(found, sys.stdout)
        sys.exit()
    for path in sys.argv[1:]:
        older = json.loads(Path(path).read_text())
        for model_type, values in found.items():
            for key in values.keys() & older.get(model_type, {}).keys():
                assert values[key] == older[model_type][key], (model_type, key)
    out = Path(__file__).parents[2] / "testkit/fixtures/config_defaults.json"
    out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"transformers {transformers.__version__}: {len(found)} model types")
