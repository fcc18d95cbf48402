"""The checks of docs/results/gpu.md; requires only Python's standard library. Started by run.sh."""

import argparse
import array
import datetime
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

# ---- Settings that depend on the recipes' keys and programs.

DEVICE_KEY = os.environ.get("POLYQA_DEVICE_KEY", "run.device")
# Maximum absolute difference from the stored outputs, float32.
TOLERANCE = {"cuda": 1e-4, "cpu": 1e-5}
# Maximum time of a program in seconds.
TIME_LIMIT = 540
# Commands for small data sets, which replace the recipes' commands.
FACTS = "--kg data/demo/kg --split 0.4,0.3,0.3 --seed 1234"
QUESTIONS = (
    f"prepare.questions=demo-data fact-questions {FACTS} --templates data/demo/templates.tsv --items "
)
PARALLEL = (
    "prepare.questions=demo-data fact-questions --parallel --languages en,de --items 40 "
    f"{FACTS} --templates data/demo/templates-all.tsv"
)
SEARCH = "prepare.search=demo-data search --questions {questions} --languages de"
ARTICLES = (
    "prepare.questions=demo-data xquad-split --xquad data/xquad --languages en,zh --articles 4 "
    "--first 3"
)
# Additional settings of each recipe, for full runs and for runs of a few steps.
FULL = {
    "bridging-gap": [],
    "resume": [
        "injection.steps=90",
        "injection.checkpoint_steps=30",
        "fine_tuning.steps=30",
        QUESTIONS + "400",
    ],
    "xlm-k": [],
    "xlm-k-losses": ["pretraining.steps=40", "pretraining.log_steps=1"],
    "mixmrc-lakm": [],
    "good-to-best": [],
    "question-answering": ["--epochs", "2"],
}
TINY_FACTS = [
    "injection.steps=6",
    "injection.batch_size=8",
    "fine_tuning.steps=4",
    "fine_tuning.batch_size=4",
    QUESTIONS + "40",
]
TINY_MENTIONS = ["losses.queue.size=16"]
TINY = {
    "bridging-gap": TINY_FACTS,
    "resume": [*TINY_FACTS, "injection.checkpoint_steps=2"],
    "xlm-k": [*TINY_MENTIONS, "pretraining.steps=4", "pretraining.batch_size=6"],
    "xlm-k-losses": [
        *TINY_MENTIONS,
        "pretraining.steps=4",
        "pretraining.batch_size=24",
        "pretraining.log_steps=1",
    ],
    "mixmrc-lakm": [
        'languages=["en", "de"]',
        'evaluation.contexts=["en", "de"]',
        PARALLEL,
        SEARCH,
        "training.steps=4",
        "training.batch_size=4",
    ],
    "good-to-best": [
        'selection.keep="last"',
        'languages=["en", "zh"]',
        ARTICLES,
        "stage_one.steps=4",
        "stage_one.batch_size=6",
        "stage_two.steps=4",
        "stage_two.batch_size=6",
    ],
    "question-answering": ["--set", "training.steps=2", "--batch-size", "2"],
}
# Micro-batch sizes of the two-pass step: one whole batch, and smaller micro-batches.
MICRO_BATCH = {"full": (64, 16), "tiny": (24, 8)}
# Maximum relative difference of losses that are summed in different orders.
LOSS_ROUNDING = 1e-3
# Maximum relative difference of the first losses in half precision and in float32.
HALF_ROUNDING = 0.02
# Number of steps that are compared with the CPU.
COMPARED_STEPS = {"full": 10, "tiny": 2}
# Messages that fail a check: warnings of libtorch, and the note that padding is computed.
UNWANTED = ["[W", "training computes padding as well"]
# Time limit of the loss comparisons in seconds; later comparisons are skipped and listed.
LOSSES_SECONDS = 360
# Sizes of the timed training steps, which are compared with transformers if it is installed: maximum tokens per window, windows per batch.
SPEED_SIZES = [(384, 16), (384, 64), (512, 32)]


class Failure(Exception):
    """A failed check; the message is printed in the table."""


