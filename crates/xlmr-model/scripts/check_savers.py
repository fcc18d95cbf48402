#!/usr/bin/env python3
"""Compares this crate with the libraries that save model folders: transformers, sentence-transformers and PEFT.

Random models of all architectures and heads are saved by the installed versions. `xlmr-model run` opens the folders, and its outputs
are compared with those of the library in float64.

    cargo build -p xlmr-model
    .peers/bin/python crates/xlmr-model/scripts/check_savers.py --program target/debug/xlmr-model
    PYTHONPATH=.peers-4/lib/python3.11/site-packages .peers/bin/python \\
        crates/xlmr-model/scripts/check_savers.py --program target/debug/xlmr-model   # transformers 4

The last lines are the table of docs/results/model-folders.md: the largest difference by architecture, saver and head. With
`--results FILE`, differences are added to a JSON file, and combinations in the file are not measured again. Requires torch and
transformers; sentence-transformers and PEFT, which require transformers 5, are used if transformers 5 is imported.
"""

import argparse
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from program_outputs import Refused, largest_difference, run_program

TOLERANCE = 2e-5
VOCABULARY = 120
TOKENIZERS = Path(__file__).parents[2] / "testkit/fixtures"

SIZES = dict(vocab_size=VOCABULARY, max_position_embeddings=40)
WIDTHS = dict(hidden_size=32, num_attention_heads=4, intermediate_size=48)
BERT = dict(SIZES, **WIDTHS, num_hidden_layers=2)
DISTIL = dict(SIZES, dim=32, n_heads=4, n_layers=2, hidden_dim=48)
REMBERT = dict(BERT, input_embedding_size=16, output_embedding_size=24, bos_token_id=2, eos_token_id=3)
ROTARY = dict(SIZES, **WIDTHS, num_hidden_layers=4, pad_token_id=0, bos_token_id=2, eos_token_id=1)
DEBERTA = dict(
    BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], norm_rel_ebd="layer_norm", position_biased_input=False,
    share_att_key=True, position_buckets=8, type_vocab_size=0,
)  # fmt: skip
ATTENTION = ["query", "value", "intermediate.dense", "output.dense"]

# model_type: prefix of the classes, keys of the configuration, LoRA targets.
ARCHITECTURES = {
    "xlm-roberta": ("XLMRoberta", dict(BERT, type_vocab_size=1), ATTENTION),
    "roberta": ("Roberta", dict(BERT, type_vocab_size=1), ATTENTION),
    "camembert": ("Camembert", dict(BERT, type_vocab_size=1), ATTENTION),
    "data2vec-text": ("Data2VecText", dict(BERT, type_vocab_size=1), ATTENTION),
    "bert": ("Bert", BERT, ATTENTION),
    "distilbert": ("DistilBert", DISTIL, ["q_lin", "v_lin", "lin1", "lin2"]),
    "electra": ("Electra", dict(BERT, embedding_size=16), ATTENTION),
    "rembert": ("RemBert", REMBERT, ATTENTION),
    "mpnet": ("MPNet", BERT, ["q", "v", "intermediate.dense", "output.dense"]),
    "xlm-roberta-xl": ("XLMRobertaXL", dict(BERT, type_vocab_size=1), ATTENTION),
    "modernbert": ("ModernBert", dict(ROTARY, local_attention=8, cls_token_id=2, sep_token_id=1), ["Wqkv", "Wi", "mlp.Wo"]),
    "eurobert": ("EuroBert", dict(ROTARY, num_key_value_heads=2, mask_token_id=3), ["q_proj", "v_proj", "up_proj", "down_proj"]),
    "deberta-v2": ("DebertaV2", DEBERTA, ["query_proj", "value_proj", "intermediate.dense"]),
}
# Title: suffix of the class, number of labels, PEFT's task.
HEADS = {
    "encoder": ("Model", 2, "FEATURE_EXTRACTION"),
    "masked LM": ("ForMaskedLM", 2, None),
    "spans": ("ForQuestionAnswering", 2, "QUESTION_ANS"),
    "tokens": ("ForTokenClassification", 5, "TOKEN_CLS"),
    "sequences": ("ForSequenceClassification", 3, "SEQ_CLS"),
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def new_model(model_type, head, seed):
    """Returns a model with random parameters, or None if transformers has no such class."""
    prefix, keys, _ = ARCHITECTURES[model_type]
    suffix, labels, _ = HEADS[head]
    model_class = getattr(transformers, prefix + suffix, None)
    if model_class is None:
        return None
    torch.manual_seed(seed)
    config = getattr(transformers, f"{prefix}Config")(**keys, num_labels=labels)
    model = model_class(config).eval()
    randomize(model.parameters(), 0.15)
    return model


def randomize(parameters, std):
    """Adds noise to parameters, because new biases are 0 and new norm weights are 1."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape) * std)


def random_inputs(config, seed):
    """Creates padded rows of different lengths, with random segments."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = 4, 22
    lengths = torch.tensor([columns, 13, 5, 1])
    mask = (torch.arange(columns)[None] < lengths[:, None]).long()
    ids = torch.randint(4, VOCABULARY, (rows, columns), generator=generator)
    inputs = {"input_ids": torch.where(mask == 1, ids, config.pad_token_id), "attention_mask": mask}
    segments = getattr(config, "type_vocab_size", 0)
    if segments > 1:
        inputs["token_type_ids"] = torch.randint(0, segments, (rows, columns), generator=generator)
    return inputs


def outputs_of(model, base_model, inputs):
    with torch.no_grad():
        result = model(**inputs)
        states = base_model(**inputs).last_hidden_state
    return {"last_hidden_state": states} | {key: value for key, value in result.items() if key.endswith("logits")}


def save_with_transformers(model_type, head, folder, dtype):
    """Saves a model in a dtype; returns inputs and outputs. Only one head is saved in a dtype other than float32."""
    model = new_model(model_type, head, 1)
    if model is None or dtype != torch.float32 and head != "tokens":
        return None
    model.to(dtype).save_pretrained(folder)
    # `to` also rounds rotary frequencies, so the model is opened again.
    model = type(model).from_pretrained(folder, dtype=torch.float64).eval()
    inputs = random_inputs(model.config, 2)
    return inputs, outputs_of(model, model.base_model, inputs)


def save_with_peft(model_type, head, folder, merged):
    """Saves a LoRA and a changed head next to the base model, or the merged model."""
    import peft

    model = new_model(model_type, head, 3)
    if model is None:
        return None
    if not merged:
        model.save_pretrained(folder)
    targets, task = ARCHITECTURES[model_type][2], HEADS[head][2]
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, task_type=task)
    base_model = model.base_model
    adapted = peft.get_peft_model(model, config).eval()
    randomize([p for name, p in adapted.named_parameters() if p.requires_grad], 0.1)
    if merged:
        model = adapted.merge_and_unload()
        model.save_pretrained(folder)
        base_model = model.base_model
        adapted = model
    else:
        adapted.save_pretrained(folder)
        # PEFT 0.21's class for question answering drops the segments.
        adapted = adapted.get_base_model()
    inputs = random_inputs(adapted.config, 4)
    adapted.double()
    return inputs, outputs_of(adapted, base_model, inputs)


