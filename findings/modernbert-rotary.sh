#!/usr/bin/env bash
# transformers 4.57 opens a ModernBERT that transformers 5.24 saved with other rotary constants.
#
# mmBERT's local layers have a base of 160,000. transformers 5.24.0 stores it in `rope_parameters`
# only; 4.57.6 does not read this key and takes its default of 10,000 without a warning. So a model
# that was fine-tuned with the newer version computes other outputs in the older one. In the other
# direction, 5.24.0 reads the older keys.
# Versions: transformers 4.57.6 and 5.24.0.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install old transformers==4.57.6
install new transformers==5.24.0
export TRANSFORMERS_VERBOSITY=error

with new - <<'PY'
from transformers import ModernBertConfig

config = ModernBertConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
    global_rope_theta=160000.0, local_rope_theta=160000.0,
)
print("5.24.0 saves", config.rope_parameters)
config.save_pretrained("saved")
PY
with old - <<'PY'
from transformers import ModernBertConfig

config = ModernBertConfig.from_pretrained("saved")
seen = (config.global_rope_theta, config.local_rope_theta)
print("4.57.6 opens global and local", seen)
assert seen == (160000.0, 10000.0), "the versions' keys changed"
ModernBertConfig(global_rope_theta=160000.0, local_rope_theta=160000.0).save_pretrained("older")
PY
with new - <<'PY'
from transformers import ModernBertConfig

rope = ModernBertConfig.from_pretrained("older").rope_parameters
seen = [rope[kind]["rope_theta"] for kind in ("full_attention", "sliding_attention")]
print("5.24.0 opens a folder of 4.57.6 with", seen)
assert seen == [160000.0, 160000.0], "the older keys are no longer read"
PY
