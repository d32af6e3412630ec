"""A script on plain pg8000, without an ORM: one line teaches a connection that is there already the vector types.

    python -m examples.plain_pg8000

It prints::

    pg8000: [[2, Vector([2.0, 0.0, 1.0]), HalfVector([0.5, 2.0, 0.0]), SparseVector({0: 1.0, 5: 2.0}, 6)]]
    lightvec: [[2, Vector([2.0, 0.0, 1.0]), HalfVector([0.5, 2.0, 0.0]), SparseVector({0: 1.0, 5: 2.0}, 6)]]
    1,000 rows copied
    as a matrix: (1003, 3) float32
    read one by one: 509506
"""

from __future__ import annotations

import os
from urllib.parse import parse_qs, unquote, urlsplit

import pg8000.native

from lightvec import HalfVector, SparseVector, Vector
from lightvec.pg8000 import connect, register_vector
from lightvec.server import ensure

TABLE = """
DROP TABLE IF EXISTS example_plain;
CREATE TABLE example_plain (
    id int PRIMARY KEY,
    dense vector(3),
    half halfvec(3),
    sparse sparsevec(6)
)"""


def main(url: str) -> None:
    """The same table with pg8000's connection, and with lightvec's."""
    theirs = pg8000.native.Connection(**parameters(url))
    theirs.run("CREATE EXTENSION IF NOT EXISTS vector")
    theirs.run(TABLE)
    register_vector(theirs)
    for number in range(1, 4):
        theirs.run(
            "INSERT INTO example_plain VALUES (:id, :dense, :half, :sparse)",
            id=number,
            dense=Vector([number, 0, 1]),
            half=HalfVector([0.5, number, 0]),
            sparse=SparseVector({0: 1, 5: number}, 6),
        )
    nearest = "SELECT id, dense, half, sparse FROM example_plain ORDER BY dense <-> :vector LIMIT 1"
    print("pg8000:", theirs.run(nearest, vector=Vector([2.2, 0, 1])))
    theirs.close()

    # lightvec's connection is one of pg8000's, too. It needs no registration, sends vectors as binary, takes one round
    # trip where pg8000 takes three, and reads the connection string itself.
    with connect(url) as ours:
        print("lightvec:", ours.run(nearest, vector=Vector([2.2, 0, 1]), settings={"hnsw.ef_search": 100}))
        # What is loaded goes by the column's type, so that plain lists are vectors.
        rows = ([number, [number, 1, 1], [1, 1, 1], SparseVector({1: 1}, 6)] for number in range(10, 1_010))
        print(f"{ours.copy_rows('example_plain', ['id', 'dense', 'half', 'sparse'], rows):,} rows copied")
        columns = ours.fetch_columns("SELECT id, dense FROM example_plain ORDER BY id")
        print("as a matrix:", columns["dense"].shape, columns["dense"].dtype)
        print("read one by one:", sum(row[0] for row in ours.stream("SELECT id FROM example_plain", batch=100)))


def parameters(url: str) -> dict[str, str | int | None]:
    """pg8000's parameters from a connection string, which it does not read."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    port = parts.port or int(options.get("port", 5432))
    folder = options.get("host", "")
    return {
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password) if parts.password else None,
        "database": unquote(parts.path.lstrip("/")) or "postgres",
        **({"unix_sock": f"{folder}/.s.PGSQL.{port}"} if folder.startswith("/") else {}),
        **({"host": parts.hostname, "port": port} if parts.hostname else {}),
    }


if __name__ == "__main__":
    named = os.environ.get("DATABASE_URL", "embedded:.lightvec")
    if named.startswith("embedded:"):
        named = ensure(named.removeprefix("embedded:")).url
    main(named)
