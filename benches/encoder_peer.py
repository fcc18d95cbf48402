"""The baseline of `cargo xtask bench encoder`: the fine-tuning step of transformers' script run_qa, which pads all windows to one length.

Reads the batches of the bench and prints a JSON line for each step.
"""

import argparse
import json
import resource
import time
from types import SimpleNamespace

import torch
from transformers import (
    DebertaV2Config,
    DebertaV2ForQuestionAnswering,
    EuroBertConfig,
    EuroBertForTokenClassification,
    ModernBertConfig,
    ModernBertForQuestionAnswering,
    XLMRobertaConfig,
    XLMRobertaForQuestionAnswering,
)


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("batches")
    parser.add_argument("--architecture", choices=["xlm-roberta", "modernbert", "eurobert", "deberta-v2"], required=True)
    for name in ["layers", "hidden", "vocab", "threads", "length"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--bf16", action="store_true", help="use autocast, as run_qa does with --bf16")
    parser.add_argument("--lora", action="store_true", help="train only PEFT's LoRA of rank 8 on queries, keys and values, and the head")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--inference", action="store_true", help="forward pass without gradients; with --bf16, parameters are bfloat16")
    parser.add_argument("--compile", action="store_true", help="use torch.compile, as run_qa does with --torch_compile")
    return parser.parse_args()


def pad_batch(batch, length, pad):
    ids = torch.full((len(batch), length), pad)
    mask = torch.zeros((len(batch), length), dtype=torch.long)
    for index, row in enumerate(batch):
        ids[index, : len(row["ids"])] = torch.tensor(row["ids"])
        mask[index, : len(row["ids"])] = 1
    starts = torch.tensor([row["start"] for row in batch])
    ends = torch.tensor([row["end"] for row in batch])
    return {"input_ids": ids, "attention_mask": mask, "start_positions": starts, "end_positions": ends}


class SpanModel(torch.nn.Module):
    """A span model that is built from a classifier with two labels per token."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids, attention_mask, start_positions, end_positions):
        starts, ends = self.classifier(input_ids, attention_mask=attention_mask).logits.float().unbind(-1)
        loss = torch.nn.functional.cross_entropy
        return SimpleNamespace(loss=(loss(starts, start_positions) + loss(ends, end_positions)) / 2)


def main():
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    on_gpu = options.device != "cpu"
    sizes = dict(
        vocab_size=options.vocab, hidden_size=options.hidden, num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64, attn_implementation="sdpa",
    )
    if options.architecture == "modernbert":
        config = ModernBertConfig(
            **sizes, intermediate_size=options.hidden * 3 // 2, pad_token_id=0, bos_token_id=2, eos_token_id=1,
            cls_token_id=2, sep_token_id=1,
        )
        model = ModernBertForQuestionAnswering(config).train()
    elif options.architecture == "eurobert":
        config = EuroBertConfig(
            **sizes, intermediate_size=4 * options.hidden, pad_token_id=0, bos_token_id=2, eos_token_id=1, mask_token_id=3,
            num_labels=2,
        )
        model = SpanModel(EuroBertForTokenClassification(config)).train()
    elif options.architecture == "deberta-v2":
        sizes["attn_implementation"] = "eager"  # the only supported implementation
        config = DebertaV2Config(
            **sizes, intermediate_size=4 * options.hidden, relative_attention=True, position_buckets=256, share_att_key=True,
            norm_rel_ebd="layer_norm", pos_att_type=["p2c", "c2p"], position_biased_input=False,
        )
        model = DebertaV2ForQuestionAnswering(config).train()
    else:
        config = XLMRobertaConfig(
            **sizes, intermediate_size=4 * options.hidden, max_position_embeddings=514, type_vocab_size=1,
            layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        )
        model = XLMRobertaForQuestionAnswering(config).train()
    if options.lora:
        from peft import LoraConfig, get_peft_model  # optional package

        targets = ["query", "key", "value"]
        lora = LoraConfig(r=8, lora_alpha=16, target_modules=targets, modules_to_save=["qa_outputs"])
        model = get_peft_model(model, lora)
    model = model.to(options.device)
    if options.inference:
        model = model.eval().requires_grad_(False)
        model = model.to(torch.bfloat16) if options.bf16 else model
    forward = torch.compile(model) if options.compile else model
    # run_qa's optimiser: fused AdamW without weight decay, gradients clipped to 1.
    optimizer = None if options.inference else torch.optim.AdamW(model.parameters(), lr=3e-5, weight_decay=0.0, fused=True)
    with open(options.batches, encoding="utf-8") as file:
        batches = json.load(file)
    for step, batch in enumerate(batches):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        if optimizer:
            optimizer.zero_grad()
        inputs = pad_batch(batch, options.length, config.pad_token_id)
        if on_gpu:
            inputs = {name: tensor.pin_memory().to(options.device, non_blocking=True) for name, tensor in inputs.items()}
        with torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16, enabled=options.bf16 and not options.inference):
            loss = forward(**inputs).loss
        if optimizer:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds, system = time.perf_counter() - start, after.ru_stime - before.ru_stime
        user = after.ru_utime - before.ru_utime
        peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else after.ru_maxrss / 1024
        print(json.dumps({
            "step": step, "seconds": seconds, "cpu_seconds": user + system, "system_seconds": system,
            "loss": loss.item(), "peak_mib": peak,
        }), flush=True)


main()
