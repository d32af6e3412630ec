"""PostgreSQL's frontend/backend protocol, version 3.0, without a socket.

Functions build the messages of the frontend as bytes. :class:`Reader` takes bytes of the backend
and gives events, which have the names of the messages (PostgreSQL documentation, 54.7 "Message
Formats"). Whatever is not such a message raises :class:`~lightvec.wire.errors.InternalError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as struct_error
from typing import Any, NamedTuple

from lightvec.types.inputs import show_bytes
from lightvec.wire.errors import InternalError

__all__ = [
    "BINARY",
    "NULL",
    "TEXT",
    "ColumnDescription",
    "Parameter",
    "Reader",
    "python_encoding",
    "row_description",
    "row_description_message",
    "split_row",
]

_int32 = Struct("!i").pack
_uint16 = Struct("!H").pack
_unpack_int32 = Struct("!i").unpack_from
_unpack_uint16 = Struct("!H").unpack_from
_unpack_header = Struct("!Bi").unpack_from
_column = Struct("!IhIhih")
_unpack_column, _pack_column = _column.unpack_from, _column.pack

TEXT, BINARY = 0, 1

#: The status of the transaction block in ReadyForQuery.
IDLE, IN_TRANSACTION, IN_FAILED_TRANSACTION = b"I", b"T", b"E"

# --- messages of the frontend -----------------------------------------------------------------


class Parameter(NamedTuple):
    """A value as Bind carries it: its type's OID (0: the server infers it), its format, its bytes."""

    oid: int
    format: int
    data: bytes | None


NULL = Parameter(0, TEXT, None)

#: The most parameters that the 16-bit count of Bind can say.
MAX_PARAMETERS = 65_535

SYNC = b"S\x00\x00\x00\x04"
FLUSH = b"H\x00\x00\x00\x04"
TERMINATE = b"X\x00\x00\x00\x04"
COPY_DONE = b"c\x00\x00\x00\x04"
#: Describe of the unnamed portal, and of the unnamed statement.
DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
DESCRIBE_STATEMENT = b"D\x00\x00\x00\x06S\x00"


def query(sql: bytes) -> bytes:
    """Query: one or more statements without parameters, results as text."""
    return _message(b"Q", sql + b"\x00")


def parse(sql: bytes, oids: Sequence[int], name: bytes = b"") -> bytes:
    """Parse: prepare a statement under a name (none: the unnamed one) with its parameters' types."""
    count = len(oids)
    return _message(b"P", b"".join((name, b"\x00", sql, b"\x00", _uint16(count), _packer(count, "I")(*oids))))


def bind_head(formats: Sequence[int], name: bytes = b"") -> bytes:
    """What stands in a Bind to the unnamed portal before the values: names, formats, their count."""
    count = len(formats)
    return b"".join((b"\x00", name, b"\x00", _uint16(count), _packer(count, "H")(*formats), _uint16(count)))


def bind_tail(result_formats: Sequence[int]) -> bytes:
    """What stands in a Bind behind the values: the formats of the result's columns."""
    count = len(result_formats)
    return _uint16(count) + _packer(count, "H")(*result_formats)


def bind(head: bytes, parameters: Sequence[Parameter], tail: bytes) -> bytes:
    """Bind: the values of a statement's parameters."""
    return b"".join(bind_parts(head, parameters, tail))


def bind_parts(head: bytes, parameters: Sequence[Parameter], tail: bytes, behind: int = 0) -> list[bytes]:
    """The pieces of a Bind; the last ``behind`` bytes of ``tail`` are messages that follow it."""
    size = 4 + len(head) + len(tail) - behind
    parts = [b"B", b"", head]
    for _, _, data in parameters:
        size += 4
        if data is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            length = len(data)
            size += length
            parts += (_int32(length), data)
    parts[1] = _int32(size)
    parts.append(tail)
    return parts


def execute(limit: int = 0) -> bytes:
    """Execute of the unnamed portal: all of its rows, or the next ``limit`` of them."""
    return b"E\x00\x00\x00\x09\x00" + _int32(limit)


def close_statement(name: bytes) -> bytes:
    """Close of a prepared statement; the server does not mind if there is none."""
    return _message(b"C", b"S" + name + b"\x00")


def copy_data(data: bytes) -> bytes:
    """One CopyData message."""
    return _message(b"d", data)


def copy_fail(reason: str) -> bytes:
    """CopyFail: the server discards what it was sent and reports this reason."""
    return _message(b"f", reason.encode() + b"\x00")


@lru_cache(maxsize=256)
def _packer(count: int, letter: str) -> Callable[..., bytes]:
    """Pack ``count`` integers: I of 32 bits or H of 16."""
    return Struct(f"!{count}{letter}").pack


