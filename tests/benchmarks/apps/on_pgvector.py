"""The same application on pgvector's Peewee field and psycopg 3, or psycopg2 if that is missing."""

from __future__ import annotations

import sys
from typing import Any

from peewee import Expression, IntegerField, Model, PostgresqlDatabase, TextField, Value
from pgvector.peewee import VectorField

database = PostgresqlDatabase(None)


class Gloss(Model):
    """A definition from WordNet."""

    id = IntegerField(primary_key=True)
    synset = TextField()
    lemma = TextField()
    pos = TextField()
    category = TextField()
    text = TextField()
    embedding = VectorField(384)

    class Meta:
        database = database


def nearest(vector: Any, k: int = 10) -> list[Any]:
    """The nearest definitions, without their vectors.

    Ordered by the alias: the vector is sent only once.
    """
    return _nearest(Gloss.embedding.cosine_distance(vector), k)


def nearest_binary(array: Any, k: int = 10) -> list[Any]:
    """The same, with the array sent in binary by the registered type; the field sends text."""
    return _nearest(Expression(Gloss.embedding, "<=>", Value(array, converter=False)), k)


def _nearest(expression: Expression, k: int) -> list[Any]:
    distance = expression.alias("distance")
    fields = (Gloss.id, Gloss.synset, Gloss.lemma, Gloss.pos, Gloss.category, Gloss.text, distance)
    return list(Gloss.select(*fields).order_by(distance).limit(k))


def main(url: str) -> None:
    """Connect, search once, print the first result."""
    database.init(url, prefer_psycopg3=True)
    found = nearest([1.0] + [0.5] * 383)
    assert "numpy" not in sys.modules
    print(found[0].id, found[0].lemma, found[0].distance)
