"""Many statements under one Sync: written one after the other, their answers heard in between, nothing waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lightvec.pg8000 import messages
from lightvec.pg8000.exceptions import InterfaceError, InternalError
from lightvec.pg8000.messages import FLUSH, SYNC
from lightvec.pg8000.results import Result

if TYPE_CHECKING:
    from lightvec.pg8000.wire import Wire

__all__ = ["Pipeline"]

#: Bytes a write: large enough that system calls do not count, small beside the sockets' buffers.
_PIECE = 32 * 1024

_EXECUTE = messages.execute()
_ABANDON = b"the rest of these statements was abandoned by the client"


class _Changed(Result):
    """What many statements changed. Rows that they give come without a description, and are passed over."""

    def __init__(self) -> None:
        super().__init__("", list)
        #: Statements that were sent and are not yet answered.
        self.awaited = 0

    def add_row(self, data: bytes) -> None:
        """Pass it over."""

    def end(self) -> None:
        """Take in that one more of the statements is answered."""
        self.awaited -= 1
        self.is_answered = self.awaited == 0


class Pipeline:
    """One run of :meth:`lightvec.pg8000.wire.Wire.execute_many`."""

    def __init__(self, wire: Wire, before: str | None) -> None:
        self._wire = wire
        self._before = before
        self._result = _Changed()
        self._results: list[Result] = [self._result]
        self._unsent = bytearray()
        self._unread: deque[Result] = deque()
        self._has_sent = False
        self._parsed: tuple[Any, ...] = ()

    def run(self, statements: Iterable[tuple[str, Sequence[Any]]], oids: Sequence[int | None]) -> int:
        """Send them all; the number of rows that they changed, -1 if none of them counts rows."""
        self._wire.check_usable()
        try:
            return self._run(statements, oids)
        except BaseException:
            self._wire.close_unless_in_step()
            raise

    def _run(self, statements: Iterable[tuple[str, Sequence[Any]]], oids: Sequence[int | None]) -> int:
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
            self._learn_types(values)
        parameters = self._wire.parameters(values, oids)
        kind = (statement, *[parameter.oid for parameter in parameters])
        if kind != self._parsed:
            self._unsent += messages.parse(self._wire.encode(statement), parameters)
            self._parsed = kind
        self._unsent += messages.bind(parameters, ()) + _EXECUTE
        self._unread.append(self._result)
        self._result.awaited += 1
        self._result.is_answered = False

    def _hand_over(self, end: bytes = b"", until: bytes = b"") -> bool:
        """Send what has gathered, and hear what is said meanwhile; False if that is an error."""
        data = bytes(self._unsent) + end
        self._unsent.clear()
        self._has_sent = True
        return self._wire.exchange(data, self._awaited(), until=until, hear=self._hear) != b"E"

    def _hear(self, code: bytes, data: bytes) -> None:
        """Take in a message of an answer; CommandComplete and EmptyQueryResponse end it.

        What comes behind the last answer is a notice or a notification, and changes nothing.
        """
        if (code in b"CI" and not self._unread) or code == b"Z":
            raise InternalError("the server gave other answers than there were statements; the connection is closed")
        result = self._unread[0] if self._unread else self._result
        self._wire.message_types[code](data, result)
        if code in b"CI":
            self._wire.take_up(result)
            self._unread.popleft()

    def _learn_types(self, values: Sequence[Any]) -> None:
        """Wait for the answer that says pgvector's types; the question is among what has gathered."""
        self._hand_over(FLUSH)
        while self._unread and self._wire.lacks(values):
            if self._wire.exchange(b"", [self._unread.popleft()], until=b"CIE") == b"E":
                return

    def _finish(self, end: bytes) -> None:
        """Send what is left, and read until the server is ready for something else."""
        if not self._hand_over(end, until=b"Z"):
            self._wire.exchange(b"", self._awaited())

    def _awaited(self) -> Iterator[Result]:
        """The results that were not heard while all was sent, as far as that is known when the first is asked for."""
        yield from self._unread or [self._result]

    def _abandon(self) -> None:
        """Make the server forget what was sent: an error before the Sync undoes the statements before it."""
        if self._has_sent and not self._wire.closed:
            self._unsent.clear()
            self._finish(messages.parse(_ABANDON, ()) + SYNC)
