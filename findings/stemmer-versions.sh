#!/usr/bin/env bash
# An index of tantivy 0.26 opens in 0.27 without a warning, and stemmed words are no longer found.
#
# tantivy 0.27 uses Snowball 3, whose English stems differ from those of earlier versions: "organ"
# became "organiz", "univers" became "universiti". The folder's format is unchanged. NLTK's Snowball
# stemmers still give the earlier stems, so stems of NLTK and of snowballstemmer 3 are not
# interchangeable either: "evening" is "even" in one and "evening" in the other.
# Versions: tantivy (Python) 0.26.0 and 0.27.0, NLTK 3.10.4, snowballstemmer 3.1.1.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install older tantivy==0.26.0
install newer tantivy==0.27.0
install stemmers nltk==3.10.4 snowballstemmer==3.1.1

cat >index.py <<'PY'
import sys
import tantivy

builder = tantivy.SchemaBuilder()
builder.add_text_field("text", stored=True, tokenizer_name="en_stem")
if sys.argv[1] == "write":
    index = tantivy.Index(builder.build(), path="index")
    writer = index.writer(15_000_000, 1)
    writer.add_document(tantivy.Document(text="the organization of the university"))
    writer.commit()
    writer.wait_merging_threads()
else:
    index = tantivy.Index.open("index")
index.reload()
searcher = index.searcher()
found = [searcher.search(index.parse_query(word, ["text"]), 10).count for word in ("organization", "university")]
print(searcher.num_docs, *found)
PY
mkdir index
check() { # FOLDER COMMAND EXPECTED
    local seen
    seen=$(with "$1" index.py "$2")
    echo "$1, $2: documents, documents with 'organization', with 'university': $seen"
    [[ "$seen" == "$3" ]]
}
check older write "1 1 1"
check newer read "1 0 0"

with stemmers - <<'PY'
from nltk.stem.snowball import SnowballStemmer
import snowballstemmer

words = ["organization", "university", "international", "evening", "added", "emergency"]
nltk, snowball = SnowballStemmer("english"), snowballstemmer.stemmer("english")
seen = [(word, nltk.stem(word), snowball.stemWord(word)) for word in words]
print("word, NLTK, snowballstemmer:", seen)
assert [pair[1:] for pair in seen] == [
    ("organ", "organiz"), ("univers", "universiti"), ("intern", "internat"),
    ("even", "evening"), ("ad", "add"), ("emerg", "emergenc"),
], "the stems changed"
PY
