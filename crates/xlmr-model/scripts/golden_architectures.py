#!/usr/bin/env python3
"""Writes small random models of transformers with their outputs to crates/testkit/fixtures/hf, except those of XLM-R.

    .peers/bin/python crates/xlmr-model/scripts/golden_architectures.py [CASE]...

Each case is a folder written by `save_pretrained`, with two padded batches, outputs, losses and, in some cases, gradients. They
are computed in float64 from the stored weights, and stored as float32. torch's fused attention is used, because its eager
attention returns NaN at padding without a token in its window; DeBERTa, RemBERT and MPNet have only eager attention. Requires torch,
transformers and safetensors.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

OUT = Path(__file__).parents[2] / "testkit/fixtures/hf"
VOCABULARY, BATCHES = 120, {"b0": (4, 21), "b1": (2, 37)}
TINY_BATCHES = {"b0": (3, 9), "b1": (2, 14)}

SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4, max_position_embeddings=40, initializer_range=0.3,
)  # fmt: skip
BERT = dict(SIZES, num_hidden_layers=2, intermediate_size=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
MODERN = dict(
    SIZES, num_hidden_layers=4, intermediate_size=48, pad_token_id=0, bos_token_id=2, eos_token_id=1, cls_token_id=2,
    sep_token_id=1,
)  # fmt: skip
EURO = dict(
    SIZES, num_hidden_layers=3, intermediate_size=48, num_key_value_heads=2, pad_token_id=0, bos_token_id=2, eos_token_id=1,
    mask_token_id=3,
)  # fmt: skip
DEBERTA = dict(
    BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], norm_rel_ebd="layer_norm", position_biased_input=False,
)
# Sizes of models that need few bytes.
TINY = dict(vocab_size=40, max_position_embeddings=18, initializer_range=0.3)
WIDTHS = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=2, intermediate_size=12)
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
ROBERTA = dict(TINY, **WIDTHS, **NO_DROPOUT, type_vocab_size=1)
DISTIL = dict(
    TINY, dim=8, n_heads=2, n_layers=2, hidden_dim=12, dropout=0.0, attention_dropout=0.0, qa_dropout=0.0,
    seq_classif_dropout=0.0,
)  # fmt: skip
ELECTRA = dict(TINY, **WIDTHS, **NO_DROPOUT, embedding_size=4)
REMBERT = dict(
    TINY, **WIDTHS, **NO_DROPOUT, input_embedding_size=4, output_embedding_size=6, bos_token_id=2, eos_token_id=3,
)  # fmt: skip
MPNET = dict(TINY, **WIDTHS, **NO_DROPOUT)
BIASES = dict(norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True)
ROTARY = {
    "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
}

# Name: class, configuration, stored dtype, whether gradients are stored, older keys of config.json.
CASES = {
    "bert_mlm": ("BertForMaskedLM", BERT, "float32", True, {}),
    "bert_qa": ("BertForQuestionAnswering", BERT, "float32", True, {}),
    "bert_seqcls": ("BertForSequenceClassification", dict(BERT, num_labels=3), "float32", True, {}),
    "bert_tokcls": ("BertForTokenClassification", dict(BERT, num_labels=5), "bfloat16", False, {}),
    "modernbert_mlm": ("ModernBertForMaskedLM", dict(MODERN, local_attention=8), "float32", True, {}),
    "modernbert_qa": (
        "ModernBertForQuestionAnswering",
        dict(MODERN, local_attention=16, rope_parameters=ROTARY),
        "float32",
        True,
        {},
    ),
    "modernbert_seqcls": (
        "ModernBertForSequenceClassification",
        dict(MODERN, local_attention=6, num_labels=3, classifier_pooling="mean"),
        "float32",
        True,
        {},
    ),
    "modernbert_tokcls": (
        "ModernBertForTokenClassification",
        dict(MODERN, **BIASES, local_attention=4, num_labels=5, num_hidden_layers=3),
        "bfloat16",
        False,
        # Keys of models published in 2024.
        {"global_attn_every_n_layers": 2, "global_rope_theta": 900.0, "local_rope_theta": 70.0},
    ),
    "eurobert_mlm": ("EuroBertForMaskedLM", EURO, "float32", True, {}),
    "eurobert_seqcls": ("EuroBertForSequenceClassification", dict(EURO, num_labels=3), "float32", True, {}),
    "eurobert_seqcls_mean": (
        "EuroBertForSequenceClassification",
        dict(
            EURO, num_labels=3, classifier_pooling="mean", attention_bias=True, mlp_bias=True, num_key_value_heads=None,
            rope_parameters=ROTARY["sliding_attention"],
        ),
        "float32",
        True,
        {},
    ),  # fmt: skip
    "eurobert_tokcls": (
        "EuroBertForTokenClassification",
        dict(EURO, num_labels=5, num_key_value_heads=1, hidden_act="gelu"),
        "bfloat16",
        False,
        # Keys of the Python code in model folders of 2025.
        {"rope_theta": 900.0, "rope_scaling": None, "clf_pooling": "late"},
    ),
    "deberta_mlm": (
        "DebertaV2ForMaskedLM",
        dict(DEBERTA, share_att_key=True, position_buckets=8, legacy=False),
        "float32",
        True,
        {},
    ),
    "deberta_mlm_legacy": (
        "DebertaV2ForMaskedLM",
        dict(
            DEBERTA, pos_att_type=["c2p"], norm_rel_ebd="none", position_biased_input=True, type_vocab_size=2,
            max_relative_positions=12, hidden_act="relu",
        ),
        "float32",
        True,
        {},
    ),
    "deberta_qa": (
        "DebertaV2ForQuestionAnswering",
        dict(DEBERTA, position_buckets=16, max_relative_positions=30, type_vocab_size=1),
        "float32",
        True,
        {},
    ),
    "deberta_seqcls": (
        "DebertaV2ForSequenceClassification",
        dict(BERT, pos_att_type=["p2c"], relative_attention=False, num_labels=3, pooler_hidden_act="relu"),
        "float32",
        True,
        {},
    ),
    "deberta_tokcls": (
        "DebertaV2ForTokenClassification",
        dict(DEBERTA, pos_att_type=["p2c"], position_buckets=6, max_relative_positions=20, num_labels=5),
        "bfloat16",
        False,
        # Form of the value in published models.
        {"pos_att_type": "P2C"},
    ),
    "roberta_qa": ("RobertaForQuestionAnswering", dict(ROBERTA, type_vocab_size=2), "bfloat16", True, {}),
    "roberta_tokcls": ("RobertaForTokenClassification", dict(ROBERTA, num_labels=5), "bfloat16", False, {}),
    "camembert_mlm": ("CamembertForMaskedLM", ROBERTA, "bfloat16", False, {}),
    "data2vec_seqcls": ("Data2VecTextForSequenceClassification", dict(ROBERTA, num_labels=3), "bfloat16", True, {}),
    "distilbert_mlm": ("DistilBertForMaskedLM", dict(DISTIL, activation="relu"), "bfloat16", True, {}),
    "distilbert_qa": ("DistilBertForQuestionAnswering", DISTIL, "bfloat16", True, {}),
    "distilbert_seqcls": ("DistilBertForSequenceClassification", dict(DISTIL, num_labels=3), "bfloat16", True, {}),
    "distilbert_tokcls": (
        "DistilBertForTokenClassification", dict(DISTIL, num_labels=5, sinusoidal_pos_embds=True), "bfloat16", False, {}
    ),
    "electra_mlm": ("ElectraForMaskedLM", dict(ELECTRA, hidden_act="relu"), "bfloat16", True, {}),
    "electra_qa": ("ElectraForQuestionAnswering", ELECTRA, "bfloat16", True, {}),
    "electra_seqcls": (
        "ElectraForSequenceClassification", dict(ELECTRA, num_labels=3, hidden_act="relu"), "bfloat16", True, {}
    ),
    "electra_tokcls": ("ElectraForTokenClassification", dict(ELECTRA, embedding_size=8, num_labels=5), "bfloat16", False, {}),
    "rembert_mlm": ("RemBertForMaskedLM", dict(REMBERT, hidden_act="relu"), "bfloat16", True, {}),
    "rembert_qa": ("RemBertForQuestionAnswering", dict(REMBERT, input_embedding_size=8), "bfloat16", True, {}),
    "rembert_seqcls": ("RemBertForSequenceClassification", dict(REMBERT, num_labels=3), "bfloat16", True, {}),
    "rembert_tokcls": ("RemBertForTokenClassification", dict(REMBERT, num_labels=5, hidden_act="gelu_new"), "bfloat16", False, {}),
    "xlmrxl_mlm": ("XLMRobertaXLForMaskedLM", dict(ROBERTA, hidden_act="relu"), "bfloat16", True, {}),
    "xlmrxl_qa": ("XLMRobertaXLForQuestionAnswering", dict(ROBERTA, type_vocab_size=2), "bfloat16", True, {}),
    "xlmrxl_seqcls": ("XLMRobertaXLForSequenceClassification", dict(ROBERTA, num_labels=3), "bfloat16", True, {}),
    "xlmrxl_tokcls": ("XLMRobertaXLForTokenClassification", dict(ROBERTA, num_labels=5), "bfloat16", False, {}),
    "mpnet_mlm": ("MPNetForMaskedLM", dict(MPNET, hidden_act="relu", layer_norm_eps=1e-5), "bfloat16", True, {}),
    "mpnet_qa": ("MPNetForQuestionAnswering", dict(MPNET, relative_attention_num_buckets=36), "bfloat16", True, {}),
    "mpnet_seqcls": ("MPNetForSequenceClassification", dict(MPNET, num_labels=3), "bfloat16", True, {}),
    "mpnet_tokcls": ("MPNetForTokenClassification", dict(MPNET, num_labels=5), "bfloat16", False, {}),
}
CONFIGURATIONS = {
    "deberta": transformers.DebertaV2Config,
    "bert": transformers.BertConfig,
    "modernbert": transformers.ModernBertConfig,
    "eurobert": transformers.EuroBertConfig,
    "roberta": transformers.RobertaConfig,
    "camembert": transformers.CamembertConfig,
    "data2vec": transformers.Data2VecTextConfig,
    "distilbert": transformers.DistilBertConfig,
    "electra": transformers.ElectraConfig,
    "rembert": transformers.RemBertConfig,
    "xlmrxl": transformers.XLMRobertaXLConfig,
    "mpnet": transformers.MPNetConfig,
}
WITHOUT_HOLES = ("bert", "modernbert", "eurobert")


def batch(batch_name, kind, config, rows, columns, generator):
    lengths = torch.randint(2, columns + 1, (rows,), generator=generator)
    lengths[0] = columns
    if kind.endswith("QuestionAnswering") and batch_name == "b0":
        lengths[:] = columns  # no padding, because the loss includes padding, whose logits are meaningless
    mask = (torch.arange(columns)[None] < lengths[:, None]).long()
    ids = torch.randint(5, config.vocab_size, (rows, columns), generator=generator)
    if config.model_type not in WITHOUT_HOLES and not (kind.endswith("QuestionAnswering") and batch_name == "b0"):
        holes = torch.rand(rows, columns, generator=generator) < 0.15
        holes[:, 0] = False
        mask[holes] = 0
    inputs = {"input_ids": torch.where(mask == 1, ids, config.pad_token_id), "attention_mask": mask}
    if getattr(config, "type_vocab_size", 0) == 2:
        switch = (lengths * 0.4).long()
        inputs["token_type_ids"] = ((torch.arange(columns)[None] >= switch[:, None]) & (mask == 1)).long()
    if kind.endswith("QuestionAnswering"):
        for name in ("start_positions", "end_positions"):
            inputs[name] = (torch.rand(rows, generator=generator) * lengths).long()
    elif kind.endswith("SequenceClassification"):
        inputs["labels"] = torch.randint(0, config.num_labels, (rows,), generator=generator)
    else:
        classes = config.vocab_size if kind.endswith("MaskedLM") else config.num_labels
        labels = torch.randint(0, classes, (rows, columns), generator=generator)
        keep = (torch.rand(rows, columns, generator=generator) < 0.3) & (mask == 1)
        keep[:, 0] = True
        inputs["labels"] = torch.where(keep, labels, -100)
    return inputs


def zero_padding(states, mask):
    """Sets states at padding, which are meaningless, to zero."""
    return states * mask[(...,) + (None,) * (states.dim() - mask.dim())]


def write(name, number):
    kind, keys, dtype, gradients, older_keys = CASES[name]
    torch.manual_seed(100 + number)
    generator = torch.Generator().manual_seed(200 + number)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    family = name.split("_")[0]
    config_class, model_class = CONFIGURATIONS[family], getattr(transformers, kind)
    model = model_class(config_class(**keys))
    with torch.no_grad():
        for parameter in model.parameters():
            mean = 1.0 if parameter.dim() == 1 and bool((parameter == 1).all()) else 0.0
            # Large weights would increase rounding errors in these architectures.
            matrix_std = {"modernbert": 0.08, "eurobert": 0.08, "deberta": 0.2}.get(family, 0.3)
            std = matrix_std if parameter.dim() == 2 else 0.3
            parameter.copy_(mean + torch.randn(parameter.shape) * std)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    path = folder / "config.json"
    if older_keys:
        stored = json.loads(path.read_text())
        for key in ("layer_types", "rope_parameters", "classifier_pooling"):
            if family == "eurobert" or key in ("layer_types", "rope_parameters"):
                stored.pop(key, None)
        path.write_text(json.dumps({**stored, **older_keys}, indent=2) + "\n")
    attention = "eager" if family in ("deberta", "rembert", "mpnet") else "sdpa"
    model, report = model_class.from_pretrained(
        folder, dtype=torch.float64, output_loading_info=True, attn_implementation=attention
    )
    assert not any(report.values()), report
    model.eval()
    inputs, outputs = {}, {}
    float32_model, max_error = model_class.from_pretrained(folder, dtype=torch.float32).eval(), 0.0
    batches = BATCHES if model.config.vocab_size == VOCABULARY else TINY_BATCHES
    for batch_name, (rows, columns) in batches.items():
        inputs_of_batch = batch(batch_name, kind, model.config, rows, columns, generator)
        result = model(**inputs_of_batch, output_hidden_states=True)
        mask = inputs_of_batch["attention_mask"]
        with torch.no_grad():
            # RemBERT clamps answer positions in place.
            copies = {key: value.clone() for key, value in inputs_of_batch.items()}
            float32_result = float32_model(**copies, output_hidden_states=True)
        for states, float32_states in zip(result.hidden_states, float32_result.hidden_states):
            max_error = max(max_error, float(zero_padding(states - float32_states, mask).abs().max()))
        inputs |= {f"{batch_name}.{key}": value for key, value in inputs_of_batch.items()}
        outputs[f"{batch_name}.loss"] = result.loss
        for key in ("logits", "start_logits", "end_logits"):
            if key in result:
                logits = result[key]
                outputs[f"{batch_name}.{key}"] = logits if "SequenceC" in kind else zero_padding(logits, mask)
        states = torch.stack([zero_padding(state, mask) for state in result.hidden_states])
        outputs[f"{batch_name}.hidden_states" if batch_name == "b0" else f"{batch_name}.last_hidden_state"] = (
            states if batch_name == "b0" else states[-1]
        )
        if batch_name == "b0" and gradients:
            result.loss.backward()
    detach = lambda tensors: {key: value.detach().contiguous() for key, value in tensors.items()}  # noqa: E731
    to_float32 = lambda tensors: {key: value.float() for key, value in detach(tensors).items()}  # noqa: E731
    save_file(detach(inputs), folder / "inputs.safetensors")
    save_file(to_float32(outputs), folder / "outputs.safetensors")
    if gradients:
        grads = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
        save_file(to_float32(grads), folder / "grads.safetensors")
    meta = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "stored_dtype": dtype,
        "computed_in": "float64, stored as float32",
        "gradients_of": "b0.loss" if gradients else None,
        "hf_float32_max_abs_err": max_error,
        "padding": "hidden states and logits of padding are stored as 0",
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    print(name, max_error, {batch_name: round(float(outputs[f"{batch_name}.loss"]), 4) for batch_name in batches})


if __name__ == "__main__":
    for number, name in enumerate(CASES):
        if not sys.argv[1:] or name in sys.argv[1:]:
            write(name, number)
