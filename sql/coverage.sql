-- What is labelled and described, by language and relation: how many triples there are, and of how
-- many the head, the relation, the tail, all three have a label in the language; of how many head
-- and tail have a description in it.
-- Views: triples, labels, descriptions.
SELECT
    languages.lang AS lang,
    triples.relation_id AS relation_id,
    COUNT(*) AS triples,
    COUNT(head.id) AS labelled_heads,
    COUNT(relation.id) AS labelled_relations,
    COUNT(tail.id) AS labelled_tails,
    COUNT(CASE WHEN head.id IS NOT NULL AND relation.id IS NOT NULL THEN tail.id END)
        AS labelled_triples,
    COUNT(CASE WHEN head_text.id IS NOT NULL THEN tail_text.id END) AS described_triples
FROM triples
CROSS JOIN (SELECT DISTINCT lang FROM labels) AS languages
LEFT JOIN labels AS head
    ON head.id = triples.head_id AND head.lang = languages.lang AND head.kind = 'entity'
LEFT JOIN labels AS relation
    ON relation.id = triples.relation_id
    AND relation.lang = languages.lang
    AND relation.kind = 'relation'
LEFT JOIN labels AS tail
    ON tail.id = triples.tail_id AND tail.lang = languages.lang AND tail.kind = 'entity'
LEFT JOIN descriptions AS head_text
    ON head_text.id = triples.head_id AND head_text.lang = languages.lang
LEFT JOIN descriptions AS tail_text
    ON tail_text.id = triples.tail_id AND tail_text.lang = languages.lang
GROUP BY languages.lang, triples.relation_id
