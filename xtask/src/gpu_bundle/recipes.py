"""Runs the experiments on the pretrained encoder, in parallel on one GPU: recipes.py [--seconds N] [--jobs N] [--out FOLDER]

The experiments are in the order of their value. Each runs with one seed, then with two, then with three. After the given
time, no run is started, and unfinished runs are stopped; the same command continues them. Each run prints a line when it
ends. FOLDER contains the run folders for `cargo xtask readme --table`, and FOLDER.tar.xz their files except models.

The encoder is `encoder/` of the bundle (`cargo xtask gpu-bundle --encoder`), or `.pretrained/` of an earlier call.
"""

import argparse
import fnmatch
import os
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ENCODER = ".pretrained/multilingual-e5-small-mlm"
# The name of the encoder without the head in the recipes and their commands. Here, it is a link to the encoder with the head,
# so all recipes that continue masked language modelling start from the trained head.
TRIMMED = ".pretrained/multilingual-e5-small-trimmed"
FOLDS = (1, 2, 3, 4)
# Numbers of seeds of the consecutive runs of an experiment.
SEEDS = [1, 2, 3]


@dataclass(frozen=True)
class Experiment:
    """A recipe's `pretrained.toml` with some arms and other settings, on all folds of XQuAD or without folds."""

    name: str
    recipe: str
    arms: str
    settings: tuple = ()
    folds: tuple = (None,)
    languages: str = ""  # of `demo-data xquad-split`; empty: all


EXPERIMENTS = [
    Experiment(
        "injection",
        "bridging-gap",
        "base,control,injected",
        ("injection.learning_rate=2e-5", "injection.steps=150"),
        folds=FOLDS,
        languages="en,es,vi,zh",
    ),
    Experiment(
        "hard-learning",
        "good-to-best",
        "hl,hl-printed",
        ('windows.unanswerable_window="drop"',),
        folds=FOLDS,
    ),
    Experiment("fusion-1600", "filter", "translate-train,filter", ("training.steps=1600",)),
    Experiment("fusion-400", "filter", "translate-train,filter", ("training.steps=400",)),
    Experiment(
        "fusion-1600-shallow",
        "filter",
        "filter",
        ("training.steps=1600", "qa.fusion={local=8,cross=2}"),
    ),
    Experiment(
        "knowledge-tasks",
        "xlm-k",
        "base,mep,oe,xlm-k",
        tuple(f"arms.{arm}.weights.mlm=0.0" for arm in ["mep", "oe", "xlm-k"]),
    ),
    Experiment("switching", "entity-cs", "base,wep,wep-english,wep-wrong"),
    Experiment("adapters", "knowledge-adapters", "*"),
    Experiment("parallel-questions", "sentence-retrieval", "base,parallel,control"),
    Experiment(
        "hard-learning-1600",
        "good-to-best",
        "hl,hl-printed",
        ('windows.unanswerable_window="drop"', "stage_one.steps=1600", "stage_two.steps=1600"),
        folds=(1,),
    ),
    Experiment(
        "mixed-questions",
        "mixmrc-lakm",
        "baseline,mixmrc,lakm,lakm-ngrams,mixmrc-lakm",
        ("training.steps=800",),
        folds=FOLDS,
    ),
]


def recipe_command(experiment, fold, out, seeds, options):
    recipe = experiment.recipe
    words = [f"bin/{recipe}", f"examples/{recipe}/pretrained.toml", "--prepare", "--out", str(out), "--seeds", str(seeds)]
    words += ["--arms", experiment.arms]
    settings = [f'run.device="{options.device}"', "run.threads=1", *experiment.settings, *options.set]
    if fold is not None:
        languages = f" --languages {experiment.languages}" if experiment.languages else ""
        settings.append(f"prepare.questions=demo-data xquad-split --xquad data/xquad{languages} --fold {fold}/4")
    for setting in settings:
        words += ["--set", setting]
    return words


