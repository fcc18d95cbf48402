#!/usr/bin/env python3
"""Writes crates/testkit/fixtures/fused: two texts that a layer of transformers encodes together.

The model is a random XLM-RoBERTa of three layers, in float64. The first and third layer encode each text separately, the second
layer encodes both together (FILTER, section 3, with m = 1 and k = 1). `qa_outputs` computes the logits of each text.

    .peers/bin/python crates/xlmr-model/scripts/golden_fusion.py

Requires torch, transformers and safetensors.
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import XLMRobertaConfig, XLMRobertaForQuestionAnswering

OUT = Path(__file__).parents[2] / "testkit/fixtures/fused"
ROWS = 3


def random_rows(lengths, vocabulary, generator):
    """Creates random ids `[B, L]`, padded with 1, and the mask."""
    ids = torch.ones(ROWS, max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(4, vocabulary, (length,), generator=generator)
        mask[row, :length] = 1
    return ids, mask


def attention_bias(mask):
    """Returns the bias that attention adds to the scores of each key, `[B, 1, 1, L]`."""
    return (1.0 - mask[:, None, None, :].double()) * torch.finfo(torch.float64).min


def main():
    torch.manual_seed(20)
    config = XLMRobertaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128, max_position_embeddings=66,
        type_vocab_size=1, layer_norm_eps=1e-5, initializer_range=0.3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, attn_implementation="eager", dtype="float32",
    )
    model = XLMRobertaForQuestionAnswering(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(OUT)
    model = model.double()
    generator = torch.Generator().manual_seed(21)
    target, target_mask = random_rows([13, 20, 5], config.vocab_size, generator)
    source, source_mask = random_rows([17, 4, 11], config.vocab_size, generator)
    layers, embed = model.roberta.encoder.layer, model.roberta.embeddings

    def layer(number, states, mask):
        out = layers[number](states, attention_bias(mask))
        return out[0] if isinstance(out, tuple) else out

    halves = [layer(0, embed(input_ids=ids), mask) for ids, mask in ((target, target_mask), (source, source_mask))]
    joined = layer(1, torch.cat(halves, 1), torch.cat([target_mask, source_mask], 1))
    outputs = {}
    loss = torch.zeros((), dtype=torch.float64)
    for name, states, mask in (
        ("target", joined[:, : target.shape[1]], target_mask),
        ("source", joined[:, target.shape[1] :], source_mask),
    ):
        states = layer(2, states, mask)
        starts, ends = model.qa_outputs(states).unbind(-1)
        outputs |= {f"{name}.hidden": states, f"{name}.start_logits": starts, f"{name}.end_logits": ends}
        # In every row, the answer consists of the second and third token.
        lowest = torch.finfo(torch.float64).min
        for logits, gold in ((starts, 1), (ends, 2)):
            logits = logits.masked_fill(mask == 0, lowest)
            loss = loss + torch.nn.functional.cross_entropy(logits, torch.full((ROWS,), gold))
    outputs["loss"] = loss / 2
    outputs["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    def to_float32(tensors):
        return {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}

    inputs = {"target.input_ids": target, "target.attention_mask": target_mask}
    inputs |= {"source.input_ids": source, "source.attention_mask": source_mask}
    save_file(inputs, OUT / "inputs.safetensors")
    save_file(to_float32(outputs), OUT / "outputs.safetensors")
    save_file(to_float32(gradients), OUT / "grads.safetensors")
    meta = {
        "transformers": transformers.__version__, "torch": torch.__version__, "computed_in": "float64, stored as float32",
        "local": 1, "cross": 1, "loss": "half the sum of start and end cross-entropy over real tokens, of target and source together",
    }
    (OUT / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    print(f"{OUT}: loss {outputs['loss'].item():.6f}")


if __name__ == "__main__":
    main()
