"""Arrays of vectors: Peewee's ArrayField around the four fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peewee import Model
from playhouse.postgres_ext import ArrayField

from lightvec import Bit, HalfVector, Vector
from lightvec.errors import InvalidVector
from lightvec.peewee import FixedBitField, HalfVectorField, VectorField
from tests.peewee.conftest import Use


class Album(Model):
    id: Any
    pages = ArrayField(VectorField, {"dimensions": 2}, null=True, index=False)
    halves = ArrayField(HalfVectorField, {"dimensions": 2}, null=True, index=False)
    flags = ArrayField(FixedBitField, {"max_length": 2}, null=True, index=False)

    class Meta:
        table_name = "peewee_album"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([[1, 2], [3, 4]], [Vector([1, 2]), Vector([3, 4])]),
        ([[1, 2], None], [Vector([1, 2]), None]),
        ([None], [None]),
        ([], []),
        (None, None),
        (np.array([[1, 2], [3, 4]]), [Vector([1, 2]), Vector([3, 4])]),
        (([number, 0] for number in range(2)), [Vector([0, 0]), Vector([1, 0])]),
    ],
    ids=["lists", "a None inside", "only None", "empty", "None", "matrix", "generator"],
)
def test_arrays(use: Use, value: Any, expected: Any) -> None:
    use(Album)
    key = Album.create(pages=value).id
    for _ in range(2):
        assert Album.get_by_id(key).pages == expected


def test_arrays_of_the_other_kinds(use: Use) -> None:
    use(Album)
    Album.create(halves=[[1, 2]], flags=["10", [True, True]])
    row = Album.get()
    assert row.halves == [HalfVector([1, 2])]
    assert row.flags == [Bit("10"), Bit("11")]


def test_queries_on_arrays(use: Use) -> None:
    use(Album)
    Album.create(pages=[[1, 2], [3, 4]])
    Album.create(pages=[[5, 6]])
    pages: Any = Album.pages
    assert Album.select().where(pages == [[5, 6]]).count() == 1
    assert Album.select().where(pages.contains([3, 4])).count() == 1
    assert Album.select(pages[0]).where(pages == [[5, 6]]).scalar() == [5, 6]
    Album.update(pages=[[7, 8]]).where(pages == [[5, 6]]).execute()
    rows = list(Album.select().order_by(Album.id))
    rows[0].pages = [[0, 0]]
    Album.bulk_update(rows, [pages])
    assert [row.pages for row in Album.select().order_by(Album.id)] == [[Vector([0, 0])], [Vector([7, 8])]]


def test_arrays_refuse_what_does_not_fit(use: Use, sent: list[bytes]) -> None:
    use(Album)
    sent.clear()
    with pytest.raises(InvalidVector, match=r"^Album\.pages expected 2 dimensions, not 3"):
        Album.create(pages=[[1, 2, 3]])
    assert sent == []
