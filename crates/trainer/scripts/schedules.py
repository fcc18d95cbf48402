"""Learning-rate factors of transformers' schedules, for the schedule's test.

    python3 crates/trainer/scripts/schedules.py > crates/trainer/tests/data/schedules.json

Written with torch 2.11.0, transformers 5.23.0 and Python 3.11. Each run has a number of steps, a
warm-up ratio, the warm-up steps that `TrainingArguments` computes from this ratio (a `warmup_steps`
below 1 is a ratio), and the factor before each step.
"""
import json
import platform
import types

import torch
import transformers


def factors(name, steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = transformers.get_scheduler(name, optimizer, warmup, steps)
    rates = []
    for _ in range(steps + 1):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


runs = []
for steps, ratio in [(1, 0.0), (7, 0.1), (10, 0.25), (40, 0.06), (23, 0.9)]:
    # A complete `TrainingArguments` would require `accelerate`.
    arguments = types.SimpleNamespace(warmup_steps=ratio)
    warmup = transformers.TrainingArguments.get_warmup_steps(arguments, steps)
    runs.append({"steps": steps, "ratio": ratio, "warmup": warmup,
                 "linear": factors("linear", steps, warmup),
                 "constant": factors("constant_with_warmup", steps, warmup)})
print(json.dumps({
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "python": platform.python_version(),
    "runs": runs,
}, separators=(",", ":")))
