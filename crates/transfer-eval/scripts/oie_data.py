"""Splits the extractions of Multi2OIE's repository for training and testing.

    git clone https://github.com/youngbin-ro/Multi2OIE
    python crates/transfer-eval/scripts/oie_data.py Multi2OIE OUT

Writes (tested with commit c89cdc30):
- first.LANG.json and second.LANG.json: 297 sentences of Re-OIE2016 in English, Spanish and Portuguese, and the others. The files have
  translations of the same sentences in the same order; Portuguese lacks one sentence of the second part.
- train.en.tsv and dev.en.tsv: nine tenths and a tenth of the sentences of CaRB's development set. None is in Re-OIE2016; of CaRB's test
  set, 587 of 634 sentences are.
"""

import json
import pathlib
import sys

LANGUAGES = {"en": "", "es": "-Spanish", "pt": "-Portuguese"}
FIRST_COUNT = 297


def main():
    repository, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for code, suffix in LANGUAGES.items():
        path = repository / f"evaluate/Re-OIE2016{suffix}.json"
        entries = list(json.loads(path.read_text(encoding="utf-8")).items())
        for name, part in [("first", entries[:FIRST_COUNT]), ("second", entries[FIRST_COUNT:])]:
            text = json.dumps(dict(part), ensure_ascii=False, indent=0)
            (out / f"{name}.{code}.json").write_text(text + "\n", encoding="utf-8")
    lines = (repository / "carb/CaRB_dev.tsv").read_text(encoding="utf-8").splitlines()
    order = {text: index for index, text in enumerate(dict.fromkeys(line.split("\t")[0] for line in lines))}
    for name, is_part in [("train", lambda index: index % 10 != 0), ("dev", lambda index: index % 10 == 0)]:
        part = [line for line in lines if is_part(order[line.split("\t")[0]])]
        (out / f"{name}.en.tsv").write_text("\n".join(part) + "\n", encoding="utf-8")


main()
