#!/usr/bin/env bash
# rdflib 7.6 and pyoxigraph 0.5 write other literals than they read from Wikidata's N-Triples.
#
# Wikidata writes amounts as "+8230000" and dates as "1879-03-14T00:00:00Z". rdflib removes the plus sign and
# writes the date with "+00:00"; pyoxigraph's store removes the plus sign and the last zero of "+0.50", and
# lower-cases language tags. The values are equal, but triples of the dump, of rdflib and of pyoxigraph no
# longer match as text. Dates that rdflib cannot parse, such as Wikidata's years ("1867-00-00T00:00:00Z"),
# stay as they are. With `rdflib.NORMALIZE_LITERALS = False`, rdflib keeps all literals.
# Versions: rdflib 7.6.0, pyoxigraph 0.5.13.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages rdflib==7.6.0 pyoxigraph==0.5.13

with packages - <<'PY'
import logging

import pyoxigraph
import rdflib

logging.disable()  # of dates that rdflib does not parse
SCHEMA = "http://www.w3.org/2001/XMLSchema#"
literals = [
    f'"+8230000"^^<{SCHEMA}decimal>',
    f'"+0.50"^^<{SCHEMA}decimal>',
    f'"1879-03-14T00:00:00Z"^^<{SCHEMA}dateTime>',
    f'"1867-00-00T00:00:00Z"^^<{SCHEMA}dateTime>',
    '"Lima"@zh-Hant',
]
text = "".join(f"<http://example.org/{n}> <http://example.org/p> {literal} .\n" for n, literal in enumerate(literals))


def objects(dump):
    rows = sorted(line.split(" ", 2) for line in dump.splitlines() if line)
    return [row[2].removesuffix(" .") for row in rows]


def with_rdflib():
    graph = rdflib.Graph()
    graph.parse(data=text, format="nt")
    return objects(graph.serialize(format="nt"))


def with_pyoxigraph():
    store = pyoxigraph.Store()
    store.load(input=text.encode(), format=pyoxigraph.RdfFormat.N_TRIPLES)
    dump = store.dump(format=pyoxigraph.RdfFormat.N_TRIPLES, from_graph=pyoxigraph.DefaultGraph())
    return objects(dump.decode())


normalised = with_rdflib()
rdflib.NORMALIZE_LITERALS = False
kept, stored = with_rdflib(), with_pyoxigraph()
for row in zip(literals, normalised, kept, stored):
    short = [value.replace(SCHEMA, "") for value in row]
    print("Wikidata {}, rdflib {}, without normalisation {}, pyoxigraph {}".format(*short))


def changed(values):
    return [value != literal for value, literal in zip(values, literals)]


assert changed(normalised) == [True, True, True, False, False], "rdflib"
assert not any(changed(kept)), "rdflib without normalisation"
assert changed(stored) == [True, True, False, False, True], "pyoxigraph"
PY
