"""The model of the demonstration: dictionary definitions with their embeddings."""

from __future__ import annotations

import os

from peewee import CharField, IntegerField, Model, TextField

from lightvec.peewee import HalfVectorField, Pg8000Database

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))


class Gloss(Model):
    """A definition from WordNet. The embeddings are stored as they were published, in half precision."""

    # What searches add to their rows, the last two only hybrid ones.
    distance: float
    score: float
    vector_rank: int | None
    text_rank: int | None

    id = IntegerField(primary_key=True)
    synset = CharField()
    lemma = TextField()
    pos = CharField()
    category = CharField(index=True)
    text = TextField()
    embedding = HalfVectorField(384, metric="cosine", index="hnsw")

    class Meta:
        database = database
