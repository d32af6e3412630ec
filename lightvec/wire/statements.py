"""The statements that a connection remembers, so that their next runs cost less.

The first run asks for text, because Bind states the formats of the columns before they are known. The
second run expects the same columns: the answer is compared with that and decoded in one loop, and the
vectors of a query come as binary. Where that is safe it also prepares the statement under a name. From
the third run on Bind and Execute are enough. The server then ensures that the columns are the same, so
vectors that an UPDATE returns come as binary, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from os import urandom
from struct import Struct
from typing import TYPE_CHECKING, Any

from lightvec.wire import protocol
from lightvec.wire.protocol import DESCRIBE_PORTAL, IDLE, TEXT, ColumnDescription, Parameter
from lightvec.wire.results import Decoder, Result, RowClass, read_rows, read_tag

if TYPE_CHECKING:
    from lightvec.wire.adapters import Adapters

__all__ = ["BEGINNING", "CatalogRequest", "Request", "Statement", "Statements", "gives_rows"]

#: White space, parentheses and comments before the first word of a statement.
BEGINNING = r"(?:[\s(]|--[^\n]*\n|/\*(?s:.*?)\*/)*"
#: Statements whose columns are the same each time the text is run.
_PLANNED = re.compile(BEGINNING + r"(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|TABLE)\b", re.IGNORECASE)
#: Those of them that change nothing, unless a function or a WITH does.
_READS = re.compile(BEGINNING + r"(SELECT|VALUES|TABLE)\b", re.IGNORECASE)
#: Statements that return the rows of another one.
_BY_NAME = re.compile(BEGINNING + r"(DECLARE|FETCH|EXECUTE)\b", re.IGNORECASE)
#: What may return more columns the next time: TABLE, and a star that is no operator or comment.
_STAR = re.compile(r"(?:\b(?:SELECT|ALL|DISTINCT|RETURNING)|[,.)])\s*\*|\bTABLE\b", re.IGNORECASE)

_EXECUTE = protocol.execute()
_PARSE_COMPLETE, _BIND_COMPLETE = b"1\x00\x00\x00\x04", b"2\x00\x00\x00\x04"
_NO_DATA = b"n\x00\x00\x00\x04"

_unpack_header: Callable[[bytes, int], tuple[bytes, int]] = Struct("!ci").unpack_from

Key = tuple[Any, ...]


def gives_rows(sql: str) -> bool:
    """Whether a statement may return rows of a table or query."""
    return bool(_PLANNED.match(sql) or _BY_NAME.match(sql))


class Statement:
    """A statement with parameters of certain types, and how its next run is sent.

    ``key`` is its text and the types and formats of its parameters. ``name`` is its name on the server.
    ``answer`` is how its answer begins if nothing has changed; empty if that is not known.
    """

    __slots__ = (
        *("_bind_head", "_bind_tail", "_complete", "_execute", "_parse", "_result_formats"),
        *("answer", "columns", "decoders", "is_prepared", "key", "name", "sql", "was_sent"),
    )

    def __init__(self, key: Key, sql: bytes, result_formats: Sequence[int] = ()) -> None:
        self.key = key
        self.sql = sql
        self.columns: Sequence[ColumnDescription] | None = None
        self.decoders: Sequence[Decoder] = ()
        #: The last CommandComplete, its command and its number of rows.
        self._complete = b"", "", -1
        self.answer = b""
        #: Whether the server has it under the name, so that Bind and Execute are enough.
        self.is_prepared = False
        #: Whether a Parse with the name was sent.
        self.was_sent = False
        self._send(b"", result_formats)

    def learn(
        self,
        columns: Sequence[ColumnDescription] | None,
        formats: Sequence[int],
        adapters: Adapters,
    ) -> None:
        """Expect these columns, in these formats."""
        self._send(b"", formats)
        self._expect(columns, adapters)
        description = _NO_DATA
        if self.columns is not None:
            description = protocol.row_description_message(self.columns, adapters.encoding)
        self.answer = _PARSE_COMPLETE + _BIND_COMPLETE + description

    def prepare(self, name: bytes) -> None:
        """Prepare it under this name in its next run."""
        self._send(name, self._result_formats)

    def use_prepared(self, columns: Sequence[ColumnDescription] | None, adapters: Adapters) -> None:
        """Send Bind and Execute only from now on."""
        self.is_prepared = True
        self._send(self.name, adapters.result_formats(columns))
        self._expect(columns, adapters)
        self.answer = _BIND_COMPLETE

    def _send(self, name: bytes, result_formats: Sequence[int]) -> None:
        """Build its messages."""
        self.name = name
        self._result_formats = result_formats
        kinds = self.key[1:]
        self._parse, self._execute = b"", _EXECUTE
        if not self.is_prepared:
            self._parse = protocol.parse(self.sql, [oid for oid, _ in kinds], name)
            self._execute = DESCRIBE_PORTAL + _EXECUTE
        self._bind_head = protocol.bind_head([form for _, form in kinds], name)
        self._bind_tail = protocol.formats(result_formats)

    def _expect(self, columns: Sequence[ColumnDescription] | None, adapters: Adapters) -> None:
        if columns is not None:
            formats = self._result_formats or [TEXT] * len(columns)
            pairs = zip(columns, formats, strict=True)
            self.columns = [column._replace(format=form) for column, form in pairs]
            self.decoders = [adapters.decoder(each.type_oid, each.format) for each in self.columns]

    @property
    def asks_binary(self) -> bool:
        """Whether it asks for the formats of columns that it had the last time."""
        return bool(self._result_formats)

    def message(self, parameters: Sequence[Parameter]) -> list[bytes]:
        """The pieces of the messages of one run, without the Sync: one join of a write saves 0.4 of 20 µs."""
        parts = protocol.bind_parts(self._bind_head, parameters, self._bind_tail)
        parts.append(self._execute)
        return parts if self.is_prepared else [self._parse, *parts]

    def read(self, data: bytes, position: int, result: Result) -> int:
        """Read the answer from ``position`` on; where it ends.

        Any exception means that it is not the expected one, and is to be read message by message.
        """
        answer = self.answer
        if not answer or not data.startswith(answer, position):
            raise LookupError
        position += len(answer)
        if self.columns is not None:
            result.columns, result.decoders, result.rows = self.columns, self.decoders, []
            position = read_rows(data, position, self.decoders, result.row_class, result.rows)
        message, command, count = self._complete
        if not message or not data.startswith(message, position):
            code, length = _unpack_header(data, position)
            message = data[position : position + 1 + length]
            if code != b"C" or message.find(b"\x00", 5) != length:
                raise LookupError
            command, count = read_tag(message[5:-1].decode("ascii"))
            self._complete = message, command, count
        rows = result.rows
        if rows is not None and count != len(rows) and command in ("SELECT", "FETCH"):
            raise LookupError
        result.command, result.row_count, result.is_done = command, count, True
        return position + len(message)


#: That of a request whose answer is always read message by message.
_UNKNOWN = Statement(("",), b"")


class Request(Result):
    """One run of a statement: the pieces of its messages, and the result."""

    def __init__(
        self,
        sql: str,
        parts: Sequence[bytes],
        statement: Statement = _UNKNOWN,
        row_class: RowClass = list,
    ) -> None:
        self.sql = sql
        self.row_class = row_class
        self.parts = parts
        self.statement = statement

    def begin_reading(self) -> None:
        """Take in the answer message by message, from its beginning."""
        self.reset()
        statement = self.statement
        if statement.is_prepared and statement.columns is not None:
            self.describe(statement.columns, statement.decoders)  # No RowDescription will.


class CatalogRequest(Request):
    """A query of lightvec's on the catalog: every value as text, whatever the caller registered."""

    def __init__(self, sql: str, parameters: Sequence[Parameter], encoding: str) -> None:
        statement = Statement(key_of(sql, parameters), sql.encode(encoding))
        super().__init__(sql, statement.message(parameters))
        self._encoding = encoding

    def describe(self, columns: Sequence[ColumnDescription], decoders: Sequence[Decoder]) -> None:
        super().describe(columns, [partial(str, encoding=self._encoding)] * len(columns))


