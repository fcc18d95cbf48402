#!/usr/bin/env bash
# Of five HTML readers, only Beautiful Soup omits the readings of Japanese words (<ruby>).
#
# Browsers show the reading of a word above it, in small letters. html2text, inscriptis, resiliparse
# and selectolax insert it into the line, so the sentence that people see is not in their text.
# Versions: beautifulsoup4 4.15.0, html2text 2025.4.15, inscriptis 2.7.6, resiliparse 2.0.1, selectolax 1.0.2.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages beautifulsoup4==4.15.0 html2text==2025.4.15 inscriptis==2.7.6 \
    resiliparse==2.0.1 selectolax==1.0.2

with packages - <<'PY'
import html2text
import inscriptis
from bs4 import BeautifulSoup
from resiliparse.extract.html2text import extract_plain_text
from selectolax.lexbor import LexborHTMLParser

page = """<!DOCTYPE html><html lang="ja"><head><title>日本</title></head><body><article>
<p>日本の首都は<ruby>東京<rp>(</rp><rt>とうきょう</rt><rp>)</rp></ruby>で、最初の駅は<ruby>新橋<rt>しんばし</rt></ruby>にある。</p>
<p>東京の人口は約千四百万人で、世界最大の都市圏の一つであり、日本の政治と経済の中心となっている。</p>
</article></body></html>"""
texts = {
    "Beautiful Soup": BeautifulSoup(page, "html.parser").get_text(),
    "html2text": html2text.html2text(page),
    "inscriptis": inscriptis.get_text(page),
    "resiliparse": extract_plain_text(page),
    "selectolax": LexborHTMLParser(page).body.text(),
}
for name, text in texts.items():
    line = next(line for line in text.splitlines() if "東京" in line)
    print(f"{name}: {line.strip()}")
    has_readings = "新橋しんばしにある" in line and "東京(とうきょう)で" in line
    has_sentence = "日本の首都は東京で、最初の駅は新橋にある。" in line
    assert has_sentence == (name == "Beautiful Soup") and has_readings != has_sentence, name
PY
