"""Prints word pairs of a FreeDict dictionary in dictd's format: headword, tab, translation.

    python freedict_pairs.py /usr/share/dictd/freedict-eng-spa.dict.dz > en-es.tsv

Keeps single words and drops pronunciation, grammar, usage notes and examples.
"""
import gzip
import re
import sys

NOTE = re.compile(r"<[^>]*>|\[[^\]]*\]|\([^)]*\)|\"[^\"]*\"")
HEAD = re.compile(r"^(\S.*?) /[^/]*/")
WORD = re.compile(r"[^\W\d_][\w'’\u0300-\u036f\u0610-\u065f\u0900-\u0dff\u200d-]*")


def main(path):
    head = None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            found = HEAD.match(line)
            if found:
                head = found[1].strip()
                continue
            if head is None or not line.strip() or line.startswith("   ") or ":" in line:
                continue
            for part in re.split(r"[,;،]", NOTE.sub("", re.sub(r"^\d+\. ", "", line.strip()))):
                part = part.strip(" .\t")
                if WORD.fullmatch(part) and WORD.fullmatch(head):
                    print(f"{head}\t{part}")


main(sys.argv[1])
