"""What a connection remembers of its statements, so that one that comes again costs less.

The first run of a statement asks for text, since Bind must say the formats of the result before its
columns are known. From the second run on the columns are known: the answer is compared with the frame
that is expected and decoded in one loop, and the vectors of a query come as binary. Where that is safe
the second run also prepares the statement under a name. The runs behind it consist of Bind and Execute
only, and the server sees to it that the columns are still the same, so vectors that an UPDATE returns
come as binary, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from os import urandom
from struct import Struct
from typing import TYPE_CHECKING, Any

from lightvec.wire import protocol
from lightvec.wire.protocol import DESCRIBE_PORTAL, IDLE, TEXT, ColumnDescription, Parameter
from lightvec.wire.results import Decoder, Result, read_tag

if TYPE_CHECKING:
    from lightvec.wire.adapters import Adapters

__all__ = ["Request", "Statement", "Statements", "gives_rows"]

#: White space, parentheses and comments before the first word of a statement.
_BEGINNING = r"(?:[\s(]|--[^\n]*\n|/\*(?s:.*?)\*/)*"
#: Statements whose columns are the same each time the text is run.
_PLANNED = re.compile(_BEGINNING + r"(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|TABLE)\b", re.IGNORECASE)
#: Those of them that change nothing, unless a function does or a WITH has a statement that does.
_READS = re.compile(_BEGINNING + r"(SELECT|VALUES|TABLE)\b", re.IGNORECASE)
#: Statements that give the rows of another one, by its name.
_BY_NAME = re.compile(_BEGINNING + r"(DECLARE|FETCH|EXECUTE)\b", re.IGNORECASE)
#: What may stand for more columns another time: a star that is no operator or comment, and TABLE.
_STAR = re.compile(r"(?:\b(?:SELECT|ALL|DISTINCT|RETURNING)|[,.)])\s*\*|\bTABLE\b", re.IGNORECASE)

_EXECUTE = protocol.execute()
_PARSE_COMPLETE, _BIND_COMPLETE = b"1\x00\x00\x00\x04", b"2\x00\x00\x00\x04"
_NO_DATA = b"n\x00\x00\x00\x04"
_DATA_ROW, _COMMAND_COMPLETE = 0x44, 0x43

_unpack_int32: Callable[[bytes, int], tuple[int]] = Struct("!i").unpack_from
_unpack_row = Struct("!iH").unpack_from


def gives_rows(sql: str) -> bool:
    """Whether a statement is one of those that can give rows of a table or query."""
    return bool(_PLANNED.match(sql) or _BY_NAME.match(sql))


class Statement:
    """A statement with parameters of certain types, and how it is sent next.

    ``name`` is the one that it has on the server, empty where it has none. ``answer`` is what its
    answer begins with, if nothing has changed; empty where that is not known.
    """

    __slots__ = (
        *("_bind_head", "_end", "_kinds", "_result_formats", "_start", "_tag", "_tail_size"),
        *("answer", "columns", "decoders", "is_prepared", "name", "sql", "was_sent"),
    )

    def __init__(self, sql: bytes, parameters: Sequence[Parameter], result_formats: Sequence[int] = ()) -> None:
        self.sql = sql
        self._kinds = [parameter[:2] for parameter in parameters]
        self._tag: tuple[bytes, str, int] = (b"", "", -1)
        self.send_unnamed(result_formats)

    def send_unnamed(self, result_formats: Sequence[int] = ()) -> None:
        """Send it as the unnamed statement from now on, with whatever columns it turns out to have."""
        #: Its name on the server; whether the server has it, and Bind and Execute are enough.
        self.name, self.is_prepared = b"", False
        #: Whether a Parse went out under the name, which the server may have by now.
        self.was_sent = False
        self.answer = b""
        self.columns: Sequence[ColumnDescription] | None = None
        self.decoders: Sequence[Decoder] = ()
        self._bind_to(result_formats)
        self._start = protocol.parse(self.sql, self._oids)

    def learn(self, columns: Sequence[ColumnDescription] | None, formats: Sequence[int], adapters: Adapters) -> None:
        """Send it as the unnamed statement, with the formats for columns that are known."""
        self.send_unnamed(formats)
        self._know(columns, adapters)
        description = _NO_DATA
        if self.columns is not None:
            description = protocol.row_description_message(self.columns, adapters.encoding)
        self.answer = _PARSE_COMPLETE + _BIND_COMPLETE + description

    def prepare(self, name: bytes) -> None:
        """Prepare it under this name in its next run."""
        self.name = name
        self._start = protocol.parse(self.sql, self._oids, name)
        self._bind_to(self._result_formats)

    def use_prepared(self, columns: Sequence[ColumnDescription] | None, adapters: Adapters) -> None:
        """Send Bind and Execute only from now on: the server has it under its name, and refuses other columns."""
        self._start, self.is_prepared = b"", True
        self._bind_to(adapters.result_formats(columns), _EXECUTE)
        self._know(columns, adapters)
        self.answer = _BIND_COMPLETE

    def _know(self, columns: Sequence[ColumnDescription] | None, adapters: Adapters) -> None:
        """Take in the columns, in the formats that are asked for."""
        if columns is not None:
            formats = self._result_formats or [TEXT] * len(columns)
            self.columns = [column._replace(format=form) for column, form in zip(columns, formats, strict=True)]
            self.decoders = [adapters.decoder(column.type_oid, column.format) for column in self.columns]

    @property
    def asks_binary(self) -> bool:
        """Whether it asks for the formats of columns that it had the last time."""
        return bool(self._result_formats)

    def message(self, parameters: Sequence[Parameter]) -> list[bytes]:
        """The pieces of the messages of one run, without the Sync.

        They are joined with all else of their write, once: that saves 0.4 of 20 µs.
        """
        end = self._end
        parts = protocol.bind_parts(self._bind_head, parameters, end, len(end) - self._tail_size)
        return parts if self.is_prepared else [self._start, *parts]

    def describe_result(self, result: Result) -> None:
        """Give a result the columns that no RowDescription will say."""
        if self.is_prepared and self.columns is not None:
            result.describe(self.columns, self.decoders)

    def read(self, data: bytes, position: int, result: Result) -> int:
        """Read one answer from ``position`` into the result; where it ends, -1 if it is not as expected.

        Nothing but what is expected is understood here, and then one loop decodes all rows. Whatever
        else the server says is read message by message.
        """
        answer = self.answer
        if not answer or not data.startswith(answer, position):
            return -1
        position += len(answer)
        if self.columns is not None:
            position = self._read_rows(data, position, result)
        if data[position] != _COMMAND_COMPLETE:
            return -1
        end = position + 1 + _unpack_int32(data, position + 1)[0]
        tag = data[position + 5 : end]
        if tag != self._tag[0]:
            if tag[-1:] != b"\x00" or 0 in tag[:-1]:
                return -1
            self._tag = (tag, *read_tag(tag[:-1].decode("ascii")))
        _, result.command, result.row_count = self._tag
        rows = result.rows
        if rows is not None and result.row_count != len(rows) and result.command in ("SELECT", "FETCH"):
            return -1
        result.is_done = True
        return end

    def _read_rows(self, data: bytes, position: int, result: Result) -> int:
        decoders, is_list = self.decoders, result.row_class is list
        rows: list[Any] = []
        width = len(decoders)
        while data[position] == _DATA_ROW:
            length, count = _unpack_row(data, position + 1)
            end = position + 1 + length
            position += 7
            row: list[Any] = []
            for decode in decoders:
                (size,) = _unpack_int32(data, position)
                position += 4
                if size >= 0:
                    row.append(decode(data[position : position + size]))
                    position += size
                elif size == -1:
                    row.append(None)
                else:
                    raise ValueError("a length below -1")
            if count != width or position != end:
                raise ValueError("not a row of these columns")
            rows.append(row if is_list else tuple(row))
        result.columns, result.decoders, result.rows = self.columns, decoders, rows
        return position

    @property
    def _oids(self) -> list[int]:
        return [oid for oid, _ in self._kinds]

    def _bind_to(self, result_formats: Sequence[int], behind: bytes = DESCRIBE_PORTAL + _EXECUTE) -> None:
        """Bind with these formats; ``behind`` are the messages that follow the Bind."""
        self._result_formats = result_formats
        self._bind_head = protocol.bind_head([form for _, form in self._kinds], self.name)
        tail = protocol.bind_tail(result_formats)
        self._tail_size, self._end = len(tail), tail + behind


class Request:
    """One run of a statement: what goes out, and the result that its answer goes to."""

    __slots__ = ("parameters", "parts", "result", "statement")

    def __init__(
        self,
        parts: Sequence[bytes],
        result: Result,
        statement: Statement | None = None,
        parameters: Sequence[Parameter] = (),
    ) -> None:
        self.parts = parts
        self.result = result
        self.statement = statement
        self.parameters = parameters

    @property
    def data(self) -> bytes:
        """What goes out, without a Sync."""
        return b"".join(self.parts)

    def begin_reading(self) -> None:
        """Have the result take in the answer message by message, from its beginning."""
        self.result.reset()
        if self.statement is not None:
            self.statement.describe_result(self.result)

    @property
    def key(self) -> Key:
        """What the statement is remembered by: its text, and the types and formats of its parameters."""
        return _key(self.result.sql, self.parameters)


Key = tuple[Any, ...]


def _key(sql: str, parameters: Sequence[Parameter]) -> Key:
    return (sql, *[parameter[:2] for parameter in parameters])


#: The most statements that a connection remembers, and that the server holds for it.
_MOST_REMEMBERED, _MOST_PREPARED = 1_000, 100
#: Characters of a statement that is remembered: of longer ones little is gained, and 40 with 5,000 parameters each
#: took 37 MB.
_LONGEST = 8_192


class Statements:
    """The statements of one connection, by their text and the types of their parameters.

    ``may_prepare`` is for a direct connection: behind a transaction pooler a name would be looked
    for on another server than the one that has it.
    """

    def __init__(self) -> None:
        self.may_prepare = False
        #: The statements that were run before.
        self.known: dict[Key, Statement] = {}
        self._prepared: dict[Key, Statement] = {}
        # A name that another client of the same server process cannot have.
        self._prefix = f"{urandom(6).hex()}_lightvec_"
        self._count = 0
        #: Messages that close statements which the server still holds for nothing.
        self.closing: list[bytes] = []

    def __len__(self) -> int:
        return len(self.known)

    def get(self, sql: str, parameters: Sequence[Parameter], transaction_status: bytes = IDLE) -> Statement | None:
        """The statement as it was run before; None where it was not, or may have other columns by now.

        In a transaction a star of an unnamed statement is not trusted: other columns than those whose
        formats Bind says would fail the transaction.
        """
        statement = self.known.get((sql, *[parameter[:2] for parameter in parameters]))
        if statement is None or statement.is_prepared:
            return statement
        if statement.name:
            if statement.was_sent:
                # The run before failed, or another statement of its batch did: nobody knows of the name.
                self.closing.append(protocol.close_statement(statement.name))
                statement.prepare(self._new_name())
            statement.was_sent = True
            return statement
        may_differ = transaction_status != IDLE and statement.asks_binary and _STAR.search(sql)
        return None if may_differ else statement

    def remember(self, request: Request, adapters: Adapters) -> None:
        """Take in that a statement was run: the next run knows its columns, the one behind that its name."""
        statement, result = request.statement, request.result
        if statement is None or statement.is_prepared:
            return
        if statement.name:
            statement.use_prepared(result.columns, adapters)
            return
        if statement.answer and result.columns is statement.columns and not self.may_prepare:
            return
        sql, key = result.sql, request.key
        if len(sql) > _LONGEST or not _PLANNED.match(sql):
            return
        if key not in self.known and len(self.known) >= _MOST_REMEMBERED:
            self._forget(next(iter(self.known)))
        statement.learn(result.columns, self._formats(sql, result.columns, adapters), adapters)
        self.known[key] = statement
        if self.may_prepare:
            self._name(key, statement)

    def forget(self, request: Request) -> None:
        """Forget a statement whose columns or types have changed."""
        self._forget(request.key)

    def clear(self, *, on_server: bool = False) -> None:
        """Forget all statements; ``on_server`` says that the server has done so, too (DISCARD ALL)."""
        for key in list(self.known):
            self._forget(key)
        if on_server:
            self.closing.clear()

    def _formats(self, sql: str, columns: Sequence[ColumnDescription] | None, adapters: Adapters) -> Sequence[int]:
        """The formats to ask for in the next run: binary for vectors.

        A statement that is not prepared yet may have other columns then, whose binary form nobody can
        read: it is sent again as text. One that changes rows must not come to that.
        """
        formats = adapters.result_formats(columns)
        if not formats or not _READS.match(sql):
            return ()
        # One format in Bind holds for all columns: the server would not refuse it for more of them.
        may_grow = len(formats) == 1 and _STAR.search(sql)
        return () if may_grow and not self.may_prepare else formats

    def _name(self, key: Key, statement: Statement) -> None:
        if len(self._prepared) >= _MOST_PREPARED:
            self._forget(next(iter(self._prepared)))
        statement.prepare(self._new_name())
        self._prepared[key] = statement

    def _new_name(self) -> bytes:
        self._count += 1
        return f"{self._prefix}{self._count}".encode()

    def _forget(self, key: Key) -> None:
        statement = self.known.pop(key, None)
        if self._prepared.pop(key, None) is not None and statement is not None:
            self.closing.append(protocol.close_statement(statement.name))
