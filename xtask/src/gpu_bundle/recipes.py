"""Runs the recipes on the pretrained encoder, in parallel on one GPU: recipes.py [--seconds N] [--jobs N] [--out FOLDER]

Every recipe runs on all four folds of XQuAD with one seed, then with two, then with three; `xlm-k` has no folds. After the
given time, no run is started, and unfinished runs are stopped. Each run prints a line when it ends. FOLDER contains the run
folders for `cargo xtask readme --table`.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDS = [1, 2, 3, 4]
# Recipe, short name, options of `demo-data xquad-split`; None: the recipe has no folds.
RECIPES = [
    ("xlm-k", "xlm-k", None),
    ("bridging-gap", "gap", " --languages en,es,vi,zh"),
    ("mixmrc-lakm", "mix", ""),
    ("good-to-best", "best", ""),
]
SEEDS = [1, 2, 3]


def recipe_command(recipe, out, split, fold, seeds, options):
    words = [f"bin/{recipe}", f"examples/{recipe}/pretrained.toml", "--prepare", "--out", str(out), "--seeds", str(seeds)]
    settings = [f'run.device="{options.device}"', "run.threads=1", *options.set]
    if split is not None:
        settings.append(f"prepare.questions=demo-data xquad-split --xquad data/xquad{split} --fold {fold}/4")
    for setting in settings:
        words += ["--set", setting]
    for arms in options.arms:
        name, _, arm = arms.partition("=")
        if name == recipe:
            words += ["--arms", arm]
    return words


def prepare(fold_runs, options):
    """Prepares the data folders of the runs, each folder once and after the folders that it depends on."""
    commands = []
    for recipe, _, split, fold in fold_runs:
        show = [*recipe_command(recipe, options.out / "none", split, fold, 1, options), "--show"]
        shown = subprocess.run(show, capture_output=True, text=True)
        if shown.returncode != 0:
            print(shown.stderr.strip(), flush=True)
        for line in shown.stdout.splitlines():
            if line.startswith("# ") and line[2:] not in commands:
                commands.append(line[2:])

    def run(line):
        program, *words = line.split()
        done = subprocess.run([f"bin/{program}", *words], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{line}\n  {done.stderr.strip()[-300:]}", flush=True)

    def find_folders(line):
        """Returns the output folder of a command, and its input folders."""
        inputs, _, output = line.rpartition(" --out ")
        return output, [word.split("/")[2] for word in inputs.split() if word.startswith("target/prepared/")]

    pending = [line for line in commands if not Path(find_folders(line)[0]).exists()]
    while pending:
        ready = [line for line in pending if all(Path("target/prepared", name).exists() for name in find_folders(line)[1])]
        if not ready:
            break
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(run, ready))
        pending = [line for line in pending if line not in ready]
    print(f"{len(commands)} folders prepared", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--jobs", type=int, default=13, help="number of concurrent runs")
    parser.add_argument("--out", type=Path, default=Path("out/recipes"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", action="append", help="only this recipe; may be given several times")
    parser.add_argument("--arms", action="append", default=[], metavar="RECIPE=ARM", help="only these arms of a recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="additional settings of all recipes")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="maximum number of seeds")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    remaining = lambda: options.seconds - (time.monotonic() - start)
    failed = []

    def run(fold_run):
        """Runs one fold of a recipe, with an increasing number of seeds in one folder."""
        recipe, short, split, fold = fold_run
        name = short if fold is None else f"{short}-{fold}"
        for seeds in SEEDS[: options.seeds]:
            if remaining() < 20:
                return
            began = time.monotonic()
            with open(options.out / f"{name}.log", "a", encoding="utf-8") as log:
                child = subprocess.Popen(
                    recipe_command(recipe, options.out / name, split, fold, seeds, options),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                )
                try:
                    code = child.wait(remaining())
                except subprocess.TimeoutExpired:
                    child.terminate()
                    child.wait()
                    print(f"{name}, seeds {seeds}: stopped after {time.monotonic() - began:.0f} s", flush=True)
                    return
            print(f"{name}, seeds {seeds}: exit code {code} after {time.monotonic() - began:.0f} s", flush=True)
            if code != 0:
                failed.append(name)
                last = Path(log.name).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
                print("  " + "\n  ".join(line[:300] for line in last), flush=True)
                return

    fold_runs = [
        (recipe, short, split, fold)
        for recipe, short, split in RECIPES
        if options.only is None or recipe in options.only
        for fold in (FOLDS if split is not None else [None])
    ]
    prepare(fold_runs, options)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, fold_runs))
    print(f"{time.monotonic() - start:.0f} s in total, {os.cpu_count()} cores", flush=True)
    sys.exit(1 if failed else 0)


main()