def unpack_encoder():
    """Writes the encoder's folder from the bundle's quantised one, which has the same values."""
    if not Path(ENCODER).is_dir():
        if not Path("encoder").is_dir():
            sys.exit("error: no folder encoder; `cargo xtask gpu-bundle --encoder` creates a bundle with it")
        export = ["bin/xlmr-model", "export", "--model", "encoder", "--out", ENCODER, "--dtype", "f32"]
        done = subprocess.run(export, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(export)}\n  {done.stderr.strip()}")
    if not Path(TRIMMED).exists():
        Path(TRIMMED).symlink_to(Path(ENCODER).name)


def prepare(runs, options):
    """Prepares the data folders of the runs, each folder once and after the folders that it depends on.

    Returns the names of runs whose recipe is rejected."""
    commands, rejected = [], []
    for experiment, fold in runs:
        show = [*recipe_command(experiment, fold, options.out / "none", 1, options), "--show"]
        shown = subprocess.run(show, capture_output=True, text=True)
        if shown.returncode != 0:
            rejected.append(experiment.name)
            print(f"{experiment.name}: {shown.stderr.strip()}", flush=True)
        for line in shown.stdout.splitlines():
            if line.startswith("# ") and line[2:] not in commands:
                commands.append(line[2:])
    if options.check:
        return rejected

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
    return rejected


def pack_results(out):
    """Packs the files of the run folders, except models and checkpoints."""

    def exclude_models(member):
        is_model = Path(member.name).name in ["model", "models", "adapter"] or member.name.endswith(".safetensors")
        return None if is_model else member

    archive = out.with_name(f"{out.name}.tar.xz")
    with tarfile.open(archive, "w:xz", preset=3) as tar:
        tar.add(out, arcname=out.name, filter=exclude_models)
    print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--jobs", type=int, default=13, help="number of concurrent runs")
    parser.add_argument("--out", type=Path, default=Path("experiments"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", action="append", metavar="NAME", help="only these experiments, with * and ?; can be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="additional settings of all experiments")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="maximum number of seeds")
    parser.add_argument("--list", action="store_true", help="print the experiments and exit")
    parser.add_argument("--check", action="store_true", help="only check names and types of the settings, and the arms")
    options = parser.parse_args()
    is_selected = lambda name: options.only is None or any(fnmatch.fnmatch(name, pattern) for pattern in options.only)
    experiments = [experiment for experiment in EXPERIMENTS if is_selected(experiment.name)]
    if not experiments:
        parser.error(f"no experiment has the name {', '.join(options.only)}; --list prints the names")
    if options.list:
        for experiment in experiments:
            folds = "all folds" if experiment.folds == FOLDS else "one run per seed"
            print(f"{experiment.name}: {experiment.recipe}, {experiment.arms}, {folds}", *experiment.settings, sep="\n    ")
        return
    missing = [program for program in sorted({"xlmr-model", *(experiment.recipe for experiment in experiments)})
               if not Path("bin", program).is_file()]
    if missing:
        sys.exit(f"error: no {', '.join(missing)} in the folder bin; start recipes.py in the folder of the bundle")
    runs = [(experiment, fold) for experiment in experiments for fold in experiment.folds]
    if options.check:
        sys.exit(1 if prepare(runs, options) else 0)
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    remaining = lambda: options.seconds - (time.monotonic() - start)
    failed = []

    def run(experiment_fold):
        """Runs one fold of an experiment, with an increasing number of seeds in one folder."""
        experiment, fold = experiment_fold
        name = experiment.name if fold is None else f"{experiment.name}-{fold}"
        for seeds in SEEDS[: options.seeds]:
            if remaining() < 20:
                return
            began = time.monotonic()
            with open(options.out / f"{name}.log", "a", encoding="utf-8") as log:
                child = subprocess.Popen(
                    recipe_command(experiment, fold, options.out / name, seeds, options),
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

    unpack_encoder()
    failed += prepare(runs, options)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, runs))
    pack_results(options.out)
    print(f"{time.monotonic() - start:.0f} s in total, {os.cpu_count()} cores", flush=True)
    sys.exit(1 if failed else 0)


main()
