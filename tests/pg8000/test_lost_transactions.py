"""A transaction that ends with its connection: whoever was in it is told so, and no commit passes for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import ConnectionLost, InterfaceError, OperationalError


@pytest.fixture
def native(url: str, conn: Connection) -> Iterator[Connection]:
    """A connection that broke within a transaction, and was not used since."""
    with connect(url) as native:
        native.run("BEGIN")
        _terminate(native.run("SELECT pg_backend_pid()"), conn)
        yield native


@pytest.fixture
def pep(url: str, conn: Connection) -> Iterator[dbapi.Connection]:
    """The same of PEP 249."""
    with dbapi.connect(url) as pep:
        _terminate(pep.cursor().execute("SELECT pg_backend_pid()").fetchall(), conn)
        yield pep


def _terminate(rows: Any, conn: Connection) -> None:
    assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=rows[0][0]) == [[True]]


def in_transaction(connection: Connection) -> bool:
    return connection.in_transaction


def test_who_only_looks_does_not_end_it(native: Connection) -> None:
    assert not native.is_alive()
    assert in_transaction(native)
    with pytest.raises(ConnectionLost, match="with it the transaction that was open"):
        native.run("SELECT 1")
    assert not in_transaction(native)
    with pytest.raises(ConnectionLost) as again:
        native.run("SELECT 1")
    assert "transaction" not in str(again.value)


@pytest.mark.parametrize("looked", [False, True])
def test_a_commit_is_an_error(looked: bool, pep: dbapi.Connection) -> None:
    assert not looked or not pep.is_alive()
    for _ in range(2):
        with pytest.raises(OperationalError):
            pep.commit()


def test_a_commit_after_a_statement_that_failed_with_its_connection_is_an_error(pep: dbapi.Connection) -> None:
    with pytest.raises(OperationalError, match="57P01"):
        pep.cursor().execute("SELECT 1")
    with pytest.raises(ConnectionLost):
        pep.commit()


def test_a_rollback_is_quiet(pep: dbapi.Connection) -> None:
    assert not pep.is_alive()
    pep.rollback()
    assert not pep.in_transaction


def test_a_commit_of_a_closed_connection_is_an_error(url: str) -> None:
    pep = dbapi.connect(url)
    pep.close()
    with pytest.raises(InterfaceError):
        pep.commit()
