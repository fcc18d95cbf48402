"""The demo's knowledge graph: the part of ../mini-kg about the 60 most populous countries.

usage: python3 select_kg.py  (from this folder; writes kg/triples.tsv and kg/labels.tsv)
Kept: region and continent of each country, its official and spoken languages where the language's main country is among
the 60, and for those languages their writing system and main country.
"""
import collections
import csv

TOP = 60
SOURCE = "../mini-kg"


def rows(path):
    with open(path, encoding="utf8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def write(path, header, body):
    with open(path, "w", encoding="utf8", newline="") as file:
        for row in [header, *body]:
            file.write("\t".join(row) + "\n")


triples = [tuple(row) for row in rows(f"{SOURCE}/triples.tsv")]
with open(f"{SOURCE}/top_countries.txt", encoding="utf8") as file:
    countries = {"T:" + line.split()[0] for line in file.readlines()[:TOP]}
linked = collections.Counter(
    tail for head, relation, tail in triples
    if head in countries and relation in ("official_language", "spoken_language"))
at_home = {head for head, relation, tail in triples if relation == "main_country" and tail in countries}
languages = {language for language in linked if language in at_home}
kept = [
    (head, relation, tail) for head, relation, tail in triples
    if (head in countries and (tail in languages or relation in ("subregion", "continent")))
    or (head in languages and (relation == "writing_system" or tail in countries))]
entities = {id_ for head, _, tail in kept for id_ in (head, tail)}
relations = {relation for _, relation, _ in kept}
write("kg/triples.tsv", ("head_id", "relation_id", "tail_id"), kept)
write("kg/labels.tsv", ("id", "lang", "label", "kind"),
      [(*row, "entity") for row in rows(f"{SOURCE}/labels.tsv") if row[0] in entities]
      + [(*row, "relation") for row in rows(f"{SOURCE}/relations.tsv") if row[0] in relations])
print(len(kept), "triples", len(entities), "entities", len(relations), "relations")
