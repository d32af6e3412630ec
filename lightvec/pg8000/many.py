"""Many statements under one Sync, with no more under way than fits into the sockets' buffers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lightvec.pg8000 import messages
from lightvec.pg8000.exceptions import InterfaceError
from lightvec.pg8000.messages import FLUSH, SYNC
from lightvec.pg8000.results import Result

if TYPE_CHECKING:
    from lightvec.pg8000.wire import Wire

__all__ = ["Pipeline"]

#: Bytes a write. The answers to one are read before the next goes out: a server that cannot hand over its answers stops
#: reading, and two sides that only write wait for each other for ever. This much fits into the buffers of both.
_PIECE = 32 * 1024

_EXECUTE = messages.execute()
_ABANDON = b"the rest of these statements was abandoned by the client"


class Pipeline:
    """One run of :meth:`lightvec.pg8000.wire.Wire.execute_many`."""

    def __init__(self, wire: Wire, before: str | None) -> None:
        self._wire = wire
        self._before = before
        self._result = Result("", list)
        self._results = [self._result]
        self._unsent = bytearray()
        self._unread: deque[Result] = deque()
        self._sent = 0  # how many of the unread
        self._has_sent = False
        self._parsed: tuple[Any, ...] = ()

    def run(self, statements: Iterable[tuple[str, Sequence[Any]]], oids: Sequence[int | None]) -> int:
        """Send them all; the number of rows that they changed, -1 if none of them counts rows."""
        self._wire.check_usable()
        try:
            for statement, values in statements:
                if not self._parsed:
                    self._wire.meet(values)
                    self._begin(statement)
                self._add(statement, values, oids)
                if len(self._unsent) >= _PIECE and not self._hand_over():
                    break
        except BaseException:
            self._abandon()
            raise
        if not self._parsed:
            return 0
        self._finish(SYNC)
        for result in self._results:
            if result.error is not None:
                raise result.error
        return self._result.row_count

    def _begin(self, statement: str) -> None:
        for ahead in self._wire.ahead(statement, self._before):
            self._unsent += ahead.data
            self._unread.append(ahead.result)
            self._results.append(ahead.result)

    def _add(self, statement: str, values: Sequence[Any], oids: Sequence[int | None]) -> None:
        if statement.lstrip()[:4].upper() == "COPY":
            raise InterfaceError("COPY takes its rows from a stream, not from sets of values: use copy_rows")
        if self._wire.lacks(values):
            self._hand_over()  # The question for the types is among what has gathered.
            self._read_sent()
        parameters = self._wire.parameters(values, oids)
        kind = (statement, *[parameter.oid for parameter in parameters])
        if kind != self._parsed:
            self._unsent += messages.parse(self._wire.encode(statement), parameters)
            self._parsed = kind
        self._unsent += messages.bind(parameters, ()) + _EXECUTE
        self._unread.append(self._result)

    def _hand_over(self) -> bool:
        """Read the answers to what was sent, then send what has gathered; False if one of them is an error."""
        if not self._read_sent():
            self._unsent.clear()
            return False
        self._wire.exchange(bytes(self._unsent) + FLUSH, (), until=b"")
        self._unsent.clear()
        self._sent = len(self._unread)
        self._has_sent = True
        return True

    def _read_sent(self) -> bool:
        """Read the answers to what was sent; False if one of them is an error, behind which there are no more."""
        while self._sent:
            self._sent -= 1
            if self._wire.exchange(b"", [self._unread.popleft()], until=b"CIE") == b"E":
                return False
        return True

    def _finish(self, end: bytes) -> None:
        """Send what is left, and read until the server is ready for something else."""
        self._wire.exchange(bytes(self._unsent) + end, self._unread or [self._result])

    def _abandon(self) -> None:
        """Make the server forget what was sent: an error before the Sync undoes the statements before it."""
        if self._has_sent and not self._wire.closed:
            self._unsent.clear()
            self._finish(messages.parse(_ABANDON, ()) + SYNC)
