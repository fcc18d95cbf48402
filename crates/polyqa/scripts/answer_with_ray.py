"""Answers many questions over a collection on several machines or processes, with Ray.

Each task runs `polyqa answer --collection` on a part of the questions. The collection is a folder
that every machine can read: on a shared file system, or copied to the same path. The answers are
in the order of the questions.

    pip install ray
    python answer_with_ray.py --collection library --questions questions.jsonl --out answers.jsonl \\
        -- --model runs/mine/model
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import ray


def read_questions(path):
    """Returns the rows, and checks them before any task starts."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict) or not str(row.get("question", "")).strip():
                sys.exit(f'error: {path}: line {number}: expected {{"id": …, "question": …}}')
            rows.append(line.rstrip("\n"))
    return rows


@ray.remote(num_cpus=1)
def answer(program, collection, options, threads, rows):
    """Runs the program on a part of the questions, and returns one JSON line per question."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as questions:
        questions.write("\n".join(rows) + "\n")
        questions.flush()
        command = [program, "answer", "--collection", collection, "--questions", questions.name, "--json"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.run(command + options, capture_output=True, text=True, env=environment)
    if process.returncode != 0:
        raise RuntimeError(process.stderr.strip())
    lines = process.stdout.splitlines()
    if len(lines) != len(rows):
        raise RuntimeError(f"{len(lines)} answers to {len(rows)} questions")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collection", required=True, help="folder made by `polyqa index`")
    parser.add_argument("--questions", required=True, help='rows {"id": …, "question": …}')
    parser.add_argument("--out", required=True, help="file of answers, one JSON line per question")
    parser.add_argument("--address", help="address of a Ray cluster; default: this machine")
    parser.add_argument("--part", type=int, default=1000, help="questions per task; each task loads the model")
    parser.add_argument("--threads", type=int, default=1, help="threads per task")
    parser.add_argument("--program", default="polyqa")
    parser.add_argument("options", nargs="*", help="options of `polyqa answer`, after --")
    arguments = parser.parse_args()
    rows = read_questions(arguments.questions)
    parts = [rows[start:start + arguments.part] for start in range(0, len(rows), arguments.part)]
    ray.init(address=arguments.address, log_to_driver=False, include_dashboard=False)
    start = time.monotonic()
    # Relative paths are those of this process.
    collection = os.path.abspath(arguments.collection)
    task = answer.options(num_cpus=arguments.threads)
    tasks = [
        task.remote(arguments.program, collection, arguments.options, arguments.threads, part)
        for part in parts
    ]
    temporary = arguments.out + ".part"
    with open(temporary, "w", encoding="utf-8") as output:
        for lines in map(ray.get, tasks):
            output.writelines(line + "\n" for line in lines)
    os.replace(temporary, arguments.out)
    seconds = time.monotonic() - start
    workers = int(ray.cluster_resources().get("CPU", 0)) // arguments.threads
    print(f"{len(rows)} questions, {len(parts)} tasks, {workers} at a time: {seconds:.1f} s")


if __name__ == "__main__":
    main()
