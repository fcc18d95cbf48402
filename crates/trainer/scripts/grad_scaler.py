"""Scales of PyTorch's GradScaler over steps with and without overflow, for the loss scaler's test.

    python3 crates/trainer/scripts/grad_scaler.py > crates/trainer/tests/data/grad_scaler.json

Written with torch 2.11.0 and Python 3.11. Each step has `overflow` (whether the gradient was
infinite), the scale and the number of good steps after `update()`, and whether the optimiser
updated the weight.
"""
import json
import platform

import torch


def steps(overflows, **options):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", **options)
    rows = []
    for step, overflow in enumerate(overflows):
        optimizer.zero_grad()
        before = weight.item()
        scaler.scale((weight * (float("inf") if overflow else 1.0)).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        state = scaler.state_dict()
        rows.append({"step": step, "overflow": overflow, "scale": state["scale"],
                     "good_steps": state["_growth_tracker"], "stepped": weight.item() != before})
    return rows


default = torch.amp.GradScaler("cpu")
cases = {
    # The growth interval and the overflow flag of each step, by case.
    "default": (default.get_growth_interval(), [k in (0, 1, 5) for k in range(2030)]),
    "short": (3, [k in (2, 3, 11, 12, 13, 20) for k in range(40)]),
}
print(json.dumps({
    "torch": torch.__version__,
    "python": platform.python_version(),
    "initial": default.get_scale(),
    "cases": {
        name: {"growth_interval": interval, "steps": [
            row for k, row in enumerate(steps(overflows, growth_interval=interval))
            # Omits most of a long run of good steps.
            if name != "default" or k < 10 or k > 2000
        ]}
        for name, (interval, overflows) in cases.items()
    },
}, separators=(",", ":")))