class Bundle:
    """Device, settings and output folder of the checks; starts programs."""

    def __init__(self, cpu, out):
        self.device = "cpu" if cpu else "cuda"
        self.size = "tiny" if cpu else "full"
        self.settings = TINY if cpu else FULL
        self.out = out

    def recipe_command(self, program, folder, settings, more=()):
        command = [f"bin/{program}", f"examples/{program}/small.toml", "--prepare", "--out", folder]
        for setting in [f'{DEVICE_KEY}="{self.device}"', *settings, *more]:
            command += ["--set", setting]
        return [str(word) for word in command]

    def run(self, command, log, unwanted=UNWANTED):
        with open(self.out / f"{log}.log", "w", encoding="utf-8") as file:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=TIME_LIMIT,
                )
            except subprocess.TimeoutExpired:
                raise Failure(f"timed out after {TIME_LIMIT} s; {log}.log") from None
        if done.returncode != 0:
            raise Failure(f"exit code {done.returncode}: {last_line(self.out / f'{log}.log')}")
        for line in (self.out / f"{log}.log").read_text(encoding="utf-8").splitlines():
            require(not any(word in line for word in unwanted), f"{log}.log: {line[:200]}")


def last_line(path):
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "no output"


def require(condition, message):
    if not condition:
        raise Failure(message)


# ---- safetensors: header length in eight bytes, JSON header, elements.

CODES = {"F32": "f", "F64": "d", "I64": "q", "I32": "i"}


