"""A mistake shows one traceback, not a second one of what the driver did with it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightvec import Vector
from lightvec.errors import LightvecError
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
    "a duplicate": copy([(1, None), (1, None)]),
    "no such column": copy([(1, None)], ("id", "w")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake(mistake: str, url: str) -> None:
    with pytest.raises(LightvecError) as caught:
        MISTAKES[mistake](url)
    check(caught.value)


def check(error: BaseException) -> None:
    assert "".join(traceback.format_exception(error)).count("Traceback (most recent call last)") == 1
