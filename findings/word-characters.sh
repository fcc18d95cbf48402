#!/usr/bin/env bash
# Of six Hindi words, the default word patterns of scikit-learn and bm25s keep a part of one.
#
# In Python's `re`, `\w` excludes combining marks, so vowel signs and the virama end a word, and the
# pattern `\b\w\w+\b` of scikit-learn and bm25s drops the single letters that remain. The package
# `regex` counts marks as word characters. The same happens to Arabic with vowel signs. A Chinese
# sentence is one word for both.
# Versions: bm25s 0.3.16, scikit-learn 1.9.1, regex 2026.11.19; Python's own re.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages bm25s==0.3.16 scikit-learn==1.9.1 regex==2026.11.19

with packages - <<'PY'
import re
import bm25s, regex
from sklearn.feature_extraction.text import CountVectorizer

def by_bm25s(text):
    return bm25s.tokenize([text], return_ids=False, show_progress=False, stopwords=None)[0]

hindi = "हिन्दी भाषा की राजधानी दिल्ली है"
arabic = "الْقَاهِرَة عاصمة مصر"
chinese = "德国的首都是柏林"
counts = CountVectorizer().fit([hindi]).get_feature_names_out().tolist()
print("bm25s:", by_bm25s(hindi), by_bm25s(arabic), by_bm25s(chinese))
print("scikit-learn:", counts)
print("re:", re.findall(r"\w+", hindi))
print("regex:", regex.findall(r"\w+", hindi))
assert by_bm25s(hindi) == counts == ["जध"], "the patterns changed"
assert by_bm25s(arabic) == ["ال", "اه", "عاصمة", "مصر"]
assert by_bm25s(chinese) == [chinese]
assert len(re.findall(r"\w+", hindi)) == 13
assert regex.findall(r"\w+", hindi) == hindi.split()
PY