def key_of(sql: str, parameters: Sequence[Parameter]) -> Key:
    """What a statement is remembered by."""
    return (sql, *[parameter[:2] for parameter in parameters])


#: The most statements that a connection remembers, and that the server holds for it.
_MAX_KNOWN, _MAX_PREPARED = 1_000, 100
#: Characters of a statement that is remembered: 40 with 5,000 parameters each took 37 MB.
_MAX_LENGTH = 8_192


class Statements:
    """The statements of one connection, by their text and the types of their parameters.

    ``may_prepare`` is for a direct connection: a transaction pooler may look for the name on another
    server.
    """

    def __init__(self) -> None:
        self.may_prepare = False
        self.known: dict[Key, Statement] = {}
        self._prepared: dict[Key, Statement] = {}
        # A name that another client of the same server process cannot have.
        self._prefix = f"{urandom(6).hex()}_lightvec_"
        self._count = 0
        #: Messages that close statements which are no longer used.
        self.closing: list[bytes] = []

    def __len__(self) -> int:
        return len(self.known)

    def get(self, key: Key, transaction_status: bytes = IDLE) -> Statement | None:
        """The statement as it was run before; None if it was not, or may have other columns by now.

        In a transaction a star of an unnamed statement is not trusted: if Bind states formats for other
        columns, the transaction fails.
        """
        statement = self.known.get(key)
        if statement is None or statement.is_prepared:
            return statement
        if statement.name:
            if statement.was_sent:  # The run before failed, perhaps after the Parse.
                self.closing.append(protocol.close_statement(statement.name))
                statement.prepare(self._new_name())
            statement.was_sent = True
            return statement
        may_differ = transaction_status != IDLE and statement.asks_binary and _STAR.search(key[0])
        return None if may_differ else statement

    def remember(self, request: Request, adapters: Adapters) -> None:
        """Take in that a statement was run: the next run expects its columns, then its name."""
        statement, sql, columns = request.statement, request.sql, request.columns
        if statement.is_prepared or statement is _UNKNOWN:
            return
        if statement.name:
            statement.use_prepared(columns, adapters)
            return
        if statement.answer and columns is statement.columns and not self.may_prepare:
            return
        if len(sql) > _MAX_LENGTH or not _PLANNED.match(sql):
            return
        key = statement.key
        if key not in self.known and len(self.known) >= _MAX_KNOWN:
            self._forget(next(iter(self.known)))
        statement.learn(columns, self._formats(sql, columns, adapters), adapters)
        self.known[key] = statement
        if self.may_prepare:
            if len(self._prepared) >= _MAX_PREPARED:
                self._forget(next(iter(self._prepared)))
            statement.prepare(self._new_name())
            self._prepared[key] = statement

    def forget(self, request: Request) -> None:
        """Forget a statement whose columns or types have changed."""
        self._forget(request.statement.key)

    def clear(self, *, on_server: bool = False) -> None:
        """Forget all statements; ``on_server`` says that the server has done so, too (DISCARD ALL)."""
        for key in list(self.known):
            self._forget(key)
        if on_server:
            self.closing.clear()

    def _formats(self, sql: str, columns: Sequence[ColumnDescription] | None, adapters: Adapters) -> Sequence[int]:
        """The formats to ask for in the next run: binary for vectors.

        A statement that is not prepared yet may have other columns then, which cannot be read in binary:
        it is sent again as text. One that changes rows must not be.
        """
        formats = adapters.result_formats(columns)
        if not formats or not _READS.match(sql):
            return ()
        # One format in Bind is for all columns: the server does not refuse it for more of them.
        may_grow = len(formats) == 1 and _STAR.search(sql)
        return () if may_grow and not self.may_prepare else formats

    def _new_name(self) -> bytes:
        self._count += 1
        return f"{self._prefix}{self._count}".encode()

    def _forget(self, key: Key) -> None:
        statement = self.known.pop(key, None)
        if self._prepared.pop(key, None) is not None and statement is not None:
            self.closing.append(protocol.close_statement(statement.name))
