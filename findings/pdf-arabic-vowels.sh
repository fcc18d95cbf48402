#!/usr/bin/env bash
# No common PDF reader for Python returns vowelled Arabic words from both a XeTeX and a LuaTeX file.
#
# A vowel sign is a glyph of its own without width, placed beside or over its letter. pymupdf puts the space before the
# last sign of each word in the XeTeX file; pypdf drops the spaces there, and reverses or scatters the signs of the
# LuaTeX file; pypdfium2 and pdfminer lose words or order in both. Whole words that a search for the printed text finds,
# of four in each file:
#   pymupdf 0 and 4, pypdfium2 0 and 0, pypdf 0 and 0, pdfminer 0 and 0.
# Files: the samples of the packages quran and arabluatex in Debian 12's texlive-lang-arabic 2022.20230122-1 (27 MB).
# Versions: pymupdf 2.0, pypdfium2 5.15.2, pypdf 7.1.1, pdfminer.six 20260107.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages pymupdf==2.0 pypdfium2==5.15.2 pypdf==7.1.1 pdfminer.six==20260107

python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], "package.deb")' \
    http://deb.debian.org/debian/pool/main/t/texlive-lang/texlive-lang-arabic_2022.20230122-1_all.deb
dpkg-deb -x package.deb files

with packages - <<'PY'
import re
import unicodedata

import pymupdf
import pypdf
import pypdfium2
from pdfminer.high_level import extract_text

FOLDER = "files/usr/share/doc/texlive-doc/"
FILES = {
    "XeTeX": ("latex/quran/quran-test.pdf", "بِسْمِ ٱللَّهِ ٱلرَّحْمَٰنِ ٱلرَّحِيمِ"),
    "LuaTeX": ("lualatex/arabluatex/samples/al-Jahiz.pdf", "عُذُوبَةُ ٱلشَّحْمِ فِي ٱلْبَقَرِ"),
}
READERS = {
    "pymupdf": lambda path: "\n".join(page.get_text() for page in pymupdf.open(path)),
    "pypdfium2": lambda path: "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path)),
    "pypdf": lambda path: "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages),
    "pdfminer": extract_text,
}


def words(text):
    # Presentation forms become letters; direction marks and the order of signs on one letter do not matter.
    text = re.sub("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\u0640]", "", unicodedata.normalize("NFKC", text))
    return re.findall("[\u0600-\u06ff]+", unicodedata.normalize("NFC", text))


found = {}
for name, read in READERS.items():
    counts = []
    for path, printed in FILES.values():
        extracted = set(words(read(FOLDER + path)))
        counts.append(sum(word in extracted for word in words(printed)))
    found[name] = counts
    print(f"{name}: {counts[0]} of 4 words from XeTeX, {counts[1]} of 4 from LuaTeX")
expected = {"pymupdf": [0, 4], "pypdfium2": [0, 0], "pypdf": [0, 0], "pdfminer": [0, 0]}
assert found == expected, f"the behaviour has changed: {found}"
PY
