"""Compares collections of `polyqa` with Python libraries on equal texts, models and threads.

    cargo build --release -p polyqa -p xlmr-model
    cargo xtask pretrained && cargo xtask peers --torch
    .peers/bin/python benches/collection_peers.py embed
    .peers/bin/python benches/collection_peers.py answer --passages 1000000

`embed` embeds passages: sentence-transformers in float32 and bfloat16, ONNX Runtime in float32 and int8 (dynamic quantisation), and `polyqa index
--retriever`. The seconds of `polyqa`, which also cuts and indexes the passages, are those of the whole program beyond its time for four passages;
those of the others are without imports and loading.

`answer` answers questions over a collection: bm25s with a reader of transformers, and `polyqa serve --collection`, each with 50 candidates.
Texts are random sentences of XQuAD in several languages, from a seed.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = 114
CANDIDATES = 50
LANGUAGES = ["en", "de", "es", "vi"]


def xquad(language):
    with open(ROOT / f"data/xquad/xquad.{language}.json", encoding="utf-8") as file:
        return [paragraph for article in json.load(file)["data"] for paragraph in article["paragraphs"]]


def generate_texts(count, seed=1):
    """Yields texts of `WORDS` words: random sentences of one language."""
    sentences = []
    for language in LANGUAGES:
        contexts = (paragraph["context"] for paragraph in xquad(language))
        split = (re.split(r"(?<=[.!?]) ", context) for context in contexts)
        sentences.append([sentence.split() for parts in split for sentence in parts])
    rng = random.Random(seed)
    for _ in range(count):
        pool, words = rng.choice(sentences), []
        while len(words) < WORDS:
            words += rng.choice(pool)
        yield " ".join(words[:WORDS])


def write_documents(path, texts):
    with open(path, "w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(json.dumps({"id": str(number), "text": text}, ensure_ascii=False) + "\n")


def run(command):
    """Runs a program; returns seconds, and the peak memory in MiB, which is at least that of this process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command}: {message.decode()}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def in_new_process(function, *arguments):
    """Calls a function of this file in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--call", function, json.dumps(arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# Embeddings


def embed_with_sentence_transformers(encoder, documents, dtype, threads, out):
    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(encoder, device="cpu", model_kwargs={"dtype": dtype})
    with open(documents, encoding="utf-8") as file:
        texts = ["passage: " + json.loads(line)["text"] for line in file]
    model.encode(texts[:4])
    begin = time.perf_counter()
    vectors = model.encode(texts, batch_size=32, normalize_embeddings=True, convert_to_numpy=False, convert_to_tensor=True)
    seconds = time.perf_counter() - begin
    numpy.save(out, vectors.float().numpy())
    return seconds, peak_mib()


def export_onnx(encoder, folder, quantize):
    import torch
    from transformers import AutoModel

    file = Path(folder) / "encoder.onnx"
    if not file.exists():

        class Encoder(torch.nn.Module):
            # The exporter passes every parameter of `forward` by position, which transformers 5.24 does not support.
            def __init__(self):
                super().__init__()
                self.model = AutoModel.from_pretrained(encoder, attn_implementation="eager").eval()

            def forward(self, input_ids, attention_mask):
                return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        ids = torch.full((2, 16), 5)
        names = ["input_ids", "attention_mask"]
        axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "hidden"]}
        torch.onnx.export(
            Encoder(), (ids, torch.ones_like(ids)), file, opset_version=17, dynamo=False,
            input_names=names, output_names=["hidden"], dynamic_axes=axes,
        )  # fmt: skip
    if quantize:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantized = Path(folder) / "encoder-int8.onnx"
        if not quantized.exists():
            quantize_dynamic(file, quantized, per_channel=True, weight_type=QuantType.QInt8)
        file = quantized
    return str(file)


def embed_with_onnx(encoder, documents, file, threads, out):
    import numpy
    import onnxruntime
    from transformers import AutoTokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    with open(documents, encoding="utf-8") as rows:
        texts = ["passage: " + json.loads(line)["text"] for line in rows]

    def encode(texts):
        # As sentence-transformers does: batches of texts of similar length.
        order = sorted(range(len(texts)), key=lambda k: -len(texts[k]))
        vectors = [None] * len(texts)
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            inputs = tokenizer([texts[k] for k in batch], padding=True, truncation=True, max_length=512, return_tensors="np")
            mask = inputs["attention_mask"]
            (hidden,) = session.run(None, {"input_ids": inputs["input_ids"], "attention_mask": mask})
            sums = (hidden * mask[..., None]).sum(1)
            sums /= numpy.linalg.norm(sums, axis=1, keepdims=True)
            for k, vector in zip(batch, sums):
                vectors[k] = vector
        return numpy.stack(vectors)

    encode(texts[:4])
    begin = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - begin
    numpy.save(out, vectors)
    return seconds, peak_mib()


def embed(options):
    import numpy

    documents = options.folder / "embed.jsonl"
    few = options.folder / "few.jsonl"
    write_documents(few, generate_texts(4, seed=3))
    write_documents(documents, generate_texts(options.passages, seed=2))
    encoder, library = str(options.encoder), options.folder / "library"
    vectors = {}

    def peer(name, function, *arguments):
        out = str(options.folder / f"{name.replace(' ', '-')}.npy")
        seconds, memory = in_new_process(function, encoder, str(documents), *arguments, options.threads, out)
        vectors[name] = numpy.load(out)
        return seconds, memory

    def polyqa(precision):
        measured = []
        for path in [few, documents]:
            shutil.rmtree(library, ignore_errors=True)
            index = [options.program, "index", "--documents", path, "--out", library]
            measured.append(run([*map(str, index), "--retriever", encoder, "--precision", precision]))
        (start, _), (seconds, memory) = measured
        return seconds - start, memory

    onnx = [in_new_process("export_onnx", encoder, str(options.folder), quantize) for quantize in [False, True]]
    programs = {
        "sentence-transformers float32": lambda: peer("st-f32", "embed_with_sentence_transformers", "float32"),
        "sentence-transformers bfloat16": lambda: peer("st-bf16", "embed_with_sentence_transformers", "bfloat16"),
        "ONNX Runtime float32": lambda: peer("onnx-f32", "embed_with_onnx", onnx[0]),
        "ONNX Runtime int8": lambda: peer("onnx-int8", "embed_with_onnx", onnx[1]),
        **{f"polyqa index, {precision}": lambda precision=precision: polyqa(precision) for precision in options.precisions},
    }
    measured = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, measure in programs.items():
            measured[name].append(measure())
    print(f"{options.passages} passages of {WORDS} words, {options.threads} threads, medians of {options.rounds} rounds\n")
    print("| program | passages/s | x sentence-transformers float32 | MiB |\n|---|---:|---:|---:|")
    base = statistics.median(seconds for seconds, _ in measured["sentence-transformers float32"])
    for name, runs in measured.items():
        seconds, memory = (statistics.median(values) for values in zip(*runs))
        print(f"| {name} | {options.passages / seconds:.1f} | {base / seconds:.2f} | {memory:.0f} |")
    reference = vectors["st-f32"]
    for name, values in vectors.items():
        print(f"{name}: lowest cosine with float32 {(values * reference).sum(1).min():.4f}")


# Answers


def answer_with_transformers(model, documents, questions, dtype, threads):
    import bm25s
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    torch.set_num_threads(threads)
    with open(documents, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    begin = time.perf_counter()
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
    building = time.perf_counter() - begin
    tokenizer = AutoTokenizer.from_pretrained(model)
    reader = AutoModelForQuestionAnswering.from_pretrained(model, dtype=getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def answer(question):
        tokens = bm25s.tokenize([question], stopwords=None, show_progress=False)
        found, _ = retriever.retrieve(tokens, k=CANDIDATES, show_progress=False)
        retrieved = time.perf_counter()
        candidates = sorted((texts[k] for k in found[0]), key=len)
        best = (float("-inf"), "")
        for start in range(0, CANDIDATES, 10):
            contexts = candidates[start : start + 10]
            encoded = tokenizer(
                [question] * len(contexts), contexts, truncation="only_second", max_length=384, stride=128,
                return_overflowing_tokens=True, return_offsets_mapping=True, padding=True, return_tensors="pt",
            )  # fmt: skip
            offsets, samples = encoded.pop("offset_mapping"), encoded.pop("overflow_to_sample_mapping")
            output = reader(**encoded)
            for window in range(len(samples)):
                in_context = torch.tensor([part == 1 for part in encoded.sequence_ids(window)])
                start_logits, end_logits = (
                    logits[window].float().masked_fill(~in_context, float("-inf")) for logits in [output.start_logits, output.end_logits]
                )
                is_span = torch.ones(len(in_context), len(in_context), dtype=torch.bool).triu().tril(29)
                scores = (start_logits[:, None] + end_logits[None, :]).masked_fill(~is_span, float("-inf"))
                score, index = scores.flatten().max(0)
                if score > best[0]:
                    first, last = divmod(int(index), scores.shape[1])
                    span = slice(int(offsets[window][first][0]), int(offsets[window][last][1]))
                    best = (float(score), contexts[samples[window]][span])
        return best[1], retrieved

    times, retrieval = [], []
    answer(questions[0])
    for question in questions:
        begin = time.perf_counter()
        _, retrieved = answer(question)
        times.append(time.perf_counter() - begin)
        retrieval.append(retrieved - begin)
    return building, retrieval, times, peak_mib()


class Service:
    def __init__(self, options, library, precision):
        command = [options.program, "serve", "--model", options.model, "--collection", library, "--port", "0", "--precision", precision]
        begin = time.perf_counter()
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        line = next(line for line in self.process.stderr if line.startswith("serving on "))
        self.seconds = time.perf_counter() - begin
        self.address = line.split()[-1]

    def answer(self, question):
        body = json.dumps({"question": question}).encode()
        request = urllib.request.Request(f"{self.address}/answer", body, {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    def memory(self):
        """Peak memory, and memory without files that are mapped, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return [int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ["VmHWM", "RssAnon"]]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def answer(options):
    documents, library = options.folder / "documents.jsonl", options.folder / "large"
    shutil.rmtree(library, ignore_errors=True)
    write_documents(documents, generate_texts(options.passages))
    questions = [question["question"] for paragraph in xquad("en") for question in paragraph["qas"]]
    questions = random.Random(3).sample(questions, options.questions)
    seconds, memory = run([str(options.program), "index", "--documents", str(documents), "--out", str(library)])
    print(f"polyqa index: {options.passages} passages in {seconds:.0f} s, {memory:.0f} MiB\n", flush=True)

    def percentiles(times):
        times = sorted(times)
        return f"{times[len(times) // 2]:.3f} | {times[int(len(times) * 0.95)]:.3f}"

    print(f"{options.questions} questions, {CANDIDATES} candidates, {options.threads} threads\n")
    print("| program | p50, s | p95, s | of which retrieval, p50 | start, s | MiB (without mapped files) |\n|---|---:|---:|---:|---:|---:|")
    for precision in options.precisions:
        service = Service(options, library, precision)
        begin = time.perf_counter()
        service.answer(questions[0])
        first, times = time.perf_counter() - begin, []
        for question in questions:
            begin = time.perf_counter()
            service.answer(question)
            times.append(time.perf_counter() - begin)
        memory, anonymous = service.memory()
        service.stop()
        start = f"{service.seconds:.2f} + {first:.2f} (first answer)"
        print(f"| polyqa serve, {precision} | {percentiles(times)} | | {start} | {memory:.0f} ({anonymous:.0f}) |", flush=True)
    for dtype in options.dtypes:
        arguments = [str(options.model), str(documents), questions, dtype, options.threads]
        building, retrieval, times, memory = in_new_process("answer_with_transformers", *arguments)
        name = f"bm25s and transformers, {dtype}"
        print(f"| {name} | {percentiles(times)} | {statistics.median(retrieval):.3f} | {building:.0f} (index) | {memory:.0f} |", flush=True)


def main():
    if sys.argv[1:2] == ["--call"]:
        function, arguments = sys.argv[2:]
        print(json.dumps(globals()[function](*json.loads(arguments))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, passages in [("embed", 600), ("answer", 100_000)]:
        command = commands.add_parser(name)
        command.add_argument("--program", type=Path, default=ROOT / "target/release/polyqa")
        command.add_argument("--passages", type=int, default=passages)
        command.add_argument("--threads", type=int, default=os.cpu_count())
        command.add_argument("--folder", type=Path, default=ROOT / "target/collection-peers", help="folder of files that are written")
        command.add_argument("--precisions", nargs="+", default=["auto"])
    embedding, answering = commands.choices["embed"], commands.choices["answer"]
    embedding.add_argument("--encoder", type=Path, default=ROOT / ".pretrained/multilingual-e5-small")
    embedding.add_argument("--rounds", type=int, default=3)
    answering.add_argument("--model", type=Path, required=True, help="a reader that transformers can load")
    answering.add_argument("--questions", type=int, default=50)
    answering.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    options.folder.mkdir(parents=True, exist_ok=True)
    {"embed": embed, "answer": answer}[options.command](options)


if __name__ == "__main__":
    main()
