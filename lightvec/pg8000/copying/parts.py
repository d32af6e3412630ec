"""The parts of a load over several connections: a connection each, in a transaction of its own, and its rows."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from lightvec.pg8000.connecting import open_another
from lightvec.pg8000.copying.target import Target, ask
from lightvec.pg8000.exceptions import InterfaceError, NotSupportedError
from lightvec.pg8000.identifiers import identifier
from lightvec.pg8000.wire import Wire

__all__ = ["Part", "Place", "open_parts", "place_of", "shown"]

#: Where a name leads on the given connection: on another the search path may be another one, and a temporary table is
#: of one session. Rows that the other connections load belong to who logs in.
_PLACE = """\
SELECT n.nspname, c.relname, c.relpersistence = 't', current_user = session_user,
       EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extname = 'citus')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass($1)"""

#: A part that is done waits, idle in its transaction, for those that are not.
_WHO = """\
SELECT pg_catalog.pg_backend_pid(), pg_catalog.txid_current(),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '0', true)"""

#: A transaction of READ COMMITTED cannot fail at its end for what others did meanwhile.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"

#: Spans of rows that a sentence lists.
_SHOWN = 6


class Place(NamedTuple):
    """A table by a name that means the same on every connection; on Citus its rows are other nodes'."""

    target: Target
    on_citus: bool


class Part:
    """One connection's part of a load; ``spans`` are its rows, counted from 0, in the order in which it sends them."""

    def __init__(self, conn: Wire) -> None:
        self.conn = conn
        ((pid, transaction, _),) = conn.execute_unnamed(_WHO, before=_BEGIN).rows or [(0, 0, "")]
        self.pid, self.transaction = int(pid), int(transaction)
        self.spans: list[range] = []
        self.sent = self.count = 0
        self.is_loaded = False
        self._is_over = threading.Event()
        self._is_over.set()
        self._places: list[int] = []

    def start(self, work: Callable[[Part], None]) -> None:
        """Have a thread do this part's work."""

        def run() -> None:
            try:
                work(self)
            finally:
                self._is_over.set()

        thread = threading.Thread(target=run, name="lightvec load", daemon=True)
        self._is_over.clear()
        try:
            thread.start()
        finally:
            if thread.ident is None:
                self._is_over.set()

    def is_over(self, seconds: float = 0) -> bool:
        """Whether no thread works on it any more, perhaps after so many seconds."""
        return self._is_over.wait(seconds)

    def take(self, span: range) -> None:
        """Have these rows as the next ones."""
        if self.spans and self.spans[-1].stop == span.start:
            self.spans[-1] = range(self.spans[-1].start, span.stop)
            return
        self._places.append(self._places[-1] + len(self.spans[-1]) if self.spans else 0)
        self.spans.append(span)

    def row_at(self, number: int) -> int:
        """Which row of the load a row of this part is, both counted from 1."""
        place = bisect_right(self._places, number - 1) - 1
        return self.spans[place].start + number - self._places[place]


def place_of(conn: Wire, target: Target) -> Place:
    """Where the other connections find the table; an error where they cannot, or would load as somebody else."""
    if conn.in_transaction:
        raise InterfaceError(
            "a load with jobs has connections of its own, whose rows would be no part of the transaction that is open "
            "here: end it before, or load with one job"
        )
    ((schema, name, is_temporary, is_session_user, on_citus),) = ask(conn, _PLACE, target.name, read=_texts)
    if is_temporary == "t":
        raise NotSupportedError(
            f"{target.name} is a temporary table, which no other connection sees: load it with one job"
        )
    if is_session_user != "t":
        raise NotSupportedError(
            "SET ROLE holds on this connection, and the others of a load with jobs would load as who logged in: "
            "RESET ROLE, or load with one job"
        )
    place = Target(identifier(schema, name), target.columns)
    place.encoders = target.encoders  # None where the caller wants text.
    return Place(place, on_citus == "t")


def _texts(*values: str) -> tuple[str, ...]:
    return values


@contextmanager
def open_parts(conn: Wire, jobs: int) -> Iterator[list[Part]]:
    """So many connections like the given one, each in a transaction; closed, and so rolled back, at the end."""
    with ExitStack() as opened:
        parts = []
        for _ in range(jobs):
            another = open_another(conn)
            opened.callback(another.close)
            parts.append(Part(another))
        yield parts


def shown(spans: Iterable[range]) -> str:
    """Spans of rows, counted from 1, as a sentence has them.

    >>> shown([range(10, 20), range(0, 3), range(3, 5), range(30, 31)])
    '1 to 5, 11 to 20, 31'
    """
    merged: list[range] = []
    for span in sorted(filter(None, spans), key=lambda span: span.start):
        if merged and merged[-1].stop == span.start:
            merged[-1] = range(merged[-1].start, span.stop)
        else:
            merged.append(span)
    texts = [f"{span.start + 1:,} to {span.stop:,}" if len(span) > 1 else f"{span.stop:,}" for span in merged[:_SHOWN]]
    rest = len(merged) - _SHOWN
    return ", ".join(texts) + (f" and {rest:,} spans more" if rest > 0 else "")
