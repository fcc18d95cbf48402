"""Peak memory of xlm-k on streamed shards of two sizes: it must not grow with the data.

    python3 benches/streamed_memory.py [--release] [--mb 100,1000] [--steps 4]

Mentions, triples and text of the embedded data are written by `kg-triples` and repeated in shards
until they have the size; then each size is trained on for a few steps of a few rows, with the
embedded base. Prints the peak resident set of each, and fails where the larger is more than 50 MB
above the smaller. Build first: cargo build [--release] -p kg-triples, and
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
ALLOWED_MB = 50


def texts():
    """The extracts of the embedded pages, a JSON object on each line."""
    for path in sorted((ROOT / "data/codex").glob("entities.*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as pages:
            for page in pages:
                extract = json.loads(page).get("extract")
                if extract:
                    yield json.dumps({"text": extract}, ensure_ascii=False) + "\n"


def examples(tool, folder):
    """A few megabytes of each kind, by the tool and from the embedded pages."""
    kinds = {
        "mentions": ["--entities", "data/codex", "--max-tokens", "128"],
        "entailment": ["--kg", "data/mini-kg", "--labels"],
    }
    made = {}
    for kind, arguments in kinds.items():
        path = folder / f"{kind}.jsonl"
        command = [tool, kind, *arguments, "--description-tokens", "128"]
        command += ["--tokenizer", "data/base", "--out", path]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        made[kind] = path.read_bytes()
    made["text"] = "".join(texts()).encode()
    return made


def shards(made, folder, megabytes):
    """Repeats what was made in shards of a twelfth of the size, four of each kind."""
    for kind, lines in made.items():
        (folder / kind).mkdir(parents=True)
        for number in range(4):
            with open(folder / kind / f"{number}.jsonl", "wb") as shard:
                while shard.tell() < megabytes * 1_000_000 / 12:
                    shard.write(lines[: lines.rindex(b"\n", 0, 1_000_000) + 1]
                                if len(lines) > 1_000_000 else lines)


def train(program, folder, steps):
    """Peak resident set in MB, and seconds."""
    sets = [
        "run.arms=[\"xlm-k\"]", f"pretraining.steps={steps}", "pretraining.batch_size=8",
        f"data.mentions={folder / 'mentions'}", f"data.triples={folder / 'entailment'}",
        f"mlm.text={folder / 'text'}", "mlm.max_tokens=64", "losses.contrast_within=all",
    ]
    command = [program, "examples/xlm-k/small.toml", "--out", folder / "run"]
    for value in sets:
        command += ["--set", value]
    start = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"xlm-k failed: {status}")
    return usage.ru_maxrss * 1024 / 1e6, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", action="store_true", help="the optimised programs")
    parser.add_argument("--mb", default="100,1000", help="the two sizes, all shards together")
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    target = ROOT / "target" / ("release" if arguments.release else "debug")
    smaller, larger = (int(size) for size in arguments.mb.split(","))
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made = examples(target / "kg-triples", folder)
        for size in (smaller, larger):
            shards(made, folder / str(size), size)
            peak, seconds = train(target / "examples/xlm-k", folder / str(size), arguments.steps)
            print(f"{size} MB of shards: peak {peak:.0f} MB, {seconds:.0f} seconds", flush=True)
            peaks.append(peak)
    growth = peaks[1] - peaks[0]
    print(f"{growth:+.0f} MB (at most {ALLOWED_MB})")
    sys.exit(growth > ALLOWED_MB)


if __name__ == "__main__":
    main()
