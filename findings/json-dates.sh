#!/usr/bin/env bash
# JSON readers of tables turn answers that are dates, times or digits into other types.
#
# An answer column in which every string is an ISO date becomes a timestamp in pyarrow and a DATE in
# DuckDB; DuckDB also types times and UUIDs; pandas makes numbers of strings of digits, so a leading
# zero is lost and the id "1e5" becomes 100000.0. polars keeps strings. Whether a file of questions
# is read as text therefore depends on all its answers, and a Parquet file written from it no longer
# holds the answers as they were.
# Versions: pyarrow 26.0.1, DuckDB 2.0.1, pandas 3.1.1, polars 2.1.0.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages pyarrow==26.0.1 duckdb==2.0.1 pandas==3.1.1 polars==2.1.0

with packages - <<'PY'
import json
import duckdb, pandas, polars, pyarrow.json

def write(name, rows):
    with open(name, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)

write("dates.jsonl", [{"answer": "1998-06-14"}, {"answer": "2001-01-01"}])
write("mixed.jsonl", [{"answer": "1998-06-14"}, {"answer": "in 2001"}])
write("digits.jsonl", [{"id": "1e5", "answer": "007"}, {"id": "2e7", "answer": "123"}])
write("times.jsonl", [{"id": "6f0f3c1a-0000-4000-8000-000000000001", "answer": "12:30:00"}])

def duckdb_types(name):
    return [row[1] for row in duckdb.sql(f"describe select * from read_json_auto('{name}')").fetchall()]

seen = {
    "pyarrow, only dates": str(pyarrow.json.read_json("dates.jsonl").schema.field("answer").type),
    "pyarrow, a date and a text": str(pyarrow.json.read_json("mixed.jsonl").schema.field("answer").type),
    "DuckDB, only dates": duckdb_types("dates.jsonl"),
    "DuckDB, a UUID and a time": duckdb_types("times.jsonl"),
    "pandas, digits": pandas.read_json("digits.jsonl", lines=True).values.tolist(),
    "polars, only dates": str(polars.read_ndjson("dates.jsonl").schema["answer"]),
    "polars, digits": polars.read_ndjson("digits.jsonl").rows(),
}
for name, value in seen.items():
    print(f"{name}: {value}")
assert list(seen.values()) == [
    "timestamp[s]",
    "string",
    ["DATE"],
    ["UUID", "TIME"],
    [[100000.0, 7], [20000000.0, 123]],
    "String",
    [("1e5", "007"), ("2e7", "123")],
], "the readers changed"
PY
