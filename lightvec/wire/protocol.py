"""PostgreSQL's frontend/backend protocol, version 3.0, without a socket.

Functions build the messages of the frontend as bytes, and parse the bodies of the backend's, which
:class:`Reader` finds in the bytes received (PostgreSQL documentation, 54.7 "Message Formats"). Anything
else raises :class:`~lightvec.wire.errors.InternalError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple, TypeVar

from lightvec.types.inputs import show_bytes
from lightvec.wire.errors import InternalError

_int32 = Struct("!i").pack
_uint16 = Struct("!H").pack
_unpack_int32 = Struct("!i").unpack_from
_unpack_uint16 = Struct("!H").unpack_from
_unpack_header = Struct("!ci").unpack_from
_column = Struct("!IhIhih")

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

#: The count of parameters in Bind has 16 bits.
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
    """Parse: prepare a statement by the types of its parameters; without a name, the unnamed one."""
    count = len(oids)
    types = _packer(count, "I")(*oids)
    return _message(b"P", b"".join((name, b"\x00", sql, b"\x00", _uint16(count), types)))


def bind(parameters: Sequence[Parameter], result_formats: Sequence[int] = ()) -> bytes:
    """Bind of the unnamed statement to the unnamed portal."""
    head = bind_head([parameter.format for parameter in parameters])
    return b"".join(bind_parts(head, parameters, formats(result_formats)))


def bind_head(parameter_formats: Sequence[int], name: bytes = b"") -> bytes:
    """The part of a Bind before the values."""
    count = _uint16(len(parameter_formats))
    return b"".join((b"\x00", name, b"\x00", formats(parameter_formats), count))


def formats(each: Sequence[int]) -> bytes:
    """Format codes with their count: the part of a Bind after the values."""
    count = len(each)
    return _uint16(count) + _packer(count, "H")(*each)


def bind_parts(head: bytes, parameters: Sequence[Parameter], tail: bytes) -> list[bytes]:
    """The pieces of a Bind."""
    size = 4 + len(head) + len(tail)
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
    """Close of a prepared statement; not an error if there is none."""
    return _message(b"C", b"S" + name + b"\x00")


def copy_data(data: bytes) -> bytes:
    """One CopyData message."""
    return _message(b"d", data)


def copy_fail(reason: str) -> bytes:
    """CopyFail: the server discards the rows and reports this reason."""
    return _message(b"f", reason.encode() + b"\x00")


@lru_cache(maxsize=256)
def _packer(count: int, letter: str) -> Callable[..., bytes]:
    return Struct(f"!{count}{letter}").pack


def _message(code: bytes, body: bytes) -> bytes:
    return b"".join((code, _int32(len(body) + 4), body))


# --- messages of the backend ------------------------------------------------------------------

#: Their codes.
ROW_DESCRIPTION, DATA_ROW, COMMAND_COMPLETE, EMPTY_QUERY = b"T", b"D", b"C", b"I"
ERROR_RESPONSE, NOTICE_RESPONSE, NOTIFICATION_RESPONSE, PARAMETER_STATUS = b"E", b"N", b"A", b"S"
COPY_IN_RESPONSE, COPY_OUT_RESPONSE, COPY_DATA, READY_FOR_QUERY = b"G", b"H", b"d", b"Z"
NO_DATA, PORTAL_SUSPENDED = b"n", b"s"
#: Those whose content is not needed, with ParseComplete, BindComplete, CloseComplete,
#: ParameterDescription and CopyDone.
PLAIN = b"ns123tc"

T = TypeVar("T")


def _parser(read: Callable[[bytes, str], T]) -> Callable[[bytes, str], T]:
    """Raise :class:`InternalError` for a malformed body."""

    def parse_body(body: bytes, encoding: str = "utf-8") -> T:
        try:
            return read(body, encoding)
        except (ValueError, IndexError, struct_error) as error:
            name = read.__name__.strip("_").replace("_", " ")
            raise InternalError(
                f"the server sent a malformed message ({name}: {show_bytes(body)}); the connection is closed"
            ) from error

    return parse_body


class ColumnDescription(NamedTuple):
    """One column of a RowDescription, by the names that pg8000 has for its fields."""

    name: str
    table_oid: int
    column_attrnum: int
    type_oid: int
    type_size: int
    type_modifier: int
    format: int


@_parser
def row_description(body: bytes, encoding: str) -> tuple[ColumnDescription, ...]:
    """The columns; cached, because a program runs few queries: 3 of 28 µs."""
    read = _cached_description if len(body) <= _MAX_CACHED else _read_description
    return read(body, encoding)


def _read_description(body: bytes, encoding: str) -> tuple[ColumnDescription, ...]:
    columns = []
    position = 2
    for _ in range(_unpack_uint16(body)[0]):
        end = body.index(b"\x00", position)
        name = body[position:end].decode(encoding)
        column = ColumnDescription(name, *_column.unpack_from(body, end + 1))
        if column.format not in (TEXT, BINARY):
            raise ValueError(f"expected format 0 or 1, got {column.format}")
        columns.append(column)
        position = end + 19
    if position != len(body):
        raise ValueError(f"expected {position} bytes, got {len(body)}")
    return tuple(columns)


#: A hundred columns.
_MAX_CACHED = 4_096
_cached_description = lru_cache(maxsize=512)(_read_description)


@_parser
def command_tag(body: bytes, encoding: str) -> str:
    return _strings(body, 1)[0].decode("ascii")


@_parser
def parameter_status(body: bytes, encoding: str) -> tuple[str, str]:
    name, value = _strings(body, 2)
    return name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


@_parser
def notification(body: bytes, encoding: str) -> tuple[int, str, str]:
    channel, payload = (text.decode(encoding) for text in _strings(body[4:], 2))
    return int.from_bytes(body[:4], "big"), channel, payload


@_parser
def transaction_status(body: bytes, encoding: str) -> bytes:
    if body not in (IDLE, IN_TRANSACTION, IN_FAILED_TRANSACTION):
        raise ValueError("expected a status of I, T or E")
    return body


@_parser
def copy_is_binary(body: bytes, encoding: str) -> bool:
    return body[0] == BINARY


def _strings(body: bytes, count: int) -> list[bytes]:
    """``count`` strings, each ended by a NUL."""
    *strings, rest = body.split(b"\x00")
    if len(strings) != count or rest:
        raise ValueError(f"expected {count} strings")
    return strings


def notice_fields(body: bytes) -> dict[bytes, bytes]:
    """The fields of a NoticeResponse by their one-letter keys (54.8), as pg8000 gives them."""
    return {part[:1]: part[1:] for part in body.split(b"\x00") if part}


def error_fields(body: bytes, encoding: str) -> dict[str, str]:
    """The fields of an ErrorResponse by their keys; an error is reported whatever its encoding."""
    parts = [part.decode(encoding, "replace") for part in body.split(b"\x00") if part]
    return {part[:1]: part[1:] for part in parts}


def row_description_message(columns: Sequence[ColumnDescription], encoding: str) -> bytes:
    """The RowDescription message of these columns, as the server sends it."""
    fields = (column.name.encode(encoding) + b"\x00" + _column.pack(*column[1:]) for column in columns)
    return _message(b"T", _uint16(len(columns)) + b"".join(fields))


def split_row(body: bytes | memoryview, count: int) -> list[tuple[int, int]]:
    """The position of each column in the body of a DataRow, and its length (-1: NULL).

    :class:`InternalError` if the body is not a row of ``count`` columns.
    """
    columns = []
    position = 2
    try:
        if _unpack_uint16(body)[0] != count:
            raise ValueError
        for _ in range(count):
            (length,) = _unpack_int32(body, position)
            position += 4
            if length < -1:
                raise ValueError
            columns.append((position, length))
            position += max(length, 0)
        if position != len(body):
            raise ValueError
    except (ValueError, struct_error):
        raise InternalError(
            f"expected a row of {count:,} columns, got {show_bytes(body)}: bytes were lost; the connection is closed"
        ) from None
    return columns


#: Python's codecs for the encodings that it does not know by the server's name (23.3.1).
_CODECS = {
    "euc_cn": "gb2312",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "sql_ascii": "ascii",
    "utf8": "utf-8",
}


def python_encoding(name: str) -> str:
    """Python's codec for a ``client_encoding``; :class:`InternalError` if there is none.

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


