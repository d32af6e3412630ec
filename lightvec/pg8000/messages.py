"""The messages that go to the server, by their names in the protocol.

Source: PostgreSQL documentation, 54.7 "Message Formats". A statement is Parse, Bind, Describe (portal), Execute with
the unnamed statement and portal, and goes out in one write that ends with one Sync: a transaction pooler hands the
server back at Sync, so nothing of ours may be left on it by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

__all__ = [
    "DESCRIBE_PORTAL",
    "DESCRIBE_STATEMENT",
    "FLUSH",
    "SYNC",
    "Parameter",
    "bind",
    "copy_data",
    "copy_fail",
    "execute",
    "parse",
    "query",
    "statement",
]

_int32 = Struct("!i").pack
_int16 = Struct("!H").pack

#: The most parameters a Bind can carry, by its 16-bit count.
MAX_PARAMETERS = 65_535

SYNC = b"S\x00\x00\x00\x04"
FLUSH = b"H\x00\x00\x00\x04"
TERMINATE = b"X\x00\x00\x00\x04"
COPY_DONE = b"c\x00\x00\x00\x04"
DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
DESCRIBE_STATEMENT = b"D\x00\x00\x00\x06S\x00"

TEXT, BINARY = 0, 1


class Parameter(NamedTuple):
    """A value as it goes into Bind: its type's OID (0 lets the server infer it), its format and its bytes."""

    oid: int
    format: int
    data: bytes | None


NULL = Parameter(0, TEXT, None)


def statement(sql: bytes, parameters: Sequence[Parameter], result_formats: Sequence[int]) -> bytes:
    """Parse, Bind, Describe and Execute of one statement; the caller adds the Sync."""
    return b"".join((parse(sql, parameters), bind(parameters, result_formats), DESCRIBE_PORTAL, _EXECUTE_ALL))


def execute(limit: int = 0) -> bytes:
    """Execute of the unnamed portal: all of its rows, or the next ``limit`` of them."""
    return b"E\x00\x00\x00\x09\x00" + _int32(limit)


def query(sql: bytes) -> bytes:
    """A simple Query: several statements in one text, no parameters, results as text."""
    return _message(b"Q", sql + b"\x00")


def copy_data(data: bytes) -> bytes:
    """One CopyData message."""
    return _message(b"d", data)


def copy_fail(reason: str) -> bytes:
    """CopyFail: the server forgets what it was sent and reports this reason."""
    return _message(b"f", reason.encode() + b"\x00")


def parse(sql: bytes, parameters: Sequence[Parameter]) -> bytes:
    """Parse into the unnamed statement, with the parameters' types."""
    count = len(parameters)
    oids = _packer(count, "I")(*[parameter.oid for parameter in parameters])
    return _message(b"P", b"".join((b"\x00", sql, b"\x00", _int16(count), oids)))


def bind(parameters: Sequence[Parameter], result_formats: Sequence[int]) -> bytes:
    """Bind the unnamed statement to the unnamed portal."""
    count = len(parameters)
    body = [
        b"\x00\x00",  # the unnamed portal and the unnamed statement
        _int16(count),
        _packer(count, "H")(*[parameter.format for parameter in parameters]),
        _int16(count),
    ]
    for parameter in parameters:
        if parameter.data is None:
            body.append(_int32(-1))
        else:
            body += (_int32(len(parameter.data)), parameter.data)
    body.append(_int16(len(result_formats)))
    body.append(_packer(len(result_formats), "H")(*result_formats))
    return _message(b"B", b"".join(body))


@lru_cache(maxsize=256)
def _packer(count: int, letter: str) -> Callable[..., bytes]:
    """Packs so many integers, I of 32 bits or H of 16."""
    return Struct(f"!{count}{letter}").pack


def _message(code: bytes, body: bytes) -> bytes:
    return b"".join((code, _int32(len(body) + 4), body))


_EXECUTE_ALL = execute()
