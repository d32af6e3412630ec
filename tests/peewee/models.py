"""The models that several test modules use; the fixture ``use`` binds them and makes their tables."""

from __future__ import annotations

from typing import Any

from peewee import ForeignKeyField, IntegerField, Model, TextField

from lightvec.peewee import FixedBitField, HalfVectorField, SparseVectorField, VectorField


class Four(Model):
    """The four kinds of vectors."""

    id: Any
    name = TextField(null=True, unique=True)
    dense = VectorField(3, null=True)
    half = HalfVectorField(3, null=True)
    sparse = SparseVectorField(3, null=True)
    bits = FixedBitField(3, null=True)
    any_size = VectorField(null=True)

    class Meta:
        table_name = "peewee_four"


class Author(Model):
    """Whom a document is from."""

    id: Any
    documents: Any
    name = TextField()

    class Meta:
        table_name = "peewee_author"


class Doc(Model):
    """What is searched for; ``distance`` and ``score`` come with a nearest-neighbour query."""

    id: Any
    author_id: Any
    tags: Any
    distance: float
    score: float
    author = ForeignKeyField(Author, backref="documents")
    title = TextField()
    number = IntegerField(default=0)
    embedding = VectorField(3, metric="l2")

    class Meta:
        table_name = "peewee_doc"


class Tag(Model):
    """A word on a document."""

    id: Any
    doc = ForeignKeyField(Doc, backref="tags")
    word = TextField()

    class Meta:
        table_name = "peewee_tag"


def add_documents(count: int = 10) -> None:
    """Documents ``t0`` to ``t9`` at (0, 0, 0) to (9, 0, 0), by Ann and Bob in turn, with a tag each."""
    authors = [Author.create(name=name) for name in ("Ann", "Bob")]
    for number in range(count):
        doc = Doc.create(author=authors[number % 2], title=f"t{number}", number=number, embedding=[number, 0, 0])
        Tag.create(doc=doc, word=f"w{number}")
