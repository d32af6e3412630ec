"""Builds of an index that last for as long as a test likes, or are stopped in the middle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import OperationalError


@contextmanager
def building(url: str, write: str, create: str) -> Iterator[Connection]:
    """An index is built for as long as a transaction goes on that writes into its table; on this connection."""
    with connect(url) as writer, connect(url) as builder, connect(url) as watcher:
        writer.run(f"BEGIN; {write}")
        thread = threading.Thread(target=_build, args=(builder, create))
        thread.start()
        try:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'virtualxid'"
            while watcher.run(waits) == [[0]]:
                assert thread.is_alive()
            yield builder
        finally:
            writer.run("ROLLBACK")
            thread.join(60)
    assert not thread.is_alive()


def _build(builder: Connection, create: str) -> None:
    try:
        builder.run(create)
    except OperationalError as error:
        if error.sqlstate != "57014":  # which says that it was stopped
            raise


def interrupt_build(url: str, write: str, create: str) -> None:
    """Stop CREATE INDEX CONCURRENTLY while it waits, as Ctrl-C does: the index stays, and is invalid."""
    name = create.split()[3].strip('"')
    with building(url, write, create) as builder:
        builder.cancel()
    with connect(url) as conn:
        sql = "SELECT indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relname = :name"
        assert conn.run(sql, name=name) == [[False]]
