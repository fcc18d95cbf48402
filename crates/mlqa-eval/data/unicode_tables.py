"""Writes unicode14.bin: the character classes of Python 3.11 (Unicode 14.0.0).

    python3.11 data/unicode_tables.py

The file has inclusive ranges of code points, three bytes for each end. The script prints the names
of the classes and their numbers of ranges in the order of the file. The digest is a 64-bit FNV-1a
over the flags and the lower case of every code point. A test of src/metric/unicode.rs recomputes it
from the tables and Rust's lower-casing.
"""
import pathlib
import re
import sys
import unicodedata

assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def ranges(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, test):
    rows = ranges([c for c in POINTS if test(chr(c))])
    print(name, len(rows))
    return b"".join(end.to_bytes(3, "little") for row in rows for end in row)


def punctuation(ch):
    return unicodedata.category(ch).startswith("P")


def word(ch):
    return re.match(r"\w", ch) is not None


def cased(ch):
    """Whether a character is Cased and not Case_Ignorable, so that a following sigma is final."""
    return (ch + "\u03a3").lower()[-1] == "\u03c2"


def case_ignorable(ch):
    return ("a" + ch + "\u03a3").lower()[-1] == "\u03c2" and not cased(ch)


digest = 0xCBF29CE484222325
for c in POINTS:
    ch = chr(c)
    flags = punctuation(ch) | word(ch) << 1 | cased(ch) << 2 | case_ignorable(ch) << 3
    for byte in bytes([flags | ch.isspace() << 4]) + ch.lower().encode():
        digest = (digest ^ byte) * 0x100000001B3 % 2**64

tables = [
    table("PUNCTUATION", punctuation),
    table("WORD", word),
    table("CASED", cased),
    table("CASE_IGNORABLE", case_ignorable),
]
pathlib.Path(__file__).with_name("unicode14.bin").write_bytes(b"".join(tables))
print(f"DIGEST 0x{digest:016X}")
