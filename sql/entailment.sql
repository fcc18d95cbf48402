-- Pairs for object entailment (XLM-K, section 3.3): a triple, its subject described in one language,
-- its object in another. A row for each pair of languages; labels are NULL where there is none, and
-- the relation's is in the subject's language.
-- Views: triples, labels, descriptions.
SELECT
    triples.head_id AS subject_id,
    triples.relation_id AS relation_id,
    triples.tail_id AS object_id,
    subject_text.lang AS subject_lang,
    subject_name.label AS subject_label,
    subject_text.description AS subject_description,
    relation_name.label AS relation_label,
    object_text.lang AS object_lang,
    object_name.label AS object_label,
    object_text.description AS object_description
FROM triples
JOIN descriptions AS subject_text
    ON subject_text.id = triples.head_id
JOIN descriptions AS object_text
    ON object_text.id = triples.tail_id AND object_text.lang <> subject_text.lang
LEFT JOIN labels AS subject_name
    ON subject_name.id = triples.head_id
    AND subject_name.lang = subject_text.lang
    AND subject_name.kind = 'entity'
LEFT JOIN labels AS relation_name
    ON relation_name.id = triples.relation_id
    AND relation_name.lang = subject_text.lang
    AND relation_name.kind = 'relation'
LEFT JOIN labels AS object_name
    ON object_name.id = triples.tail_id
    AND object_name.lang = object_text.lang
    AND object_name.kind = 'entity'
-- As `kg-triples sample` leaves them out.
WHERE triples.head_id <> triples.tail_id
