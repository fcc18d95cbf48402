#!/usr/bin/env python3
"""Writes the made-up questions of this folder, in the form of MTQA's rows; see README.md.

    python3 data/mtqa-synthetic/make.py

Everything is invented or a common word, and told alike in English, French and German. The
translations were written by hand and not checked by native speakers.
"""
import json
import random
from pathlib import Path

LANGUAGES = ["en", "fr", "de"]
SPLITS = {"train": 160, "dev": 50, "test": 120}
# Each sentence in the three languages, with {x} for the place and {a} for the answer, and the
# question about it. `food` is rare, so that a type with few questions is there too.
TYPES = {
    "color": (
        ["The door of {x} is {a}.", "La porte de {x} est {a}.", "Die Tür von {x} ist {a}."],
        ["what color is the door of {x}", "de quelle couleur est la porte de {x}",
         "welche farbe hat die tür von {x}"],
    ),
    "animal": (
        ["In the garden of {x} lives a {a}.", "Dans le jardin de {x} vit un {a}.",
         "Im Garten von {x} lebt ein {a}."],
        ["which animal lives in the garden of {x}", "quel animal vit dans le jardin de {x}",
         "welches tier lebt im garten von {x}"],
    ),
    "full name": (
        ["{x} was built by {a}.", "{x} a été construit par {a}.", "{x} wurde von {a} gebaut."],
        ["who built {x}", "qui a construit {x}", "wer hat {x} gebaut"],
    ),
    "numeric": (
        ["There are {a} rooms in {x}.", "Il y a {a} chambres à {x}.",
         "Es gibt {a} Zimmer in {x}."],
        ["how many rooms are in {x}", "combien de chambres y a-t-il à {x}",
         "wie viele zimmer gibt es in {x}"],
    ),
    "money": (
        ["One night in {x} costs {a}.", "Une nuit à {x} coûte {a}.",
         "Eine Nacht in {x} kostet {a}."],
        ["how much is a night in {x}", "combien coûte une nuit à {x}",
         "was kostet eine nacht in {x}"],
    ),
    "length": (
        ["The wall of {x} has a length of {a}.", "Le mur de {x} a une longueur de {a}.",
         "Die Mauer von {x} hat eine Länge von {a}."],
        ["how long is the wall of {x}", "quelle est la longueur du mur de {x}",
         "wie lang ist die mauer von {x}"],
    ),
    "date": (
        ["The first guest came to {x} in {a}.", "Le premier client est venu à {x} en {a}.",
         "Der erste Gast kam nach {x} im {a}."],
        ["when did the first guest come to {x}", "quand le premier client est-il venu à {x}",
         "wann kam der erste gast nach {x}"],
    ),
    "city": (
        ["{x} stands near {a}.", "{x} se trouve près de {a}.", "{x} steht in der Nähe von {a}."],
        ["which city is near {x}", "quelle ville est près de {x}",
         "welche stadt ist in der nähe von {x}"],
    ),
    "description": (
        ["{x} is {a}.", "{x} est {a}.", "{x} ist {a}."],
        ["what is {x}", "qu'est-ce que {x}", "was ist {x}"],
    ),
    "food": (
        ["The cook of {x} is known for {a}.", "Le cuisinier de {x} est connu pour {a}.",
         "Der Koch von {x} ist bekannt für {a}."],
        ["what is the cook of {x} known for", "pour quoi le cuisinier de {x} est-il connu",
         "wofür ist der koch von {x} bekannt"],
    ),
}
RARE = "food"
EVERY = 40  # items between two of the rare type