def read_tensors(path):
    """Returns {name: (dtype, shape, values)} for the tensors with a dtype in CODES."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] in CODES:
            begin, end = entry["data_offsets"]
            values = array.array(CODES[entry["dtype"]])
            values.frombytes(data[8 + length + begin : 8 + length + end])
            tensors[name] = (entry["dtype"], entry["shape"], values)
    return tensors


def write_tensors(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        raw = values.tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


# ---- The checks. Each returns the detail for the table, or raises Failure.


def check_driver(bundle):
    if bundle.device == "cpu":
        return "skipped (--cpu)"
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(f"nvidia-smi: {error}") from None
    folders = os.environ["LD_LIBRARY_PATH"].split(":")
    require(
        any(Path(folder, "libtorch_cuda.so").exists() for folder in folders), "no libtorch_cuda.so"
    )
    return found.replace("\n", "; ")


def check_nccl(bundle):
    """Compiles the process groups with NCCL and runs a group of one process."""
    if bundle.device == "cpu":
        return "skipped (--cpu)"
    libraries = Path(os.environ["LD_LIBRARY_PATH"].split(":")[0])
    torch = libraries.parent
    cuda = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    wheels = torch.parent / "nvidia"
    include = [
        "shim",
        torch / "include",
        torch / "include/torch/csrc/api/include",
        wheels / "nccl/include",
        wheels / "cu13/include",
        wheels / "cu13/include/cccl",
        cuda / "include",
        cuda / "include/cccl",
    ]
    program = bundle.out / "nccl"
    compiler = ["g++", "-std=c++17", "-O1", "-DUSE_DISTRIBUTED", "-DUSE_C10D_GLOO", "-DUSE_C10D_NCCL"]
    compiler += [f"-I{folder}" for folder in include]
    libraries = [f"-L{libraries}", "-ltorch", "-ltorch_cpu", "-ltorch_cuda", "-lc10", "-lc10_cuda"]
    linker = ["-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]
    bundle.run([*compiler, "nccl.cpp", "-o", str(program), *linker, *libraries], "nccl-build")
    bundle.run([str(program)], "nccl", unwanted=[])
    return last_line(bundle.out / "nccl.log")


def check_fixtures(bundle):
    max_difference, count = 0.0, 0
    folders = sorted(Path("fixtures/hf").iterdir())
    # On the CPU, the workspace's tests compare all fixtures.
    for folder in folders if bundle.device == "cuda" else folders[:2]:
        inputs, outputs = read_tensors(folder / "inputs.safetensors"), read_tensors(
            folder / "outputs.safetensors"
        )
        for batch in ("b0", "b1"):
            names = ["input_ids", "attention_mask", "token_type_ids", "position_ids"]
            batch_inputs = {
                name: inputs[f"{batch}.{name}"] for name in names if f"{batch}.{name}" in inputs
            }
            stem = bundle.out / f"{folder.name}-{batch}"
            write_tensors(f"{stem}-in.safetensors", batch_inputs)
            bundle.run(
                [
                    "bin/xlmr-model",
                    "run",
                    "--model",
                    str(folder),
                    "--inputs",
                    f"{stem}-in.safetensors",
                    "--out",
                    f"{stem}-out.safetensors",
                    "--device",
                    bundle.device,
                ],
                stem.name,
            )
            # Fixtures with the key `padding` store zeros at padding.
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            mask = batch_inputs["attention_mask"] if "padding" in meta else None
            for name, (_, shape, actual) in read_tensors(f"{stem}-out.safetensors").items():
                stored = stored_values(outputs, batch, name, len(actual))
                require(stored is not None, f"{folder.name}: no stored {batch}.{name}")
                require(
                    all(number == number for number in actual),
                    f"{folder.name}: {name} {shape} is not a number",
                )
                pairs = without_padding(shape, actual, stored, mask)
                max_difference = max(max_difference, max(abs(a - b) for a, b in pairs))
                count += 1
    require(count > 0, "no fixtures")
    tolerance = TOLERANCE[bundle.device]
    text = f"{count} outputs, maximum difference {max_difference:.1e} (allowed: {tolerance:.0e})"
    require(max_difference <= tolerance, text)
    return text


def without_padding(shape, actual, stored, mask):
    """Returns pairs of elements, without elements at padding if there is a `mask`."""
    pairs = list(zip(actual, stored))
    if mask is None or list(shape[:2]) != list(mask[1]):
        return pairs
    values = mask[2]
    width = len(pairs) // len(values)
    return [pair for index, pair in enumerate(pairs) if values[index // width]]


def stored_values(outputs, batch, name, count):
    """Returns the stored values; the last hidden state may be the end of `hidden_states`."""
    if f"{batch}.{name}" in outputs:
        return outputs[f"{batch}.{name}"][2]
    if name == "last_hidden_state" and f"{batch}.hidden_states" in outputs:
        return outputs[f"{batch}.hidden_states"][2][-count:]
    return None


def check_demo(bundle):
    folder = bundle.out / "demo"
    bundle.run(bundle.recipe_command("bridging-gap", folder, bundle.settings["bridging-gap"]), "demo")
    arms = read_summary(folder)["arms"]
    mean = {name: arms[name]["average"]["f1"] for name in ("base", "control", "injected")}
    text = ", ".join(f"`{name}` {value:.1f}" for name, value in mean.items())
    if bundle.size == "full":
        require(mean["injected"] > max(mean["base"], mean["control"]), f"mean F1: {text}")
    return f"mean F1: {text}"


def copy_with_dropout(bundle):
    """Copies the model in data/base, and changes its dropout from 0 to 0.1."""
    folder = bundle.out / "base-with-dropout"
    if not folder.exists():
        # Another check may create the folder concurrently.
        part = Path(tempfile.mkdtemp(dir=bundle.out))
        shutil.copytree("data/base", part / "base")
        config = json.loads((part / "base/config.json").read_text(encoding="utf-8"))
        for name in ["attention_probs_dropout_prob", "hidden_dropout_prob"]:
            config[name] = 0.1
        (part / "base/config.json").write_text(json.dumps(config), encoding="utf-8")
        try:
            (part / "base").rename(folder)
        except OSError:
            require(folder.exists(), f"{folder} could not be created")
        shutil.rmtree(part)
    return folder


def check_resume(bundle, precision="f32"):
    if bundle.device == "cpu" and precision != "f32":
        return "skipped (--cpu)"
    settings = [
        *bundle.settings["resume"],
        f'run.precision="{precision}"',
        f'model.path="{copy_with_dropout(bundle).absolute()}"',
    ]
    uninterrupted = bundle.out / f"uninterrupted-{precision}"
    interrupted = bundle.out / f"interrupted-{precision}"
    bundle.run(bundle.recipe_command("bridging-gap", uninterrupted, settings), uninterrupted.name)
    command = bundle.recipe_command("bridging-gap", interrupted, settings)
    log = bundle.out / f"{interrupted.name}.log"
    with open(log, "w", encoding="utf-8") as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        start = time.monotonic()
        while (
            not any(interrupted.glob("seed-0/injected/**/checkpoints/step-*")) and child.poll() is None
        ):
            require(time.monotonic() - start < TIME_LIMIT, "no checkpoint was written")
            time.sleep(0.005)
        child.kill()
        require(
            child.wait() == -signal.SIGKILL,
            f"ended before it was killed: {last_line(log)}",
        )
    bundle.run(command, f"resumed-{precision}")
    # Losses are compared before scores, so that the first difference is reported.
    for path in sorted(uninterrupted.rglob("metrics.jsonl")):
        name = path.relative_to(uninterrupted)
        require(path.read_bytes() == (interrupted / name).read_bytes(), f"{name} differs")
    summaries = [without_times(read_summary(folder)) for folder in (uninterrupted, interrupted)]
    require(summaries[0] == summaries[1], "summary.json differs")
    return "with dropout, killed at a checkpoint and resumed: equal summary.json"


def check_xlm_k(bundle):
    folder = bundle.out / "xlm-k"
    bundle.run(bundle.recipe_command("xlm-k", folder, bundle.settings["xlm-k"]), "xlm-k")
    loss = read_losses(folder, "xlm-k")
    arms = read_summary(folder)["arms"]
    probe = {name: arms[name]["xep_seen"]["accuracy"]["mean"] for name in ("mlm", "xlm-k")}
    text = f"loss {loss[0]:.2f} to {loss[-1]:.2f}; XEP `mlm` {probe['mlm']:.1f}, `xlm-k` {probe['xlm-k']:.1f}"
    if bundle.size == "full":
        require(loss[-1] < loss[0], f"the loss does not decrease: {text}")
        require(probe["xlm-k"] > probe["mlm"], text)
    return text


def check_two_pass(bundle):
    settings, runs = bundle.settings["xlm-k-losses"], []
    for rows in MICRO_BATCH[bundle.size]:
        folder = bundle.out / f"xlm-k-{rows}"
        bundle.run(bundle.recipe_command("xlm-k", folder, settings, [f"micro_batch={rows}"]), folder.name)
        runs.append(read_losses(folder, "xlm-k"))
    require(len(runs[0]) == len(runs[1]) > 0, "different numbers of steps")
    difference = max(abs(a - b) / max(abs(a), 1.0) for a, b in zip(*runs))
    require(difference <= LOSS_ROUNDING, f"losses: relative difference {difference:.1e}")
    return f"{len(runs[0])} steps, whole batches and parts: relative difference of losses {difference:.1e}"


def check_half_xlm_k(bundle):
    """Compares the first losses in half precision and in float32."""
    settings, first_losses = bundle.settings["xlm-k-losses"], {}
    for precision in ["f32", "bf16", "f16"][: 3 if bundle.device == "cuda" else 2]:
        folder = bundle.out / f"xlm-k-{precision}"
        command = bundle.recipe_command("xlm-k", folder, settings, [f'run.precision="{precision}"'])
        bundle.run(command, folder.name)
        first_losses[precision] = read_losses(folder, "xlm-k")[0]
    text = ", ".join(f"`{name}` {value:.4f}" for name, value in first_losses.items())
    difference = max(abs(value / first_losses["f32"] - 1) for value in first_losses.values())
    require(difference <= HALF_ROUNDING, f"first losses: {text}")
    return f"first losses: {text}"


def check_against_cpu(bundle):
    """Compares losses and gradient norms with the CPU, first without and then with activation checkpointing and micro-batches."""
    steps = COMPARED_STEPS[bundle.size]
    more = ["--set", f"training.steps={steps}", "--set", "training.log_steps=1"]
    parts = ["--set", "run.activation_checkpointing=true", "--set", "training.micro_batch=1"]
    runs = {
        "cpu": train_reader(bundle, "f32", "cpu", more),
        "device": train_reader(bundle, "f32", "device", more),
        "parts": train_reader(bundle, "f32", "parts", [*more, *parts]),
    }
    metrics = {name: read_steps(folder) for name, folder in runs.items()}
    require(all(len(lines) == steps for lines in metrics.values()), "different numbers of steps")
    difference = 0.0
    for name in ("device", "parts"):
        for step, cpu_step in zip(metrics[name], metrics["cpu"]):
            for key in ("loss", "grad_norm"):
                difference = max(difference, abs(step[key] / cpu_step[key] - 1))
    text = f"{steps} steps, relative difference of losses and gradient norms {difference:.1e}"
    require(difference <= LOSS_ROUNDING, text)
    return text


def check_mixmrc(bundle):
    folder = bundle.out / "mixmrc"
    bundle.run(bundle.recipe_command("mixmrc-lakm", folder, bundle.settings["mixmrc-lakm"]), "mixmrc")
    arms = read_summary(folder)["arms"]
    pairs = {name: arms[name]["off_diagonal"]["f1"] for name in ("baseline", "mixmrc")}
    text = ", ".join(f"`{name}` {value:.1f}" for name, value in pairs.items())
    if bundle.size == "full":
        require(pairs["mixmrc"] > pairs["baseline"], f"F1 in pairs of two languages: {text}")
    return f"F1 in pairs of two languages: {text}"


def check_good_to_best(bundle):
    folder = bundle.out / "good-to-best"
    bundle.run(
        bundle.recipe_command("good-to-best", folder, bundle.settings["good-to-best"]), "good-to-best"
    )
    arms = read_summary(folder)["arms"]
    exact = {
        name: arms[name]["sets"]["XQuAD"]["scores"]["average"]["em"]
        for name in ("plain", "hl", "hl+aa-cl")
    }
    text = ", ".join(f"`{name}` {value:.1f}" for name, value in exact.items())
    return f"exact match: {text}"


def check_experiments(bundle):
    """Checks names and types of the settings of all experiments, and their arms, without running them."""
    bundle.run([sys.executable, "recipes.py", "--check", "--device", bundle.device], "experiments", unwanted=[])
    return "`recipes.py --check`"


def check_question_answering(bundle):
    scores = read_summary(train_reader(bundle, "f32"))["scores"][0]["score"]
    return f"XQuAD en to de: F1 {scores['f1']:.1f}, exact match {scores['exact_match']:.1f}"


def check_precision(bundle):
    """Compares losses in float32, bfloat16 and, on a GPU, float16, which has a loss scale."""
    texts = []
    one_step = ["--set", "training.steps=1"]
    (full,) = read_steps(train_reader(bundle, "f32", "first", one_step))
    for precision in ["bf16", "f16"][: 2 if bundle.device == "cuda" else 1]:
        (half,) = read_steps(train_reader(bundle, precision, "first", one_step))
        difference = abs(half["loss"] / full["loss"] - 1)
        require(difference <= HALF_ROUNDING, f"`{precision}`: relative difference of the first loss {difference:.1e}")
        folder = train_reader(bundle, precision)
        lines = read_steps(folder)
        first, last = lines[0]["loss"], lines[-1]["loss"]
        text = f"`{precision}` loss {first:.2f} to {last:.2f}"
        require(("loss_scale" in lines[-1]) == (precision == "f16"), f"{text}: loss_scale")
        require(lines[-1].get("loss_scale", 2) > 1, f"{text}: the loss scale decreased to 1")
        if bundle.size == "full":
            require(last < first, f"the loss does not decrease: {text}")
        texts.append(f"{text}, F1 {read_summary(folder)['scores'][0]['score']['f1']:.1f}")
    return "; ".join(texts)


def read_steps(folder):
    """Returns the lines of the only metrics.jsonl below a folder."""
    (path,) = folder.glob("**/metrics.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    require(lines, f"{path}: no steps")
    return lines


def train_reader(bundle, precision, name="", more=()):
    """Runs `polyqa train` and returns its run folder. A run with a name is not evaluated; `cpu` runs on the CPU."""
    evaluation = [] if name else ["--dev", "data/xquad/xquad.de.json", "--language", "de"]
    folder = bundle.out / "-".join(filter(None, ["question-answering", name, precision]))
    bundle.run(
        [
            "bin/polyqa",
            "train",
            "--model",
            "data/base",
            "--train",
            "data/xquad/xquad.en.json",
            *evaluation,
            "--learning-rate",
            "5e-4",
            "--out",
            str(folder),
            "--device",
            "cpu" if name == "cpu" else bundle.device,
            "--set",
            f'run.precision="{precision}"',
            *bundle.settings["question-answering"],
            *more,
        ],
        folder.name,
    )
    return folder


def read_summary(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key != "seconds"}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def read_losses(folder, arm):
    """Returns the losses of an arm's pre-training, including steps that the loss scaler skipped."""
    (path,) = folder.glob(f"seed-0/{arm}/**/pretrain/metrics.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        require(line["loss"] is not None, f"{path}: step {line['step']} has no finite loss")
    return [line["loss"] for line in lines]


def encoder_command(bundle, name, more):
    command = ["bin/encoder", "--tokenizer", "data/base", "--data", "data/xquad"]
    return [*command, "--out", str(bundle.out / name), *more]


def measure_speed(bundle, length, batch, more=()):
    """Measures the speed for an entry of SPEED_SIZES without concurrent checks; `more` may be `--inference`."""
    peer = ["--peer", "encoder_peer.py", "--python", sys.executable]
    transformers = subprocess.run([sys.executable, "-c", "import transformers"], capture_output=True)
    if transformers.returncode != 0:
        peer = ["--except", "transformers"]
    name = "".join([f"speed-{length}-{batch}", *more])
    if bundle.device == "cpu":
        bundle.run(encoder_command(bundle, name, [*peer, *more, "--quick"]), name)
        return "a step of a tiny model, not a measurement"
    size = ["--length", str(length), "--batch", str(batch), "--steps", "20", "--rounds", "1"]
    bundle.run(encoder_command(bundle, name, [*peer, *more, *size, "--device", bundle.device]), name)
    text = (bundle.out / f"{name}.log").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("|")]
    return "\n".join([f"{batch} windows of up to {length} tokens:", "", *table])


