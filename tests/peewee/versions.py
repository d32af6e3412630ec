"""Versions of a model with all that vector fields and indexes can have, and what the catalog says of a table."""

from __future__ import annotations

from typing import Any

from lightvec.peewee import Pg8000Database
from lightvec.wire.identifiers import identifier

HEAD = """
from peewee import *
from lightvec.peewee import *

class Item(Model):
    name = TextField(column_name="title")
    n = IntegerField(default=0)
"""
DENSE = """
    dense = VectorField(3, metric="cosine", model="m-1", source="name", index="hnsw")
"""
META = """
    class Meta:
        table_name = "item"
        indexes = (
            (("n",), False),
            HnswIndex("dense", metric="l2", m=8, ef_construction=32, where=SQL("n > 5 AND title LIKE 'a%%'")),
            IvfflatIndex("dense", lists=9, quantize="halfvec"),
            HnswIndex("dense", metric="ip", quantize="bit", name="migrated_own"),
        )
"""
MORE = """
    more = HalfVectorField(2, metric="ip", index="ivfflat", model="m-2", source=["name"])
    wide = HalfVectorField(4_001, metric="ip", index="hnsw", null=True)
    odd = VectorField(3, null=True)
    bits = FixedBitField(3, metric="hamming", default=[True, False, True])
"""
ODD = """
            HnswIndex("odd", metric="l2", quantize="bit", name="odd_index"),
            HnswIndex("odd", metric="l2", quantize="bit", m=5),
"""
VERSIONS = [
    HEAD + DENSE + META,
    HEAD + DENSE + MORE + META.replace('"migrated_own"),', '"migrated_own"),' + ODD),
    # Other options of an index, and another condition.
    HEAD + DENSE + MORE + META.replace("m=8", "m=9").replace("lists=9", "lists=7").replace('"ip"', '"cosine"'),
    # No index of these, and one of another name.
    HEAD + DENSE + MORE + "\n    class Meta:\n        table_name = 'item'\n"
    "        indexes = (HnswIndex('dense', name='other', where=SQL('n = 1')),)\n",
    HEAD + "\n    class Meta:\n        table_name = 'item'\n",
]


def models_of(source: str, db: Pg8000Database) -> Any:
    names: dict[str, Any] = {"__name__": "migrated"}
    exec(source, names)
    names["Item"]._meta.set_database(db)
    return names["Item"]


_CATALOG = """\
SELECT a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
    || ' ' || a.attnotnull || coalesce(' ' || pg_catalog.col_description(a.attrelid, a.attnum), '')
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT pg_catalog.pg_get_indexdef(indexrelid)
FROM pg_catalog.pg_index WHERE indrelid = to_regclass(%s) ORDER BY 1"""


def catalog(db: Pg8000Database, table: str) -> list[str]:
    """The columns of a table with their comments, and its indexes."""
    name = table if "." in table else identifier(table)
    rows = db.execute_sql(_CATALOG, (name, name)).fetchall()
    return [text for (text,) in rows]


def is_as_declared(model: Any, db: Pg8000Database) -> bool:
    """Whether the table is what the model would be set up as."""
    found = catalog(db, "item")
    with db.atomic() as transaction:
        db.execute_sql("DROP TABLE item")
        db.create_tables([model])
        expected = catalog(db, "item")
        transaction.rollback()
    assert found == expected
    return True