WORDS = {
    "color": "red rouge rot, green verte grün, blue bleue blau, black noire schwarz, "
    "white blanche weiß, yellow jaune gelb, grey grise grau, brown brune braun",
    "animal": "fox renard Fuchs, bear ours Bär, dog chien Hund, rabbit lapin Hase, "
    "wolf loup Wolf, hedgehog hérisson Igel, donkey âne Esel, raven corbeau Rabe",
    "city": "London Londres London, Vienna Vienne Wien, Munich Munich München, "
    "Geneva Genève Genf, Rome Rome Rom, Venice Venise Venedig, Warsaw Varsovie Warschau, "
    "Cologne Cologne Köln, Brussels Bruxelles Brüssel, Prague Prague Prag",
    "month": "January janvier Januar, March mars März, May mai Mai, July juillet Juli, "
    "August août August, October octobre Oktober, December décembre Dezember",
}
PHRASES = {
    "description": [
        ("an old mill", "un vieux moulin", "eine alte Mühle"),
        ("a small castle", "un petit château", "ein kleines Schloss"),
        ("a former school", "une ancienne école", "eine ehemalige Schule"),
        ("a house on a lake", "une maison au bord d'un lac", "ein Haus an einem See"),
        ("a hotel with a tower", "un hôtel avec une tour", "ein Hotel mit einem Turm"),
    ],
    "food": [
        ("onion soup", "la soupe à l'oignon", "Zwiebelsuppe"),
        ("apple cake", "le gâteau aux pommes", "Apfelkuchen"),
        ("fried fish", "le poisson frit", "gebratenen Fisch"),
    ],
}
FIRST = "Anna Paul Clara Hugo Emma Louis Nora Victor Alice Oskar Julia Robert".split()
LAST = "Keller Moreau Hill Brandt Lefort Stone Richter Duval Marsh Vogel Colin Baker".split()
SYLLABLES = "bel cor van mir tas lon der wik sol fen gra dul".split()


def words(kind):
    return [tuple(entry.split()) for entry in WORDS[kind].split(", ")]


def answer(kind, rng):
    """The answer in the three languages."""
    if kind in ("color", "animal", "city"):
        return rng.choice(words(kind))
    if kind in PHRASES:
        return rng.choice(PHRASES[kind])
    if kind == "full name":
        return (f"{rng.choice(FIRST)} {rng.choice(LAST)}",) * 3
    if kind == "date":
        year = rng.randrange(1850, 2000)
        return tuple(f"{month} {year}" for month in rng.choice(words("month")))
    number = rng.randrange(2, 99)
    units = {"numeric": ("", "", ""), "money": (" euros", " euros", " Euro"),
             "length": (" metres", " mètres", " Meter")}
    return tuple(f"{number}{unit}" for unit in units[kind])


def place(rng, seen):
    """A name that no other item has."""
    while True:
        name = "".join(rng.choice(SYLLABLES) for _ in range(3)).capitalize()
        if name not in seen:
            seen.add(name)
            return name


def item(number, rng, seen):
    """The sentences of a passage as (kind, place, answer), the asked one first."""
    common = [kind for kind in TYPES if kind != RARE]
    kind = RARE if number % EVERY == EVERY - 1 else common[number % len(common)]
    x, y = place(rng, seen), place(rng, seen)
    asked = (kind, x, answer(kind, rng))
    # Another place with an answer of the same type, and other facts about the asked one.
    other = answer(kind, rng)
    while other == asked[2]:
        other = answer(kind, rng)
    facts = [asked, (kind, y, other)]
    for more in rng.sample([own for own in common if own != kind], 2):
        facts.append((more, x, answer(more, rng)))
    order = list(range(len(facts)))
    rng.shuffle(order)
    return facts, order


def row(number, split, facts, order, language):
    passage, start = "", None
    for index in order:
        kind, x, values = facts[index]
        template = TYPES[kind][0][language]
        sentence = template.format(x=x, a=values[language])
        passage += " " if passage else ""
        if index == 0:
            before = template[: template.index("{a}")].format(x=x)
            start = len(passage) + len(before)
        passage += sentence
    kind, x, values = facts[0]
    text = values[language]
    assert passage[start : start + len(text)] == text
    return {
        "id": f"{split}-{number}",
        "question": TYPES[kind][1][language].format(x=x),
        "passage": passage,
        "subtype": kind,
        "answer": {"start": start, "end": start + len(text), "text": text},
    }


def main():
    folder, seen = Path(__file__).parent, set()
    for split, count in SPLITS.items():
        rng = random.Random(f"mtqa-synthetic {split}")
        items = [item(number, rng, seen) for number in range(count)]
        for index, language in enumerate(LANGUAGES):
            rows = [row(k, split, *own, index) for k, own in enumerate(items)]
            lines = ",\n".join(json.dumps(own, ensure_ascii=False) for own in rows)
            path = folder / f"{split}-context-{language}-question-{language}.json"
            path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
