"""An application that searches by a Peewee model on lightvec."""

from __future__ import annotations

import sys
from typing import Any

from peewee import IntegerField, Model, TextField

from lightvec.peewee import Pg8000Database, VectorField

database = Pg8000Database(None)


class Gloss(Model):
    """A definition from WordNet."""

    id = IntegerField(primary_key=True)
    synset = TextField()
    lemma = TextField()
    pos = TextField()
    category = TextField()
    text = TextField()
    embedding = VectorField(384, metric="cosine")

    class Meta:
        database = database


def nearest(vector: Any, k: int = 10) -> list[Any]:
    """The nearest definitions, without their vectors."""
    fields = (Gloss.id, Gloss.synset, Gloss.lemma, Gloss.pos, Gloss.category, Gloss.text)
    return list(Gloss.embedding.nearest(vector, k=k).select(*fields))


def main(url: str) -> None:
    """Connect, search once, print the first result."""
    database.init(url)
    found = nearest([1.0] + [0.5] * 383)
    assert "numpy" not in sys.modules
    print(found[0].id, found[0].lemma, found[0].distance)
