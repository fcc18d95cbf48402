"""Converts the data of TDmatch's repository to documents and relevance judgements.

    git clone https://github.com/naserahmadi/TDmatch
    python crates/kg-triples/scripts/tdmatch_data.py TDmatch/data OUT

Writes OUT/<name>.first.jsonl, OUT/<name>.second.jsonl and OUT/<name>.qrels for snopes, politifact and corona (tested with commit
21162b96). The repository has no licence, so its data are not part of this project. The movies of IMDb are missing in the repository.
"""

import json
import pathlib
import pickle
import sys

CORONA_COLUMNS = ["table", "country", "january", "february", "march", "april", "may", "june"]


class PlainUnpickler(pickle.Unpickler):
    """Reads built-in types only, so that a file cannot run code."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"the file contains an object of type {module}.{name}")


def read_pickle(path):
    with open(path, "rb") as file:
        return PlainUnpickler(file).load()


def unique(values):
    return list(dict.fromkeys(values))


def write(out, name, first, second, golds):
    """`first` maps the key of a gold to a document's content; `second` lists texts, `golds` the keys of each text's golds."""
    ids = {key: f"f{number}" for number, key in enumerate(first)}
    with open(out / f"{name}.first.jsonl", "w") as file:
        for key, content in first.items():
            print(json.dumps({"id": ids[key], **content}), file=file)
    with open(out / f"{name}.second.jsonl", "w") as file, open(out / f"{name}.qrels", "w") as qrels:
        for number, (text, keys) in enumerate(zip(second, golds)):
            print(json.dumps({"id": f"s{number}", "text": text}), file=file)
            for key in unique(keys):
                print(f"s{number} 0 {ids[key]} 1", file=qrels)


def main():
    data, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for folder, name in [("snopes", "snopes"), ("politifact", "politi")]:
        with open(data / folder / f"{name}_facts.csv") as file:
            facts = unique(line.strip() for line in file)
        golds = read_pickle(data / folder / f"{name}_GT.pkl")
        write(out, folder, {fact: {"text": fact} for fact in facts}, list(golds), list(golds.values()))
    rows = {" ".join(row): dict(zip(CORONA_COLUMNS, row)) for row in read_pickle(data / "corona/all_tables.pkl")}
    golds = read_pickle(data / "corona/corona_GT.pkl")
    first = {key: {"fields": row} for key, row in rows.items()}
    write(out, "corona", first, list(golds), list(golds.values()))


main()
