"""DuckDB's sample of the facts that have labels in all languages, with their labels.

python sample.py FOLDER LANGUAGES COUNT OUT, with two threads.
"""
import sys

import duckdb

folder, languages, count, out = sys.argv[1:]
codes = languages.split(",")
listed = ", ".join(f"'{code}'" for code in codes)
options = "delim='\\t', header=true, quote='', escape='', all_varchar=true"
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET preserve_insertion_order = false")
db.execute(f"CREATE VIEW triples AS SELECT * FROM read_csv('{folder}/triples.tsv', {options})")
db.execute(
    f"CREATE TABLE labels AS SELECT * FROM read_csv('{folder}/labels.tsv', {options})"
    f" WHERE lang IN ({listed})"
)
db.execute(
    "CREATE TABLE labelled AS SELECT id FROM labels GROUP BY id"
    f" HAVING count(DISTINCT lang) = {len(codes)}"
)
db.execute(
    "CREATE TABLE sampled AS SELECT * FROM (SELECT triples.* FROM triples"
    " SEMI JOIN labelled h ON triples.head_id = h.id"
    " SEMI JOIN labelled r ON triples.relation_id = r.id"
    " SEMI JOIN labelled t ON triples.tail_id = t.id"
    " WHERE head_id <> tail_id)"
    f" USING SAMPLE reservoir({count} ROWS)"
)
db.execute(f"COPY sampled TO '{out}/triples.tsv' (DELIMITER '\\t')")
db.execute(
    "COPY (SELECT labels.* FROM labels SEMI JOIN (SELECT head_id AS id FROM sampled UNION"
    " SELECT relation_id FROM sampled UNION SELECT tail_id FROM sampled) ids"
    f" ON labels.id = ids.id) TO '{out}/labels.tsv' (DELIMITER '\\t')"
)