# --- bytes in, messages out -------------------------------------------------------------------

#: Large enough that a page of vectors takes few reads.
BUFFER_SIZE = 256 * 1024
#: The longest message that PostgreSQL sends (MaxAllocSize, src/include/utils/memutils.h).
_MAX_MESSAGE = 0x3FFFFFFF


class Reader:
    """The bytes of the backend as messages.

    Write to :meth:`get_buffer` and pass the size to :meth:`buffer_updated` (the names of asyncio's
    BufferedProtocol). Each message is given once.

    >>> reader = Reader()
    >>> reader.get_buffer()[:6] = b"Z\\0\\0\\0\\5I"
    >>> reader.buffer_updated(6)
    >>> reader.next_message()
    (b'Z', b'I')
    """

    def __init__(self) -> None:
        self._resize(BUFFER_SIZE)

    def _resize(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)
        #: The bytes that were not given yet.
        self.start = self.end = 0

    def get_buffer(self) -> memoryview:
        """Room for at least one more byte. Memory grows as the bytes of a long message arrive."""
        if self.start == self.end:
            self.start = self.end = 0
            if len(self.buffer) > BUFFER_SIZE:
                self._resize(BUFFER_SIZE)
            return self.view
        size = len(self.buffer)
        if self.end == size or self.start > BUFFER_SIZE // 2:
            unread = self.view[self.start : self.end]
            if not self.start:
                self._resize(2 * size)
            self.start, self.end = 0, len(unread)
            self.view[: self.end] = unread
        return self.view[self.end :]

    def buffer_updated(self, size: int) -> None:
        """Take in that ``size`` bytes were written to the buffer."""
        self.end += size

    @property
    def has_bytes(self) -> bool:
        """Whether bytes were received that were not given yet."""
        return self.start < self.end

    def peek(self) -> bytes:
        """The code of the next message; empty if it is incomplete."""
        start, size = self.start, self._next_size()
        return bytes(self.buffer[start : start + 1]) if 0 < size <= self.end - start else b""

    def next_message(self) -> tuple[bytes, bytes] | None:
        """The code and the body of the next message; None if it is incomplete."""
        size = self._next_size()
        if not 0 < size <= self.end - self.start:
            return None
        data = self.view[self.start : self.start + size]
        self.start += size
        return data[:1].tobytes(), data[5:].tobytes()

    def next_run(self, code: bytes) -> memoryview:
        """The next messages of this code and of one length, headers included, until the next read.

        Empty if the next message is incomplete or has another code.
        """
        if self.peek() != code:
            return self.view[:0]
        start, size = self.start, self._next_size()
        header, end = self.buffer[start : start + 5], start + size
        while end + size <= self.end and self.buffer[end : end + 5] == header:
            end += size
        self.start = end
        return self.view[start:end]

    def next_rows(self) -> bytes:
        """The next DataRow messages that are complete, headers included."""
        buffer, start, end = self.buffer, self.start, self.end
        while start + 5 <= end:
            code, length = _unpack_header(buffer, start)
            if code != DATA_ROW or not 4 <= length < end - start:
                break
            start += 1 + length
        data = self.view[self.start : start].tobytes()
        self.start = start
        return data

    def _next_size(self) -> int:
        """The size of the next message with its header; 0 before that was received."""
        if self.end - self.start < 5:
            return 0
        length: int = _unpack_header(self.buffer, self.start)[1]
        if not 4 <= length <= _MAX_MESSAGE:
            raise InternalError(
                f"expected a protocol message of 4 bytes to 1 GiB, got a length of {length}: "
                f"this is not a PostgreSQL server, or bytes were lost; the connection is closed"
            )
        return 1 + length