def save_with_sentence_transformers(model_type, head, folder, _):
    """Saves a sentence encoder or a cross-encoder."""
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling

    if head not in ("encoder", "sequences"):
        return None
    with tempfile.TemporaryDirectory() as base:
        model = new_model(model_type, head, 5)
        model.save_pretrained(base)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=small_tokenizer(), unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
            mask_token="[MASK]", model_max_length=40,
        )  # fmt: skip
        tokenizer.save_pretrained(base)
        if head == "encoder":
            modules = [Transformer(base), Pooling(model.config.hidden_size, "mean")]
            SentenceTransformer(modules=modules, device="cpu").save(str(folder))
        else:
            CrossEncoder(base, device="cpu").save_pretrained(str(folder))
    model = model.double()
    inputs = random_inputs(model.config, 6)
    return inputs, outputs_of(model, model.base_model, inputs)


def small_tokenizer():
    from tokenizers import Tokenizer, models

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"t{number}" for number in range(VOCABULARY - 5)]
    return Tokenizer(models.WordPiece({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]"))


def savers():
    """Returns the installed savers: title, function and its last argument."""
    found = []
    for dtype in DTYPES:
        title = f"transformers {transformers.__version__}, {str(dtype).removeprefix('torch.')}"
        found.append((title, save_with_transformers, dtype))
    if int(transformers.__version__.split(".")[0]) >= 5:
        import peft
        import sentence_transformers

        found.append((f"sentence-transformers {sentence_transformers.__version__}", save_with_sentence_transformers, None))
        found.append((f"peft {peft.__version__}, LoRA", save_with_peft, False))
        found.append((f"peft {peft.__version__}, merged", save_with_peft, True))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", required=True, help="the xlmr-model program")
    parser.add_argument("--only", default="", help="only savers whose title contains this text")
    parser.add_argument("--results", type=Path, help="a JSON file of differences")
    parser.add_argument("--quick", action="store_true", help="one head per architecture and saver")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failed, table, number = 0, {}, 0
    known = json.loads(arguments.results.read_text()) if arguments.results and arguments.results.exists() else {}
    for title, save, option in savers():
        if arguments.only not in title:
            continue
        for model_type, (prefix, *_) in ARCHITECTURES.items():
            if not hasattr(transformers, f"{prefix}Config"):
                continue
            number += 1
            for head in [list(HEADS)[number % len(HEADS)]] if arguments.quick else HEADS:
                key = f"{title}, {model_type}, {head}"
                if key in known:
                    table[title, model_type, head] = known[key]
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    saved = save(model_type, head, Path(folder), option)
                    if saved is None:
                        continue
                    inputs, expected = saved
                    try:
                        outputs = run_program(arguments.program, folder, inputs)
                        difference = largest_difference(outputs, expected, inputs["attention_mask"])
                        fault = None if difference <= TOLERANCE else f"more than {TOLERANCE:.0e}"
                    except (AssertionError, Refused) as error:
                        difference, fault = float("nan"), str(error)
                print(f"{title}: {model_type}, {head}: {'FAILED' if fault else 'ok'}, largest difference {difference:.1e}", flush=True)
                if fault:
                    print(f"  {fault}")
                failed += bool(fault)
                table[title, model_type, head] = difference
                if arguments.results and not fault:
                    known[key] = difference
                    arguments.results.write_text(json.dumps(known, indent=1) + "\n")
    print(f"\n| saver | architecture | {' | '.join(HEADS)} |\n|---|---|{'---|' * len(HEADS)}")
    for title, model_type in dict.fromkeys(key[:2] for key in table):
        cells = [table.get((title, model_type, head)) for head in HEADS]
        cells = ["–" if cell is None else f"{cell:.0e}" for cell in cells]
        print(f"| {title} | `{model_type}` | {' | '.join(cells)} |")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