def _message(code: bytes, body: bytes) -> bytes:
    return b"".join((code, _int32(len(body) + 4), body))


# --- messages of the backend: events ----------------------------------------------------------


class ColumnDescription(NamedTuple):
    """One column of a RowDescription, by the names that pg8000 has for its fields."""

    name: str
    table_oid: int
    column_attrnum: int
    type_oid: int
    type_size: int
    type_modifier: int
    format: int


class RowDescription(NamedTuple):
    """The columns of the rows that follow."""

    columns: tuple[ColumnDescription, ...]


class DataRows(NamedTuple):
    """The bodies of one or more DataRow messages that came one after the other."""

    bodies: list[bytes]


class CommandComplete(NamedTuple):
    """A statement is done; the tag says what it did."""

    tag: str


class ErrorResponse(NamedTuple):
    """An error, by the one-letter keys of its fields (54.8 "Error and Notice Message Fields")."""

    fields: dict[str, str]


class NoticeResponse(NamedTuple):
    """A notice, as pg8000 gives it: bytes by the one-letter keys of its fields."""

    fields: dict[bytes, bytes]


class NotificationResponse(NamedTuple):
    """A NOTIFY."""

    process_id: int
    channel: str
    payload: str


class ParameterStatus(NamedTuple):
    """A setting that the server reports, and its value."""

    name: str
    value: str


class ReadyForQuery(NamedTuple):
    """The server waits for the next statement; the status of the transaction block."""

    status: bytes


class CopyInResponse(NamedTuple):
    """The server is ready for CopyData."""

    is_binary: bool


class CopyOutResponse(NamedTuple):
    """CopyData follows."""

    is_binary: bool


class CopyData(NamedTuple):
    """A row of a COPY TO STDOUT, or a part of one."""

    data: bytes


class Plain(NamedTuple):
    """A message without content, by its code."""

    code: str


PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE = Plain("1"), Plain("2"), Plain("3")
NO_DATA, EMPTY_QUERY, PORTAL_SUSPENDED, COPY_OUT_DONE = Plain("n"), Plain("I"), Plain("s"), Plain("c")
PARAMETER_DESCRIPTION = Plain("t")

Event = (
    RowDescription
    | DataRows
    | CommandComplete
    | ErrorResponse
    | NoticeResponse
    | NotificationResponse
    | ParameterStatus
    | ReadyForQuery
    | CopyInResponse
    | CopyOutResponse
    | CopyData
    | Plain
)


def row_description(body: bytes, encoding: str = "utf-8") -> tuple[ColumnDescription, ...]:
    """The columns of a RowDescription's body.

    Remembered, since a program runs few queries and each is described alike: 3 of 28 µs.
    """
    read = _remembered_description if len(body) <= _MEMORABLE else _read_description
    return read(body, encoding)


def _read_description(body: bytes, encoding: str) -> tuple[ColumnDescription, ...]:
    columns = []
    position = 2
    for _ in range(_unpack_uint16(body)[0]):
        end = body.index(b"\x00", position)
        name = body[position:end].decode(encoding)
        column = ColumnDescription(name, *_unpack_column(body, end + 1))
        if column.format not in (TEXT, BINARY):
            raise ValueError(f"expected format 0 or 1, got {column.format}")
        columns.append(column)
        position = end + 19
    _check_end(body, position)
    return tuple(columns)


#: A hundred columns; 512 longer descriptions would be much to remember.
_MEMORABLE = 4_096
_remembered_description = lru_cache(maxsize=512)(_read_description)


def row_description_message(columns: Sequence[ColumnDescription], encoding: str) -> bytes:
    """The RowDescription message of these columns, as the server sends it."""
    fields = (column.name.encode(encoding) + b"\x00" + _pack_column(*column[1:]) for column in columns)
    return _message(b"T", _uint16(len(columns)) + b"".join(fields))


def split_row(body: bytes | memoryview, count: int) -> list[tuple[int, int]]:
    """Where each of the columns begins in the body of a DataRow, and its length (-1: NULL).

    :class:`InternalError` where the body is not a row of ``count`` columns.
    """
    columns = []
    position = 2
    try:
        matches = _unpack_uint16(body)[0] == count
        for _ in range(count if matches else 0):
            (length,) = _unpack_int32(body, position)
            position += 4
            if length < -1:
                raise ValueError
            columns.append((position, length))
            position += max(length, 0)
        if not matches or position != len(body):
            raise ValueError
    except (ValueError, struct_error):
        raise InternalError(
            f"expected a row of {count:,} columns, got {show_bytes(body)}: bytes were lost; the connection is closed"
        ) from None
    return columns


