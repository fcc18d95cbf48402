#!/usr/bin/env bash
# Python readers of Wikidata's JSON find no English name where Wikidata shows one.
#
# Since 2025, a name that is equal in many languages is stored once, under the code `mul`, and
# Wikidata's pages fall back to it. WikibaseIntegrator returns None for such a label, qwikidata an
# empty string, which a table of labels then holds as a name.
# Versions: WikibaseIntegrator 0.12.15, qwikidata 0.4.2.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages wikibaseintegrator==0.12.15 qwikidata==0.4.2

with packages - <<'PY'
from qwikidata.entity import WikidataItem
from wikibaseintegrator.entities import ItemEntity

item = {
    "type": "item", "id": "Q1", "labels": {"mul": {"language": "mul", "value": "Ada Lovelace"}},
    "aliases": {"mul": [{"language": "mul", "value": "Augusta Ada"}]}, "descriptions": {}, "claims": {},
    "sitelinks": {}, "lastrevid": 1, "modified": "2026-01-01T00:00:00Z", "pageid": 1, "ns": 0, "title": "Q1",
}
entity, other = ItemEntity().from_json(dict(item)), WikidataItem(item)
seen = [entity.labels.get("en"), str(entity.labels.get("mul")), entity.aliases.get("en"),
    other.get_label("en"), other.get_label("mul"), other.get_aliases("en")]
print(seen)
assert seen == [None, "Ada Lovelace", None, "", "Ada Lovelace", []], "the readers changed"
PY
