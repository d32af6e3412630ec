"""What users do first, on each server that README names."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import Model, NotSupportedError, ProgrammingError, TextField

from lightvec import Vector
from lightvec.peewee import HalfVectorField, HnswIndex, IvfflatIndex, Pg8000Database, VectorField
from lightvec.pg8000 import connect
from lightvec.search import explain, recall
from tests.cli.conftest import Run

ROWS, DIMENSIONS = 600, 8


@pytest.fixture
def is_pglite(other_server: str) -> bool:
    with connect(other_server) as conn:
        return "PGlite" in str(conn.run("SELECT version()"))


@pytest.fixture
def doc(other_server: str) -> Iterator[Any]:
    """A table with an HNSW index, filled by INSERT."""
    database = Pg8000Database(other_server)

    class Doc(Model):
        body = TextField()
        embedding = VectorField(DIMENSIONS, metric="cosine", index="hnsw")

        class Meta:
            table_name = "doc"

    numbers = random.Random(1)
    rows = [
        {"body": "rare" if i % 100 == 0 else "usual", "embedding": [numbers.random() for _ in range(DIMENSIONS)]}
        for i in range(ROWS)
    ]
    Doc.bind(database)
    try:
        database.create_tables([Doc])
        Doc.insert_many(rows).execute()
        yield Doc
    finally:
        database.drop_tables([Doc])
        database.close()


QUERY = [0.5] * DIMENSIONS


def test_nearest(doc: Any) -> None:
    found = list(doc.embedding.nearest(QUERY, k=10))
    exact = list(doc.embedding.nearest(QUERY, k=10, exact=True))
    assert [row.distance for row in exact] == sorted(row.distance for row in exact)
    assert len(found) == len(exact) == 10
    assert len({row.id for row in found} & {row.id for row in exact}) >= 8
    assert np.allclose(list(found[0].embedding), list(doc.get_by_id(found[0].id).embedding))


def test_a_filter_that_leaves_few_rows(doc: Any, pgvector: tuple[int, int]) -> None:
    found = list(doc.embedding.nearest(QUERY, k=6).where(doc.body == "rare"))
    assert [row.body for row in found] == ["rare"] * 6


def test_settings_of_a_newer_release(doc: Any, pgvector: tuple[int, int]) -> None:
    def search() -> int:
        sql, settings = "SELECT id FROM doc ORDER BY embedding <=> %s LIMIT 3", {"hnsw.iterative_scan": "strict_order"}
        return len(doc._meta.database.execute_sql(sql, (Vector(QUERY),), settings=settings).fetchall())

    for _ in range(3):
        if pgvector >= (0, 8):
            assert search() == 3
        else:
            with pytest.raises(NotSupportedError, match=r"needs pgvector 0\.8, .*ALTER EXTENSION vector UPDATE"):
                search()


def test_a_vector_parameter(other_server: str) -> None:
    with connect(other_server) as conn:
        for _ in range(8):  # From the second time on it may be prepared, and vectors come in binary.
            ((vector, distance),) = conn.run("SELECT :v::vector, :v <-> '[1,2,4]'", v=Vector([1, 2, 3])) or []
            assert (vector, distance) == ([1, 2, 3], 1)
        settings = {"hnsw.ef_search": "77"}
        assert conn.run("SELECT current_setting('hnsw.ef_search')", settings=settings) == [["77"]]
        assert conn.run("SELECT current_setting('hnsw.ef_search', true)") != [["77"]]


def test_copy(doc: Any, other_server: str, is_pglite: bool) -> None:
    database = doc._meta.database
    rows = [(f"copied {i}", [i, *range(1, DIMENSIONS)]) for i in range(100)]
    if is_pglite:
        with pytest.raises(NotSupportedError, match="PGlite"):
            database.copy_rows(doc, rows, fields=[doc.body, doc.embedding])
    else:
        assert database.copy_rows(doc, rows, fields=[doc.body, doc.embedding]) == 100
        matrix = np.arange(100 * DIMENSIONS, dtype="float32").reshape(100, DIMENSIONS)
        assert database.connection().copy_columns("doc", {"body": ["m"] * 100, "embedding": matrix}) == 100
    assert doc.select().count() == ROWS + (0 if is_pglite else 200)
    written = io.BytesIO()
    with connect(other_server) as conn:
        conn.run("COPY doc (id) TO STDOUT", stream=written)
    assert written.getvalue().count(b"\n") == doc.select().count()


def test_fetch_columns(doc: Any, other_server: str) -> None:
    with connect(other_server) as conn:
        for _ in range(2):
            columns = conn.fetch_columns("SELECT id, embedding FROM doc ORDER BY id")
            assert columns["embedding"].shape == (ROWS, DIMENSIONS)


def test_half_vectors(other_server: str, pgvector: tuple[int, int]) -> None:
    database = Pg8000Database(other_server)

    class Half(Model):
        embedding = HalfVectorField(3, metric="l2", index="hnsw")

        class Meta:
            table_name = "half"

    with closing(database), database.bind_ctx([Half]):
        if pgvector < (0, 7):
            with pytest.raises(ProgrammingError, match="ALTER EXTENSION vector UPDATE"):
                database.create_tables([Half])
            return
        database.create_tables([Half])
        Half.insert_many([{"embedding": [1, 2, 3]}, {"embedding": [3, 2, 1]}]).execute()
        (nearest,) = Half.embedding.nearest([1, 2, 3], k=1).dicts()
        assert nearest["distance"] == 0
        database.drop_tables([Half])


def test_indexes(doc: Any) -> None:
    database = doc._meta.database
    for index in (HnswIndex(doc.embedding, metric="l2", m=8), IvfflatIndex(doc.embedding, metric="ip", lists=10)):
        doc.add_index(index)
        doc.create_table()
    names = {index.name for index in database.get_indexes("doc")}
    assert len(names) == 4


def test_explain_and_recall(doc: Any) -> None:
    assert explain(doc.embedding.nearest(QUERY, k=10))
    assert recall(doc.embedding, sample=5).recall > 0.5


def test_the_command_line(
    doc: Any, other_server: str, run: Run, write_module: Callable[[str], str], tmp_path: Path, is_pglite: bool
) -> None:
    module = write_module(
        "class Doc(Model):\n    body = TextField()\n"
        f"    embedding = VectorField({DIMENSIONS}, metric='cosine', index='hnsw')\n"
        "    class Meta:\n        table_name = 'doc'\n"
    )
    url = ("--url", other_server)
    assert run("init-db", module, *url).status == 0
    found = run("search", "doc", "--vector", json.dumps(QUERY), "-k", "3", "--json", *url)
    assert found.status == 0
    assert len([json.loads(line) for line in found.out.splitlines()]) >= 1
    assert run("create-index", "doc", "--metric", "l2", *url).status == 0
    assert run("recall", "doc", "--sample", "5", *url).status == 0
    assert run("doctor", "doc", *url).status in (0, 1)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"body": "loaded", "embedding": QUERY}) + "\n")
    loaded = run("load", "doc", "rows.jsonl", *url)
    assert (loaded.status, "PGlite" in loaded.err) == ((1, True) if is_pglite else (0, False))