def measure_profile(bundle, length, batch):
    """Profiles training steps; libtorch's profiler may print warnings."""
    name = f"profile-{length}-{batch}"
    size = ["--length", str(length), "--batch", str(batch), "--steps", "5", "--rounds", "1"]
    more = [*size, "--device", bundle.device]
    if bundle.device == "cpu":
        more = ["--quick", "--only", "bfloat16"]
    command = encoder_command(bundle, name, ["--profile", "--except", "transformers", *more])
    bundle.run(command, name, unwanted=[])
    traces = sorted((bundle.out / name).glob("encoder_*.trace.json"))
    require(traces, "no profiles")
    return f"{name}/encoder_*.trace.json, {len(traces)} steps"


def measure_losses(bundle):
    """Compares every loss with other implementations, without concurrent checks."""
    command = ["bin/losses", "--device", bundle.device, "--out", str(bundle.out)]
    if bundle.device == "cpu":
        small = ["--only", "span", "--only", "hard_learning", "--rounds", "2"]
        bundle.run([*command, *small], "losses")
        return "two losses, not a measurement"
    bundle.run([*command, "--seconds", str(LOSSES_SECONDS)], "losses")
    text = (bundle.out / "losses.log").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith(("|", "skipped"))]
    return "\n".join(["forward and backward compared with other implementations, time and peak memory of a step:", "", *table])


