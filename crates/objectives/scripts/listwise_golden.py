#!/usr/bin/env python3
"""Prints values and gradients of xMEN's re-ranking loss in float64, for tests/it/listwise.rs.

usage: pip download --no-deps --ignore-requires-python xmen==1.0.8 && unzip xmen-*.whl -d xmen
       listwise_golden.py xmen/xmen/reranking/scored_cross_encoder.py

Runs `ScoredCrossEncoder.rank_regularizer` of the given file, without importing the package, and the loss of `fit_with_scores`:
CrossEntropyLoss + rank_regularization * rank_regularizer. xMEN's batch is one list of candidates.
"""
import ast
import math
import sys

import torch

module = ast.parse(open(sys.argv[1], encoding="utf-8").read())
methods = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and node.name == "rank_regularizer"]
namespace = {"torch": torch}
exec(compile(ast.Module(methods, []), sys.argv[1], "exec"), namespace)
rank_regularizer = namespace["rank_regularizer"]


def sines(rows, columns, step, scale):
    values = [scale * math.sin(step * (k + 1)) for k in range(rows * columns)]
    return torch.tensor(values, dtype=torch.float64).view(rows, columns)


logits, scores, gold = sines(4, 5, 0.731, 3.0), sines(4, 5, 1.137, 1.0), [2, 0, None, 4]
for weight in [0.0, 1.0, 0.25]:
    x = logits.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for row in range(4):
        labels = torch.zeros(5, dtype=torch.float64)
        if gold[row] is not None:
            labels[gold[row]] = 1.0
        loss = torch.nn.CrossEntropyLoss()(x[row], labels)
        if weight != 0:
            loss = loss + weight * rank_regularizer(None, x[row], scores[row])
        total = total + loss / 4
    total.backward()
    print(f"torch {torch.__version__}, weight {weight}: {total.item()!r}")
    print(x.grad.flatten().tolist())
