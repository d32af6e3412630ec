"""A mistake shows one traceback, not a second one of what the driver did with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightvec import HalfVector, Vector
from lightvec.errors import LightvecError, MissingExtension
from lightvec.pg8000 import connect

Mistake = Callable[[str], object]


def run(sql: str, **params: Any) -> Mistake:
    def mistake(url: str) -> object:
        with connect(url) as conn:
            return conn.run(sql, **params)

    return mistake


def copy(rows: Any, columns: tuple[str, ...] = ("id", "v")) -> Mistake:
    def mistake(url: str) -> object:
        with connect(url) as conn:
            conn.run("CREATE TEMPORARY TABLE note (id int PRIMARY KEY, v vector(3))")
            if isinstance(rows, dict):
                return conn.copy_columns("note", rows)
            return conn.copy_rows("note", columns, rows)

    return mistake


MISTAKES: dict[str, Mistake] = {
    "no server": lambda _: connect("host=127.0.0.1 port=1 user=me sslmode=disable"),
    "no such host": lambda _: connect("host=no.such.host.invalid user=me"),
    "no socket": lambda _: connect("host=/nowhere user=me"),
    "a wrong option": lambda _: connect("sslmod=require"),
    "a wrong port": lambda _: connect("port=x"),
    "no such file": lambda _: connect("host=127.0.0.1 user=me sslmode=verify-full sslrootcert=/nowhere"),
    "no such role": lambda url: connect(url, user="nobody"),
    "no such database": lambda url: connect(url, dbname="nothing"),
    "no such table": run("SELECT * FROM nowhere"),
    "no value": run("SELECT :a"),
    "another value": run("SELECT :a", b=1),
    "an object": run("SELECT :a", a=object()),
    "a surrogate": run("SELECT :a", a="\udc80"),
    "a moment": run("SELECT :a", a=np.datetime64(2**62, "s")),
    "a list": run("SELECT '[1]'::vector <-> :v", v=[1.0]),
    "other dimensions": run("SELECT '[1]'::vector <-> :v", v=Vector([1, 2])),
    "a killed session": run("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"),
    "no number": run("SELECT :a", a=np.array([float("nan")])),
    "two dimensions": run("SELECT :a", a=np.ones((1, 2))),
    "SQL with a surrogate": run("SELECT '\udc80'"),
    "a duplicate": copy([(1, None), (1, None)]),
    "a text for an int": copy([("x", None)]),
    "fewer dimensions": copy([(1, [1, 2])]),
    "no vector": copy([(1, "x")]),
    "no row": copy([1]),
    "a short row": copy([(1,)]),
    "no column": copy({"id": 1, "v": 2}),
    "a wide number": copy({"id": np.array([2**40]), "v": np.zeros((1, 3))}),
    "an array with NaN": copy({"id": np.array([1]), "v": np.full((1, 3), np.nan)}),
    "no such column": copy([(1, None)], ("id", "w")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake(mistake: str, url: str) -> None:
    with pytest.raises(LightvecError) as caught:
        MISTAKES[mistake](url)
    check(caught.value)


@pytest.mark.parametrize("value", [Vector([1]), HalfVector([1]), np.array([1.0])])
def test_a_vector_without_pgvector(value: Any, empty_url: str) -> None:
    with pytest.raises(MissingExtension) as caught:
        run("SELECT :v", v=value)(empty_url)
    check(caught.value)


def check(error: BaseException) -> None:
    # A test that interrupts a thread can leave an exception behind, in whose handling all later ones are raised.
    left = sys.exc_info()[1]
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ in (None, left)
