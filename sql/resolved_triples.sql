-- The triples with merged entities replaced by what they were merged into; each triple once.
-- One step: register the result as triples and run it again where a target is itself merged.
-- Views: triples, redirects.
SELECT DISTINCT
    COALESCE(head.target_id, triples.head_id) AS head_id,
    triples.relation_id AS relation_id,
    COALESCE(tail.target_id, triples.tail_id) AS tail_id
FROM triples
LEFT JOIN redirects AS head ON head.id = triples.head_id
LEFT JOIN redirects AS tail ON tail.id = triples.tail_id