#: Python's codecs for the encodings that it does not know by the server's name (PostgreSQL
#: documentation, 23.3.1).
_CODECS = {
    "euc_cn": "gb2312",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "sql_ascii": "ascii",
    "utf8": "utf-8",
}


def python_encoding(name: str) -> str:
    """Python's codec for a ``client_encoding``; :class:`InternalError` where there is none.

    >>> python_encoding("UTF8"), python_encoding("WIN1252")
    ('utf-8', 'cp1252')
    """
    known = name.lower()
    codec = f"cp{known[3:]}" if known.startswith("win") else _CODECS.get(known, known)
    try:
        if b"SELECT".decode(codec) == "SELECT":
            return codec
    except (LookupError, TypeError, UnicodeError):
        pass
    raise InternalError(f"the server changed client_encoding to {name[:40]!r}, for which Python has no codec")


# --- bytes in, events out ---------------------------------------------------------------------

#: Large enough that a page of vectors is a handful of reads.
BUFFER_SIZE = 256 * 1024
#: The longest message that PostgreSQL sends (MaxAllocSize, src/include/utils/memutils.h).
_MAX_MESSAGE = 0x3FFFFFFF
_DATA_ROW = 0x44


class Reader:
    """The bytes of the backend as messages or as events.

    Fill :meth:`get_buffer` and say how much came with :meth:`buffer_updated` (the names of
    asyncio's BufferedProtocol). Each message is given once.

    >>> reader = Reader()
    >>> reader.feed(b"Z\\0\\0\\0\\5I")
    >>> reader.next_event()
    ReadyForQuery(status=b'I')
    """

    def __init__(self) -> None:
        #: The codec of names and of errors: client_encoding.
        self.encoding = "utf-8"
        self.buffer = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.buffer)
        self.start = self.end = 0
        # A message longer than the buffer, in memory that grows as its bytes really arrive.
        self._long: bytearray | None = None
        self._long_size = 0

    def get_buffer(self) -> memoryview:
        """Room for at least one more byte, where no whole message is here."""
        if self._long is None:
            if self.start == self.end:
                self.start = self.end = 0
            elif self.end == BUFFER_SIZE or self.start > BUFFER_SIZE // 2:
                self._compact()
            if self.end < BUFFER_SIZE:
                return self.view[self.end :]
            self._long, self._long_size = bytearray(self.view), self._next_size()
            self.start = self.end = 0
        return self.view[: min(BUFFER_SIZE, self._long_size - len(self._long))]

    def buffer_updated(self, size: int) -> None:
        """Take in that ``size`` bytes were written to the buffer."""
        if self._long is not None:
            self._long += self.view[:size]
        else:
            self.end += size

    def feed(self, data: bytes) -> None:
        """Take in these bytes; they must find room in the buffer."""
        self.get_buffer()[: len(data)] = data
        self.buffer_updated(len(data))

    @property
    def has_bytes(self) -> bool:
        """Whether bytes have come that were not given yet."""
        return self.start < self.end or self._long is not None

    def peek(self) -> bytes:
        """The code of the next message if all of it is here, else nothing."""
        if self._long is not None:
            return bytes(self._long[:1]) if len(self._long) == self._long_size else b""
        size = self._next_size()
        return bytes(self.buffer[self.start : self.start + 1]) if size and size <= self.end - self.start else b""

    def next_message(self) -> tuple[bytes, bytes] | None:
        """The code and the body of the next message; None until all of it is here."""
        if not self.peek():
            return None
        if self._long is not None:
            data, self._long = memoryview(self._long), None
        else:
            start, self.start = self.start, self.start + self._next_size()
            data = self.view[start : self.start]
        return bytes(data[:1]), bytes(data[5:])

    def next_run(self, code: bytes) -> memoryview:
        """The next messages of this code, as many of one length as are here, headers included.

        Empty where no whole message is here, or one of another code. The bytes are good until the
        next read.
        """
        if self.peek() != code:
            return self.view[:0]
        if self._long is not None:
            data, self._long = memoryview(self._long), None
            return data
        start, size = self.start, self._next_size()
        header, end = self.buffer[start : start + 5], start + size
        while end + size <= self.end and self.buffer[end : end + 5] == header:
            end += size
        self.start = end
        return self.view[start:end]

    def next_event(self) -> Event | None:
        """The next event; None until all bytes of it are here."""
        if self._long is None and self.start < self.end and self.buffer[self.start] == _DATA_ROW:
            rows = self._data_rows()
            if rows:
                return DataRows(rows)
        message = self.next_message()
        if message is None:
            return None
        code, body = message
        if code == b"D":
            return DataRows([body])
        return event_of(code, body, self.encoding)

    def _data_rows(self) -> list[bytes]:
        """The bodies of the DataRow messages that are here."""
        bodies = []
        buffer, view, start, end = self.buffer, self.view, self.start, self.end
        while start + 5 <= end:
            code, length = _unpack_header(buffer, start)
            if code != _DATA_ROW or not 4 <= length < end - start:
                break
            bodies.append(bytes(view[start + 5 : start + 1 + length]))
            start += 1 + length
        self.start = start
        return bodies

    def _next_size(self) -> int:
        """The size of the next message with its header; 0 where that is not here yet."""
        if self.end - self.start < 5:
            return 0
        length: int = _unpack_header(self.buffer, self.start)[1]
        if not 4 <= length <= _MAX_MESSAGE:
            raise InternalError(
                f"expected a protocol message of 4 bytes to 1 GiB, got a length of {length}: "
                f"this is not a PostgreSQL server, or bytes were lost; the connection is closed"
            )
        return 1 + length

    def _compact(self) -> None:
        """Move what is left to the front of the buffer."""
        left = self.end - self.start
        self.buffer[:left] = self.buffer[self.start : self.end]
        self.start, self.end = 0, left


