#!/usr/bin/env bash
# "strict" in nervaluate and in seqeval are different: the same tags have F1 1.0 and 0.0.
#
# An entity that begins with I- instead of B- is correct under nervaluate's schema "strict" (same
# boundaries and type) and under seqeval's default, and wrong under seqeval's `mode="strict"` (valid
# IOB2 only).
# Versions: nervaluate 1.2.1, seqeval 1.2.2.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages nervaluate==1.2.1 seqeval==1.2.2

with packages - <<'PY'
from nervaluate import Evaluator
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

gold = [["O", "B-PER", "I-PER", "O"]]
predicted = [["O", "I-PER", "I-PER", "O"]]
seen = {
    "nervaluate strict": Evaluator(gold, predicted, tags=["PER"], loader="list").evaluate()["overall"]["strict"].f1,
    "seqeval default": float(f1_score(gold, predicted)),
    "seqeval strict": float(f1_score(gold, predicted, mode="strict", scheme=IOB2)),
}
print(seen)
assert list(seen.values()) == [1.0, 1.0, 0.0], "the rules changed"
PY