CHECKS = [
    ("driver and CUDA libraries", check_driver),
    ("NCCL", check_nccl),
    ("`xlmr-model run` against transformers' outputs", check_fixtures),
    ("demo", check_demo),
    ("interrupted and resumed", check_resume),
    (
        "interrupted and resumed, bfloat16",
        lambda bundle: check_resume(bundle, "bf16"),
    ),
    ("`xlm-k`", check_xlm_k),
    ("`xlm-k` in micro-batches", check_two_pass),
    ("`xlm-k` in half precision", check_half_xlm_k),
    ("training steps compared with the CPU", check_against_cpu),
    ("`mixmrc-lakm`", check_mixmrc),
    ("`good-to-best`", check_good_to_best),
    ("settings of the experiments", check_experiments),
    ("`polyqa train`", check_question_answering),
    ("`polyqa train` in half precision", check_precision),
]


def is_selected(name, only):
    return only is None or any(words in name for words in only)


def measurements(bundle):
    """Returns the measurements, which run sequentially after all checks."""
    sizes = SPEED_SIZES[:1] if bundle.device == "cpu" else SPEED_SIZES

    def by_size(title, measure):
        return [
            (f"{title}, {batch} × {length}", partial(measure, length=length, batch=batch))
            for length, batch in sizes
        ]

    return [
        *by_size("speed", measure_speed),
        *by_size("inference speed", partial(measure_speed, more=["--inference"])),
        ("losses", measure_losses),
        *by_size("profile", measure_profile),
    ]


