"""Answers a question over passages that PostgreSQL with pgvector retrieves and `polyqa serve` reads.

The passages are stored in a table with their documents' ids, their offsets and an embedding. One query
ranks them by full-text search and by cosine similarity, and fuses the ranks by reciprocal rank. The best
passages are sent to `POST /answer`. Each answer is printed with the id of its document and its offsets in
the document, in code points.

    pip install "psycopg[binary]" sentence-transformers
    polyqa serve --model MODEL &
    python answer_from_postgres.py --database postgresql://localhost/library --documents docs.jsonl \
        --question "Wo liegt Lima?"

Without --documents, the passages stored before are searched.
"""
import argparse
import json
import urllib.request

import psycopg
from sentence_transformers import SentenceTransformer

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS passages (
    document text NOT NULL,
    start integer NOT NULL,
    text text NOT NULL,
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED,
    embedding vector({width}) NOT NULL,
    PRIMARY KEY (document, start)
);
CREATE INDEX IF NOT EXISTS passages_words ON passages USING gin (words);
CREATE INDEX IF NOT EXISTS passages_embedding ON passages USING hnsw (embedding vector_cosine_ops);
"""

# Reciprocal rank fusion with the constant 60, as in polyqa. A question's words are joined by OR.
RETRIEVE = """
WITH query AS (
    SELECT replace(plainto_tsquery('simple', %(question)s)::text, '&', '|')::tsquery AS words
), by_words AS (
    SELECT document, start, rank() OVER (ORDER BY ts_rank_cd(passages.words, query.words, 1) DESC)
    FROM passages, query WHERE passages.words @@ query.words
    ORDER BY rank LIMIT 200
), by_vectors AS (
    SELECT document, start, rank() OVER (ORDER BY embedding <=> %(embedding)s::vector)
    FROM passages ORDER BY rank LIMIT 200
)
SELECT document, start, text FROM (
    SELECT document, start, sum(1.0 / (60 + rank)) AS score
    FROM (SELECT * FROM by_words UNION ALL SELECT * FROM by_vectors) AS ranked
    GROUP BY document, start
) AS fused JOIN passages USING (document, start)
ORDER BY score DESC, document, start LIMIT %(limit)s
"""


def passages(text):
    """Returns the offset and text of each paragraph of a document."""
    start = 0
    for paragraph in text.split("\n"):
        if paragraph.strip():
            yield start, paragraph
        start += len(paragraph) + 1


def embed(encoder, texts, prefix):
    vectors = encoder.encode([prefix + text for text in texts], normalize_embeddings=True)
    return ["[" + ",".join(map(str, vector)) + "]" for vector in vectors.tolist()]


def store(connection, encoder, path):
    """Stores the passages of a file of JSON lines with `id` and `text`."""
    with open(path, encoding="utf-8") as file:
        documents = [json.loads(line) for line in file if line.strip()]
    rows = [(str(row["id"]), start, text) for row in documents for start, text in passages(row["text"])]
    embeddings = embed(encoder, [text for _, _, text in rows], "passage: ")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO passages (document, start, text, embedding) VALUES (%s, %s, %s, %s)",
            [(*row, embedding) for row, embedding in zip(rows, embeddings)],
        )
    print(f"stored {len(documents)} documents, {len(rows)} passages")


def read(server, question, rows):
    """Returns the answers of `POST /answer` over passages, with ids and offsets of their documents."""
    documents = [{"id": str(index), "text": text} for index, (_, _, text) in enumerate(rows)]
    body = json.dumps({"question": question, "documents": documents}).encode()
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(server + "/answer", body, headers)) as response:
        result = json.load(response)["results"][0]
    for answer in result["answers"]:
        document, start, text = rows[int(answer["document"])]
        assert text[answer["start"]:answer["end"]] == answer["text"]
        yield {
            "document": document,
            "start": start + answer["start"],
            "end": start + answer["end"],
            "text": answer["text"],
            "probability": round(answer["probability"], 3),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="connection string of PostgreSQL")
    parser.add_argument("--documents", help="JSON lines with id and text to be stored first")
    parser.add_argument("--encoder", default="intfloat/multilingual-e5-small")
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="address of `polyqa serve`")
    parser.add_argument("--question", required=True, action="append")
    parser.add_argument("--candidates", type=int, default=50)
    options = parser.parse_args()
    encoder = SentenceTransformer(options.encoder)
    with psycopg.connect(options.database) as connection:
        [probe] = encoder.encode(["passage: width of the vectors"]).tolist()
        connection.execute(SCHEMA.format(width=len(probe)))
        if options.documents:
            store(connection, encoder, options.documents)
        for question in options.question:
            [embedding] = embed(encoder, [question], "query: ")
            values = {"question": question, "embedding": embedding, "limit": options.candidates}
            rows = connection.execute(RETRIEVE, values).fetchall()
            print(f"{question} ({len(rows)} passages)")
            for answer in read(options.server, question, rows):
                print("  " + json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()
