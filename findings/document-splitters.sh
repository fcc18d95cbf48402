#!/usr/bin/env bash
# DocumentSplitter of haystack-ai 3.4.1 splits at spaces by default (200 words), so a Chinese or Japanese document of any length
# remains in one piece, without a warning. An encoder with a maximum length then embeds its beginning only.
# SentenceSplitter of llama-index-core 0.14.25 ends pieces at the ends of Chinese sentences, but not at those of Hindi: the danda (।) is
# not among the ends that it knows.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages haystack-ai==3.4.1 llama-index-core==0.14.25
with packages - 2>/dev/null <<'PYTHON'
from haystack import Document
from haystack.components.preprocessors import DocumentSplitter
from llama_index.core.node_parser import SentenceSplitter

SENTENCES = {
    "en": "The lake lies in the mountains. Twenty-seven rivers flow into it. ",
    "zh": "这个湖在山里。二十七条河流入其中。",
    "ja": "この湖は山の中にある。二十七の川が流れ込む。",
    "hi": "यह झील पहाड़ों में है। इसमें सत्ताईस नदियाँ गिरती हैं। ",
}
documents = {language: text * 1000 for language, text in SENTENCES.items()}

pieces = {}
for language, text in documents.items():
    pieces[language] = len(DocumentSplitter().run([Document(content=text)])["documents"])
    print(f"haystack {language}: {len(text)} characters in {pieces[language]} pieces")
assert min(pieces["en"], pieces["hi"]) >= 50, pieces
assert pieces["zh"] == pieces["ja"] == 1, pieces

ends = {}
for language, text in documents.items():
    found = SentenceSplitter(chunk_size=128, chunk_overlap=0).split_text(text[:6000])
    ends[language] = sum(piece.rstrip().endswith((".", "。", "।")) for piece in found) / len(found)
    print(f"llama-index {language}: {ends[language]:.0%} of {len(found)} pieces end with a sentence")
assert min(ends["en"], ends["zh"], ends["ja"]) > 0.9, ends
assert ends["hi"] < 0.5, ends
PYTHON
