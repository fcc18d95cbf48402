"""Writes languages.tsv: the languages in which Wikidata looks up a term, and the scripts of languages.

python wikidata_languages.py MEDIAWIKI CLDR > src/wikidata/languages.tsv

MEDIAWIKI is the folder of a MediaWiki release, CLDR the folder of npm's package cldr-core. The script follows
LanguageFallbackChainFactory of Wikibase (2026-08-19): the language, its variants, its explicit fallback languages with
their variants. `mul` and `en`, which end every chain, are not part of the table.
"""
import json
import re
import sys
from pathlib import Path

mediawiki, cldr = map(Path, sys.argv[1:])


def version(path, pattern):
    return re.search(pattern, path.read_text()).group(1)


def quoted(text):
    return re.findall(r"'([a-z0-9-]+)'", text)


# Explicit fallback languages.
fallbacks = {}
for path in sorted((mediawiki / "languages/messages").glob("Messages*.php")):
    code = path.stem.removeprefix("Messages").replace("_", "-").lower()
    found = re.search(r"^\$fallback\s*=\s*'([^']*)'", path.read_text(), re.M)
    fallbacks[code] = [part.strip() for part in found.group(1).split(",")] if found else []
fallbacks["en"] = []
# Simple English is English; MediaWiki lists no explicit fallback, because English ends every chain.
fallbacks["simple"] = ["en"]
# Wikimedia's wikis have this fallback language, the release has no file of messages.
fallbacks.setdefault("es-419", ["es"])

# Variants: for each main code, all variants and the preferred order of some of them. English has no variants, because
# Pig Latin is switched off.
variants, preferred = {}, {}
for path in sorted((mediawiki / "includes/language/converters").glob("*Converter.php")):
    text = path.read_text()
    main = re.search(r"function getMainCode.*?return '([a-z]+)'", text, re.S).group(1)
    if main == "en":
        continue
    body = re.search(r"function getLanguageVariants.*?return (.*?);", text, re.S).group(1)
    variants[main] = quoted(body)
    body = re.search(r"function getVariantsFallbacks.*?return \[(.*?)\];", text, re.S).group(1)
    # A fallback that is no list has no effect on the order.
    for variant, listed in re.findall(r"'([a-z-]+)'\s*=>\s*\[(.*?)\]", body, re.S):
        preferred[variant] = quoted(listed)
main_of = {variant: main for main, all_variants in variants.items() for variant in [main, *all_variants]}


def variants_of(code):
    main = main_of.get(code)
    # `sh` is the main code of its variants but no variant, so MediaWiki looks up none for it.
    if main is None or code not in variants[main]:
        return []
    ordered = list(dict.fromkeys([*preferred.get(code, []), *variants[main]]))
    return [variant for variant in ordered if variant != code and variant in variants[main]]


# Scripts, as ISO 15924 codes. A code with a script subtag has this script.
data = json.loads((cldr / "supplemental/languageData.json").read_text())["supplemental"]["languageData"]
likely = json.loads((cldr / "supplemental/likelySubtags.json").read_text())["supplemental"]["likelySubtags"]
# Codes of MediaWiki whose scripts CLDR lists under another code, or not at all.
other_code = {
    "be-tarask": "be", "cbk-zam": "es", "crh-ro": "crh-latn", "egl": "it", "eml": "it", "gan": "zh", "hak": "zh",
    "hsn": "zh", "map-bms": "jv", "mo": "ro-cyrl", "nb": "no", "nrf": "fr", "nrm": "fr", "roa-tara": "it",
    "kk-cn": "kk-arab", "kk-tr": "kk-latn", "simple": "en", "sr-ec": "sr-cyrl", "sr-el": "sr-latn", "wuu": "zh", "cdo": "zh", "cpx": "zh", "lzh": "zh",
    "nan": "zh", "yue": "zh", "als": "gsw", "bat-smg": "sgs", "fiu-vro": "vro", "roa-rup": "rup", "bh": "bho",
    "bcc": "bal", "bcl": "bik", "bxr": "bua", "diq": "zza", "fat": "ak", "fuc": "ff", "gom": "kok", "knc": "kr",
    "mhr": "chm", "nah": "es", "pnb": "ur", "prs": "fa", "rmy": "rom", "tw": "ak",
}
# Codes whose texts on Wikidata are also in another script than CLDR's.
also = {"crh": ["Latn"], "sh": ["Cyrl", "Latn"], "nan": ["Latn"], "cdo": ["Latn"], "hak": ["Latn"]}
groups = {"Jpan": ["Hira", "Kana", "Hani"], "Hans": ["Hani"], "Hant": ["Hani"], "Hrkt": ["Hira", "Kana"],
          "Kore": ["Hang", "Hani"], "Aran": ["Arab"]}


def scripts_of(code):
    base, *subtags = other_code.get(code, code).split("-")
    script = next((subtag.capitalize() for subtag in subtags if len(subtag) == 4 and subtag.isalpha()), None)
    found = [script] if script else list(data.get(base, {}).get("_scripts", []))
    if not found and base in likely:
        found = [likely[base].split("-")[1]]
    found = found + also.get(code, [])
    return sorted({part for script in found for part in groups.get(script, [script])})


names = re.findall(r"^\t\t'([a-z0-9-]+)' =>", (mediawiki / "includes/languages/data/Names.php").read_text(), re.M)
codes = sorted({*fallbacks, *main_of, *names, *other_code})
print("# Languages of terms on Wikidata: scripts (ISO 15924), variants and explicit fallback languages, in lookup order.")
print(f"# Written by scripts/wikidata_languages.py from MediaWiki {version(mediawiki / 'includes/Defines.php', r'MW_VERSION., .([0-9.]+)')}"
      f" (chains) and CLDR {json.loads((cldr / 'package.json').read_text())['version']} (scripts, Unicode-3.0).")
print("# The chains are facts about MediaWiki (GPL-2.0-or-later), of which no text is copied. Scripts: © Unicode, Inc.,")
print("# https://www.unicode.org/license.txt.")
print("code\tscripts\tvariants\tfallbacks")
for code in codes:
    if code in ("qqq", "en-rtl", "en-x-piglatin", "arabic-indic", "persian-indic") or "formal" in code:
        continue
    chain = variants_of(code)
    explicit = []
    for other in fallbacks.get(code, []):
        for step in [other, *variants_of(other)]:
            if step != code and step not in chain and step not in explicit:
                explicit.append(step)
    print("\t".join([code, ",".join(scripts_of(code)), ",".join(chain), ",".join(explicit)]))
