"""The question-answering pipeline of transformers 4, for `cargo xtask bench answer`.

    python peer.py MODEL PAIRS BATCH_SIZE THREADS RUNTIME

PAIRS is a JSON list of {"question": ..., "context": ...}. RUNTIME is `torch` (float32), `torch-bf16`, or ONNX Runtime
as `onnx` (float32) or `onnx-int8` (dynamic quantisation per channel); the exported model is stored next to MODEL.
Prints a JSON object: the number of windows, the seconds without imports and loading, and the best answer of each pair.
"""

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, QuestionAnsweringPipeline

INPUTS, OUTPUTS = ["input_ids", "attention_mask"], ["start_logits", "end_logits"]


class CountingPipeline(QuestionAnsweringPipeline):
    """Counts windows, and computes their logits with ONNX Runtime if there is a session."""

    windows = 0
    session = None

    def preprocess(self, *arguments, **options):
        for window in super().preprocess(*arguments, **options):
            self.windows += 1
            yield window

    def _forward(self, inputs):
        if self.session is None:
            output = super()._forward(inputs)
            return {**output, "start": output["start"].float(), "end": output["end"].float()}
        start, end = self.session.run(OUTPUTS, {name: inputs[name].numpy() for name in INPUTS})
        return {**inputs, "start": torch.from_numpy(start), "end": torch.from_numpy(end)}


def export_onnx(model, runtime):
    """Returns the ONNX file of a model folder, which is created if it does not exist."""
    file = Path(f"{model}.{runtime}.onnx")
    if runtime == "onnx-int8" and not file.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(export_onnx(model, "onnx"), file, per_channel=True, weight_type=QuantType.QInt8)
    elif not file.exists():
        # The exporter does not support the fused attention.
        reader = AutoModelForQuestionAnswering.from_pretrained(model, attn_implementation="eager").eval()
        ids = torch.full((2, 16), 5)
        axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS + OUTPUTS}
        names = {"input_names": INPUTS, "output_names": OUTPUTS, "dynamic_axes": axes}
        torch.onnx.export(reader, (ids, torch.ones_like(ids)), file, opset_version=17, dynamo=False, **names)
    return file


def main():
    model, pairs, batch_size, threads, runtime = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with open(pairs, encoding="utf-8") as file:
        pairs = json.load(file)
    dtype = torch.bfloat16 if runtime == "torch-bf16" else torch.float32
    pipeline = CountingPipeline(
        model=AutoModelForQuestionAnswering.from_pretrained(model, dtype=dtype),
        tokenizer=AutoTokenizer.from_pretrained(model),
    )
    if runtime.startswith("onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        # Waiting threads sleep, as in the other programs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        pipeline.session = onnxruntime.InferenceSession(export_onnx(model, runtime), options)
    begin = time.perf_counter()
    results = pipeline(
        question=[pair["question"] for pair in pairs],
        context=[pair["context"] for pair in pairs],
        batch_size=int(batch_size),
        max_seq_len=384,
        doc_stride=128,
        max_answer_len=30,
        align_to_words=False,
    )
    seconds = time.perf_counter() - begin
    answers = [result["answer"].strip() for result in results]
    print(json.dumps({"windows": pipeline.windows, "seconds": seconds, "answers": answers}))


main()