def event_of(code: bytes, body: bytes, encoding: str) -> Event:
    """The event that a message is; :class:`InternalError` for what is none."""
    read = _EVENTS.get(code)
    if read is None:
        raise InternalError(f"the server sent an unexpected message {code!r}; the connection is closed")
    try:
        event: Event = read(body, encoding)
        return event
    except (ValueError, IndexError, struct_error) as error:
        name = read.__name__.lstrip("_").replace("_", " ")
        raise InternalError(
            f"the server sent a malformed message ({name}: {show_bytes(body)}); the connection is closed"
        ) from error


def _check_end(body: bytes, position: int) -> None:
    if position != len(body):
        raise ValueError(f"expected {position} bytes, got {len(body)}")


def _strings(body: bytes, count: int) -> list[bytes]:
    """``count`` strings, each ended by a NUL."""
    *strings, rest = body.split(b"\x00")
    if len(strings) != count or rest:
        raise ValueError(f"expected {count} strings")
    return strings


def _row_description(body: bytes, encoding: str) -> Event:
    return RowDescription(row_description(body, encoding))


def _command_complete(body: bytes, encoding: str) -> Event:
    return CommandComplete(_strings(body, 1)[0].decode("ascii"))


def _error_response(body: bytes, encoding: str) -> Event:
    # What an error says must come through, whatever it is written in.
    return ErrorResponse(
        {
            part[:1].decode("ascii", "replace"): part[1:].decode(encoding, "replace")
            for part in body.split(b"\x00")
            if part
        }
    )


def _notice_response(body: bytes, encoding: str) -> Event:
    return NoticeResponse({part[:1]: part[1:] for part in body.split(b"\x00") if part})


def _notification_response(body: bytes, encoding: str) -> Event:
    process_id = int.from_bytes(body[:4], "big")
    channel, payload = (text.decode(encoding) for text in _strings(body[4:], 2))
    return NotificationResponse(process_id, channel, payload)


def _parameter_status(body: bytes, encoding: str) -> Event:
    name, value = _strings(body, 2)
    return ParameterStatus(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))


def _ready_for_query(body: bytes, encoding: str) -> Event:
    if body not in (IDLE, IN_TRANSACTION, IN_FAILED_TRANSACTION):
        raise ValueError("expected a status of I, T or E")
    return ReadyForQuery(body)


def _copy_in_response(body: bytes, encoding: str) -> Event:
    return CopyInResponse(body[0] == BINARY)


def _copy_out_response(body: bytes, encoding: str) -> Event:
    return CopyOutResponse(body[0] == BINARY)


def _copy_data(body: bytes, encoding: str) -> Event:
    return CopyData(body)


def _plain(event: Plain) -> Callable[[bytes, str], Event]:
    def empty_message(body: bytes, encoding: str) -> Event:
        return event

    return empty_message


_EVENTS: Mapping[bytes, Callable[[bytes, str], Any]] = {
    b"T": _row_description,
    b"C": _command_complete,
    b"E": _error_response,
    b"N": _notice_response,
    b"A": _notification_response,
    b"S": _parameter_status,
    b"Z": _ready_for_query,
    b"G": _copy_in_response,
    b"H": _copy_out_response,
    b"d": _copy_data,
    **{
        event.code.encode(): _plain(event)
        for event in (
            PARSE_COMPLETE,
            BIND_COMPLETE,
            CLOSE_COMPLETE,
            NO_DATA,
            EMPTY_QUERY,
            PORTAL_SUSPENDED,
            COPY_OUT_DONE,
            PARAMETER_DESCRIPTION,
        )
    },
}
