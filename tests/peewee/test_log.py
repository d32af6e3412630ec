"""What Peewee's logger is told."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from peewee import Model, TextField

from lightvec import Bit, SparseVector, Vector
from lightvec.peewee import Pg8000Database, VectorField
from tests.peewee.conftest import Use


class Page(Model):
    title = TextField()
    embedding = VectorField(1_536, metric="cosine")


NUMBERS = [0.1234567] * 1_536


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "peewee")
    return caplog


def test_vectors_are_shortened(use: Use, log: pytest.LogCaptureFixture) -> None:
    use(Page)
    Page.insert_many([{"title": f"page {number}", "embedding": NUMBERS} for number in range(20)]).execute()
    list(Page.embedding.nearest(NUMBERS, k=3))
    logged = [line for line in log.messages if "1,536 items" in line]
    insert, search = logged[0], logged[-1]
    assert all(f"'page {number}'" in insert for number in range(20))
    assert insert.count("Vector([0.12345") == 20
    assert "...], 1,536 items)" in search
    assert len(search) < 2_000


@pytest.mark.parametrize(
    "value",
    [NUMBERS, tuple(NUMBERS), np.array(NUMBERS), [Vector(NUMBERS)], SparseVector({3: 1}, 10**9), Bit("1" * 1_536)],
    ids=["list", "tuple", "ndarray", "list of vectors", "sparse", "bits"],
)
def test_a_value_of_any_kind(value: Any, db: Pg8000Database, log: pytest.LogCaptureFixture) -> None:
    db.execute_sql("SELECT 1 FROM (SELECT %s, %s) AS sent", [value, "x" * 500])
    (line,) = [line for line in log.messages if "AS sent" in line]
    assert "items)" in line
    assert "x" * 500 in line
    assert len(line) < 900
