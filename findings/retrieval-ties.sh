#!/usr/bin/env bash
# Two evaluators of retrieval give 0.33 and 1.00 for the same run: ties, close scores, missing queries.
#
# pytrec_eval (trec_eval's code) ignores the order of a run: equal scores are ordered by document id,
# last id first. It compares scores in float32, so 20.0000001 and 20.0 are equal as well. ranx keeps
# the order of insertion and compares in float64. A query without a ranking is left out of
# pytrec_eval's result, so a mean over the result is too high; ranx rejects such a run.
# Versions: pytrec-eval-terrier 0.5.11, ranx 0.3.21.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages pytrec-eval-terrier==0.5.11 ranx==0.3.21

with packages - <<'PY'
import pytrec_eval
from ranx import Qrels, Run, evaluate

gold = {"q": {"d1": 1}}

def both(run):
    by_trec = pytrec_eval.RelevanceEvaluator(gold, {"recip_rank"}).evaluate(run)["q"]["recip_rank"]
    return round(by_trec, 2), round(float(evaluate(Qrels(gold), Run(run), ["mrr"])), 2)

equal = both({"q": {"d1": 0.5, "d2": 0.5, "d3": 0.5}})
close = both({"q": {"d1": 20.0000001, "d2": 20.0}})
apart = both({"q": {"d1": 20.000001, "d2": 20.0}})
print("reciprocal rank of d1 (trec_eval, ranx):")
print(f"  equal scores, d1 first: {equal}\n  20.0000001 and 20.0: {close}\n  20.000001 and 20.0: {apart}")
assert (equal, close, apart) == ((0.33, 1.0), (0.5, 1.0), (1.0, 1.0)), "the order changed"

two = {"q": {"d1": 1}, "r": {"d1": 1}}
run = {"q": {"d1": 1.0}}
by_trec = pytrec_eval.RelevanceEvaluator(two, {"recip_rank"}).evaluate(run)
print("a query without a ranking, trec_eval:", by_trec)
assert list(by_trec) == ["q"]
try:
    evaluate(Qrels(two), Run(run), ["mrr"])
    raise SystemExit("ranx accepts a run without a ranking for a query")
except AssertionError as error:
    print("a query without a ranking, ranx:", str(error)[:43])
PY
