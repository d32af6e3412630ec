"""Which vector indexes stand, as the catalog says it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightvec.peewee import Pg8000Database
from lightvec.peewee.catalog import ExistingIndex, vector_indexes


@pytest.fixture
def found(db: Pg8000Database) -> Iterator[dict[str, ExistingIndex]]:
    with db.atomic() as transaction:
        for sql in (
            'CREATE TABLE standing (id int, "the vector" vector(3), half halfvec(4), note text)',
            'CREATE INDEX plain ON standing USING hnsw ("the vector" vector_cosine_ops) WITH (m = 8)',
            'CREATE INDEX coarse ON standing USING hnsw (("the vector"::halfvec(3)) halfvec_l2_ops) WHERE id > 5',
            'CREATE INDEX bits ON standing USING hnsw ((binary_quantize("the vector")::bit(3)) bit_hamming_ops)',
            "CREATE INDEX lists ON standing USING ivfflat (half halfvec_ip_ops) WITH (lists = 1)",
            "CREATE INDEX other ON standing (note)",
        ):
            db.execute_sql(sql)
        yield {index.name: index for index in vector_indexes(db, "standing")}
        transaction.rollback()


def test_what_each_is_built_for(found: dict[str, ExistingIndex]) -> None:
    built = {
        name: (index.column, index.column_type, index.method, index.metric, index.quantize, index.dimensions)
        for name, index in found.items()
    }
    assert built == {
        "plain": ("the vector", "vector", "hnsw", "cosine", None, 3),
        "coarse": ("the vector", "vector", "hnsw", "l2", "halfvec", 3),
        "bits": ("the vector", "vector", "hnsw", "hamming", "bit", 3),
        "lists": ("half", "halfvec", "ivfflat", "ip", None, 4),
    }


def test_the_rest_of_it(found: dict[str, ExistingIndex]) -> None:
    assert found["plain"].options == {"m": "8"}
    assert (found["plain"].expression, found["plain"].where) == (None, None)
    assert (found["coarse"].where, found["bits"].where) == ("(id > 5)", None)
    assert "binary_quantize" in str(found["bits"].expression)
    for index in found.values():
        assert (index.table, index.schema, index.table_schema) == ("standing", "public", "public")
        assert (index.valid, index.being_built) == (True, False)
        assert index.size > 0


def test_all_tables_or_one(db: Pg8000Database, found: dict[str, ExistingIndex]) -> None:
    assert list(found.values()) == vector_indexes(db, "standing", "public")
    assert {"plain", "lists"} <= {index.name for index in vector_indexes(db)}
    assert vector_indexes(db, "no such table") == []
