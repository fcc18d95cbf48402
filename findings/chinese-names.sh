#!/usr/bin/env bash
# zhconv changes names that OpenCC keeps when it converts simplified to traditional Chinese.
#
# zhconv converts by MediaWiki's tables and the longest match: the unit in "kilometre" becomes the
# character for "inside", the Big Dipper's 斗 becomes "fight", and the surnames 范 and 郁 become other
# words. Labels of entities are such short names without context. OpenCC's tables keep all of them.
# Versions: zhconv 1.4.3, OpenCC 1.4.2.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages zhconv==1.4.3 OpenCC==1.4.2 setuptools==80.9.0

with packages - <<'PY'
import opencc, zhconv

expected = {  # simplified: (OpenCC, zhconv)
    "公里": ("公里", "公裏"),
    "里约热内卢": ("里約熱內盧", "裏約熱內盧"),
    "范冰冰": ("范冰冰", "範冰冰"),
    "范仲淹": ("范仲淹", "範仲淹"),
    "郁达夫": ("郁達夫", "鬱達夫"),
    "北斗": ("北斗", "北鬥"),
    "咸丰": ("咸豐", "鹹豐"),
    "游泳": ("游泳", "遊泳"),
}
convert = opencc.OpenCC("s2t").convert
seen = {word: (convert(word), zhconv.convert(word, "zh-hant")) for word in expected}
print("simplified: OpenCC, zhconv")
for word, (by_opencc, by_zhconv) in seen.items():
    print(f"{word}: {by_opencc}, {by_zhconv}")
assert seen == expected, "the tables changed"
PY
