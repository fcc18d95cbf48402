"""Checks that the peak memory of xlm-k does not grow with the size of its streamed shards.

    python3 benches/streamed_memory.py [--release] [--mb 100,1000] [--steps 4]

`kg-triples` writes mentions and triples from the files in data/. Their lines and the texts of pages are repeated
in shards until the shards have the given total size. For each size, a small encoder is trained for a few steps.
Prints the peak resident set for each size. Fails if the larger shards increase the peak by more than 50 MB.
Build first: cargo build [--release] -p kg-triples, and
cargo build [--release] -p examples --example xlm-k.
"""
import argparse
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_GROWTH_MB = 50


def read_extracts():
    """Yields the extracts of the pages in data/codex as JSON lines."""
    for path in sorted((ROOT / "data/codex").glob("entities.*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as pages:
            for page in pages:
                extract = json.loads(page).get("extract")
                if extract:
                    yield json.dumps({"text": extract}, ensure_ascii=False) + "\n"


def create_examples(tool, folder):
    """Returns a few megabytes of lines of each kind."""
    kinds = {
        "mentions": ["--entities", "data/codex", "--max-tokens", "128"],
        "entailment": ["--kg", "data/mini-kg", "--labels"],
    }
    examples_by_kind = {}
    for kind, arguments in kinds.items():
        path = folder / f"{kind}.jsonl"
        command = [tool, kind, *arguments, "--description-tokens", "128"]
        command += ["--tokenizer", "data/base", "--out", path]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        examples_by_kind[kind] = path.read_bytes()
    examples_by_kind["text"] = "".join(read_extracts()).encode()
    return examples_by_kind


def write_shards(examples_by_kind, folder, megabytes):
    """Repeats the lines of each kind in four shards, each of a twelfth of the total size."""
    for kind, lines in examples_by_kind.items():
        (folder / kind).mkdir(parents=True)
        for number in range(4):
            with open(folder / kind / f"{number}.jsonl", "wb") as shard:
                while shard.tell() < megabytes * 1_000_000 / 12:
                    shard.write(lines[: lines.rindex(b"\n", 0, 1_000_000) + 1]
                                if len(lines) > 1_000_000 else lines)


def train(program, folder, steps):
    """Trains a model; returns the peak resident set in MB and the time in seconds."""
    overrides = [
        "run.arms=[\"xlm-k\"]", f"pretraining.steps={steps}", "pretraining.batch_size=8",
        f"data.mentions={folder / 'mentions'}", f"data.triples={folder / 'entailment'}",
        f"mlm.text={folder / 'text'}", "mlm.max_tokens=64", "losses.contrast_within=all",
    ]
    command = [program, "examples/xlm-k/small.toml", "--out", folder / "run"]
    for value in overrides:
        command += ["--set", value]
    start = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"xlm-k failed: {status}")
    return usage.ru_maxrss * 1024 / 1e6, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", action="store_true", help="use the optimised programs")
    parser.add_argument("--mb", default="100,1000", help="total sizes of the shards of the two runs, in MB")
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    target = ROOT / "target" / ("release" if arguments.release else "debug")
    smaller, larger = (int(size) for size in arguments.mb.split(","))
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        examples_by_kind = create_examples(target / "kg-triples", folder)
        for size in (smaller, larger):
            write_shards(examples_by_kind, folder / str(size), size)
            peak, seconds = train(target / "examples/xlm-k", folder / str(size), arguments.steps)
            print(f"{size} MB of shards: peak {peak:.0f} MB, {seconds:.0f} seconds", flush=True)
            peaks.append(peak)
    growth = peaks[1] - peaks[0]
    print(f"{growth:+.0f} MB (at most {MAX_GROWTH_MB})")
    sys.exit(growth > MAX_GROWTH_MB)


if __name__ == "__main__":
    main()
