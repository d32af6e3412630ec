"""Binary quantisation: one bit a dimension in the index, and the whole vectors to choose among what it finds.

    python -m examples.binary_quantization

It prints::

    index                        size  of the true ten nearest, found
    vector                    ~4,000 kB  ~99%
    halfvec                   ~2,300 kB  ~99%
    bits alone                  ~700 kB  ~58%
    bits, then whole vectors    ~700 kB  ~98%
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from peewee import Expression, IntegerField, Model, Value

from examples.wordnet import Query, read_glosses, read_queries
from lightvec import Bit
from lightvec.peewee import HnswIndex, Pg8000Database, VectorField, binary_quantize

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))
DIMENSIONS = 384
INDEX = "example_bits_embedding"


class Bits(Model):
    """A definition's embedding."""

    id = IntegerField(primary_key=True)
    embedding = VectorField(DIMENSIONS, metric="cosine")

    class Meta:
        database = database
        table_name = "example_bits"


def main() -> None:
    """The same table under an index of whole vectors, of halves and of bits: what it takes, and what it finds."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Bits])
    database.create_tables([Bits])
    database.copy_rows(Bits, ({"id": row["id"], "embedding": row["embedding"]} for row in read_glosses()))
    queries = list(read_queries())

    print("index                        size  of the true ten nearest, found")
    for quantize in (None, "halfvec", "bit"):
        # On a model in production it is one line of Meta: indexes = [HnswIndex("embedding", quantize="bit")].
        Bits._meta.indexes = [HnswIndex(Bits.embedding, quantize=quantize, name=INDEX)]
        database.execute_sql("DROP INDEX IF EXISTS example_bits_embedding")
        Bits.create_table()
        if quantize == "bit":
            report("bits alone", queries, by_bits_alone)
            report("bits, then whole vectors", queries, nearest)
        else:
            report(f"{quantize or 'vector'}", queries, nearest)


def nearest(query: Query) -> Any:
    """With bits, ``nearest`` looks for 20 times as many rows by them and orders these by their whole vectors."""
    return Bits.embedding.nearest(query.embedding, k=10).select(Bits.id)


def by_bits_alone(query: Query) -> Any:
    """The ten whose bits differ least: which sign each number has, and nothing of how large it is."""
    bits = binary_quantize(Bits.embedding).cast(f"bit({DIMENSIONS})")
    signs = Bit([number > 0 for number in query.embedding])
    return Bits.select(Bits.id).order_by(Expression(bits, "<~>", Value(signs, unpack=False))).limit(10)


def report(name: str, queries: list[Query], search: Callable[[Query], Any]) -> None:
    """A line of the table."""
    found = [{row.id for row in search(query)} for query in queries]
    hits = sum(len(ids & set(query.truth[:10])) for ids, query in zip(found, queries, strict=True))
    size: Any = database.execute_sql("SELECT pg_relation_size(%s::regclass)", (INDEX,)).fetchone()
    print(f"{name:<25} {size[0] / 1024:6,.0f} kB  {hits / len(queries) / 10:.0%}")


if __name__ == "__main__":
    with database.connection_context():
        main()
