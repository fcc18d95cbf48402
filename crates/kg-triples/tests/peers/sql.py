"""Runs the queries of sql/ over an extract: sql.py duckdb|spark EXTRACT SQL

Writes {"entailment": [rows], "coverage": [rows]} to standard output, rows as they come.
"""
import json
import pathlib
import sys

TABLES = ["triples", "labels", "descriptions", "redirects"]
# Redirects of redirects of redirects.
STEPS = 3


def on_duckdb(extract):
    import duckdb

    base = duckdb.connect()
    for table in TABLES:
        base.execute(f"CREATE VIEW {table} AS FROM read_parquet('{extract / table}/*.parquet')")

    def run(query):
        return base.execute(query).fetchall()

    def replace(query, step):
        base.execute(f"CREATE TABLE resolved_{step} AS {query}")
        base.execute(f"CREATE OR REPLACE VIEW triples AS FROM resolved_{step}")

    return run, replace


def on_spark(extract):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "4")
    # Neither the host's name nor a network is needed.
    builder = builder.config("spark.driver.host", "127.0.0.1")
    spark = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for table in TABLES:
        spark.read.parquet(str(extract / table)).createOrReplaceTempView(table)

    def run(query):
        return [list(row) for row in spark.sql(query).collect()]

    def replace(query, step):
        spark.sql(query).localCheckpoint().createOrReplaceTempView("triples")

    return run, replace


def main():
    engine, extract, sql = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    run, replace = {"duckdb": on_duckdb, "spark": on_spark}[engine](extract)
    for step in range(STEPS):
        replace((sql / "resolved_triples.sql").read_text(), step)
    names = ["entailment", "coverage"]
    print(json.dumps({name: run((sql / f"{name}.sql").read_text()) for name in names}))


main()