def run_timed(bundle, check):
    start = time.monotonic()
    try:
        passed, detail = True, check(bundle)
    except Failure as failure:
        passed, detail = False, str(failure)
    except Exception as error:  # A missing key in a summary fails this check only.
        passed, detail = False, f"{type(error).__name__}: {error}"
    return passed, detail, time.monotonic() - start


def device_name(bundle):
    if bundle.device == "cuda":
        return check_driver(bundle)
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} cores of {line.split(':')[1].strip()}"
    return platform.processor() or platform.machine()


def append_to_report(bundle, lines):
    """Appends to the report immediately, so that the report of an interrupted run has all completed results."""
    text = "\n".join(lines) + "\n"
    with open(bundle.out / "gpu-report.md", "a", encoding="utf-8") as file:
        file.write(text)
    print(text, end="", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cpu", action="store_true", help="run on the CPU, with a few steps per check"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out"),
        help="output folder of runs, logs, profiles and gpu-report.md",
    )
    parser.add_argument("--jobs", type=int, help="number of concurrent checks")
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORDS",
        help="run only the driver check, and the checks whose names in the table contain WORDS; "
        "`speed`, `losses` and `profile` select the measurements; may be given several times",
    )
    arguments = parser.parse_args()
    checks = [*CHECKS[:1], *(entry for entry in CHECKS[1:] if is_selected(entry[0], arguments.only))]
    bundle = Bundle(arguments.cpu, arguments.out)
    measured = [entry for entry in measurements(bundle) if is_selected(entry[0], arguments.only)]
    if len(checks) == 1 and not measured:
        parser.error(f"--only {' '.join(arguments.only)}: no such check")
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    # The checks share one GPU; their speed depends mostly on the CPU. Tiny steps use one core each.
    cores = os.cpu_count() or 2
    jobs = arguments.jobs or max(1, min(len(checks), cores if arguments.cpu else cores // 2))
    start = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda entry: run_timed(bundle, entry[1]), checks))
    date = datetime.date.today().isoformat()
    lines = [
        f"{date}, {device_name(bundle) if results[0][0] else 'no GPU found'}, libtorch 2.11.0, {jobs} concurrent checks,",
        "",
    ]
    lines[0] += f" {time.monotonic() - start:.0f} s in total" + (
        ", a few steps each:" if bundle.size == "tiny" else ":"
    )
    lines += ["| check | result | seconds | detail |", "|---|---|---:|---|"]
    for (name, _), (passed, detail, seconds) in zip(checks, results):
        detail = detail.replace("|", "/").replace("\n", " ")
        lines.append(
            f"| {name} | {'passed' if passed else '**FAILED**'} | {seconds:.0f} | {detail} |"
        )
    append_to_report(bundle, lines)
    for name, measure in measured:
        passed, detail, seconds = run_timed(bundle, measure)
        results.append((passed, detail, seconds))
        lines = f"{name.capitalize()}: {detail}" if passed else f"**FAILED**: {name}: {detail}"
        append_to_report(bundle, ["", lines])
    sys.exit(0 if all(passed for passed, _, _ in results) else 1)


if __name__ == "__main__":
    main()
