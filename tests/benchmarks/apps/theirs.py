"""The same search through Peewee on psycopg 3 with pgvector's field."""

from __future__ import annotations

import sys
from typing import Any

from peewee import IntegerField, Model, PostgresqlDatabase, TextField
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


def nearest(vector: list[float], k: int = 10) -> list[Any]:
    """The nearest definitions, without their vectors; the order is by the alias, so the vector is sent once."""
    distance = Gloss.embedding.cosine_distance(vector).alias("distance")
    fields = (Gloss.id, Gloss.synset, Gloss.lemma, Gloss.pos, Gloss.category, Gloss.text, distance)
    return list(Gloss.select(*fields).order_by(distance).limit(k))


def main(url: str) -> None:
    """Connect, search once, show what was found."""
    database.init(url, prefer_psycopg3=True)
    found = nearest([1.0] + [0.5] * 383)
    assert "numpy" not in sys.modules
    print(found[0].id, found[0].lemma, found[0].distance)
