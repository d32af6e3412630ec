"""From the server's messages to rows: what a RowDescription says, and how each column is decoded.

A column arrives as text unless Bind asked for binary; RowDescription says what format each really has, and decoding
goes by that (PostgreSQL documentation, 54.7, RowDescription).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Any

from pg8000.converters import string_in
from pg8000.core import Context

from lightvec.errors import LightvecError
from lightvec.extension import ExtensionTypes
from lightvec.pg8000.exceptions import DataError, InternalError
from lightvec.pg8000.mended import mended
from lightvec.pg8000.messages import BINARY, SYNC, TEXT
from lightvec.pg8000.placeholders import may_be_several
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types._messages import show_bytes
from lightvec.types.array_texts import parse_array
from lightvec.types.columns import VECTOR_TYPES

__all__ = [
    "BIT",
    "BIT_ARRAY",
    "CatalogQuestion",
    "Result",
    "column_descriptions",
    "split",
    "text_decoder",
    "unreadable",
    "vector_decoders",
]

_int32 = Struct("!i").unpack_from
_int16 = Struct("!H").unpack_from
_field = Struct("!IhIhih").unpack_from
_FIELD_NAMES = ("table_oid", "column_attrnum", "type_oid", "type_size", "type_modifier", "format")

#: The OIDs of PostgreSQL's own ``bit`` and ``bit[]``, the same in every database.
BIT, BIT_ARRAY = 1560, 1561

_VectorClass = type[Vector] | type[HalfVector] | type[SparseVector] | type[Bit]

Decoder = Callable[[bytes], Any]


class Result(Context):
    """What one statement gave: pg8000's context, with rows of the wanted class and the columns' decoders.

    ``error`` holds what went wrong with this statement, raised when the server is ready again. What cannot be an answer
    to it is an :class:`InternalError`, after which the conversation is over.
    """

    def __init__(
        self, statement: str | None, row_class: type[list[Any]] | type[tuple[Any, ...]], stream: Any = None
    ) -> None:
        super().__init__(statement, stream=stream)
        self.row_class = row_class
        self.decoders: list[Decoder] = []
        self.rows: list[Any] | None = None
        self.columns: list[dict[str, Any]] | None = None
        self.error: BaseException | None = None
        #: What ends a COPY of this statement beside CopyDone: the server passed over the Sync behind the statement.
        self.after_copy = SYNC
        self.command = ""
        #: Rows of the statement that are no longer among the rows here; less than none if there are earlier ones here.
        self.taken = 0
        #: Whether the answer has come to its end, as far as the server was asked for it.
        self.is_answered = False
        self._is_described = False

    def describe(self, columns: list[dict[str, Any]], decoders: list[Decoder]) -> None:
        """Take in a RowDescription. A second one, of the portal, differs from the statement's in formats only."""
        if self.is_answered or (self._is_described and (self.rows or not _are_alike(self.columns or (), columns))):
            self._check_several("another description of its columns")
        self.columns = columns
        self.decoders = decoders
        self._is_described, self.is_answered = True, False
        if self.rows is None:
            self.rows = []

    def complete(self, tag: str) -> None:
        """Take in a CommandComplete: ``INSERT 0 5`` and ``SELECT 5`` count rows, ``CREATE TABLE`` does not."""
        if self.is_answered:
            self._check_several("a second end of it")
        command, _, count = tag.rpartition(" ")
        if count.isdigit():
            self._check_count(command, int(count))
            self.row_count = int(count) + max(self.row_count, 0)
            self.command = command.partition(" ")[0]
        else:
            self.command = tag
        self.taken = -len(self.rows or ())
        self._is_described = False
        self.end()

    def be_empty(self) -> None:
        """Take in an EmptyQueryResponse: there was no statement."""
        if self.is_answered or self._is_described:
            raise InternalError(
                "the server says that there was no statement, and answered it; the connection is closed"
            )
        self.end()

    def end(self) -> None:
        """Take in that the answer is over, as far as it was asked for."""
        self.is_answered = True

    def add_row(self, data: bytes) -> None:
        """Decode a DataRow. A decoder that fails fails the statement, not the conversation with the server."""
        if not self._is_described:
            raise InternalError("the server sent a row without saying of which columns; the connection is closed")
        if self.error is not None or self.rows is None:
            return
        try:
            self.rows.append(self.row_class(_values(data, self.decoders)))
        except Exception as error:
            # Perhaps the value is part of a row that is none.
            split(data, len(self.decoders))
            self.error = unreadable(error)

    def _check_several(self, what: str) -> None:
        """A text with several statements is answered by as many answers."""
        if not may_be_several(self.statement or ""):
            raise InternalError(f"the server answered one statement with {what}; the connection is closed")

    def _check_count(self, command: str, count: int) -> None:
        if command not in _COUNTING_ROWS or not self._is_described or self.rows is None or self.error is not None:
            return
        came = self.taken + len(self.rows)
        if came != count:
            raise InternalError(
                f"the server says that it sent {count:,} rows, and {came:,} came: rows were lost or doubled; "
                f"the connection is closed"
            )


#: What begins the tag of a statement whose rows are those that the tag counts; those of others can be a rule's.
_COUNTING_ROWS = ("SELECT", "FETCH")


def _are_alike(some: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these are the same columns, in whatever formats."""
    names, other_names = ([(column["name"], column["type_oid"]) for column in columns] for columns in (some, others))
    return names == other_names


#: The most of a decoder's own words that an error repeats: some repeat the whole value.
_LONGEST = 200


def unreadable(error: Exception) -> LightvecError:
    """What the caller sees of a value that a decoder failed at."""
    if isinstance(error, LightvecError):
        return error
    said = str(error)
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
    seen = DataError(f"a row of the answer cannot be read: {said}; cast the column to text to see it")
    seen.__cause__ = error
    return seen


def _values(data: bytes, decoders: list[Decoder]) -> list[Any]:
    if _int16(data)[0] != len(decoders):
        raise _not_a_row(data, len(decoders))
    values: list[Any] = []
    position = 2
    for decode in decoders:
        (length,) = _int32(data, position)
        position += 4
        if length >= 0:
            values.append(decode(data[position : position + length]))
            position += length
        elif length == -1:
            values.append(None)
        else:
            raise _not_a_row(data, len(decoders))
    if position != len(data):
        raise _not_a_row(data, len(decoders))
    return values


def split(data: bytes | memoryview, count: int) -> list[tuple[int, int]]:
    """Where in a DataRow its columns begin, and their lengths, -1 for NULL; what is no row of so many is refused."""
    columns = []
    position = 2
    if len(data) < 2 or _int16(data)[0] != count:
        raise _not_a_row(data, count)
    for _ in range(count):
        length = _int32(data, position)[0] if position + 4 <= len(data) else -2
        position += 4
        if not -1 <= length <= len(data) - position:
            raise _not_a_row(data, count)
        columns.append((position, length))
        position += max(length, 0)
    if position != len(data):
        raise _not_a_row(data, count)
    return columns


def _not_a_row(data: bytes | memoryview, count: int) -> InternalError:
    return InternalError(
        f"expected a row of {count:,} columns, got {show_bytes(data)}: bytes were lost; the connection is closed"
    )


class CatalogQuestion(Result):
    """A question to the catalog, whose answer is text, whatever the caller registered on the connection."""

    def __init__(self, statement: str) -> None:
        super().__init__(statement, tuple)

    def describe(self, columns: list[dict[str, Any]], decoders: list[Decoder]) -> None:
        """Read every column as text."""
        super().describe(columns, [bytes.decode] * len(columns))


def column_descriptions(data: bytes, encoding: str) -> tuple[dict[str, Any], ...]:
    """The columns of a RowDescription, each as pg8000 describes it; what is none is refused.

    A program runs few queries, and each has the same description every time: remembering it saves 3 of 28 µs.
    """
    return _remembered(data, encoding) if len(data) <= _MEMORABLE else _read_description(data, encoding)


def _read_description(data: bytes, encoding: str) -> tuple[dict[str, Any], ...]:
    columns = []
    position = 2
    try:
        (count,) = _int16(data)
        for _ in range(count):
            end = data.index(b"\x00", position)
            column: dict[str, Any] = dict(zip(_FIELD_NAMES, _field(data, end + 1), strict=True))
            column["name"] = data[position:end].decode(encoding)
            columns.append(column)
            position = end + 19
    except (ValueError, error) as fault:
        raise _no_description(data) from fault
    if position != len(data) or any(column["format"] not in (TEXT, BINARY) for column in columns):
        raise _no_description(data)
    return tuple(columns)


#: Longer descriptions than this, of a hundred columns, are read each time: 512 of them would be much to remember.
_MEMORABLE = 4_096
_remembered = lru_cache(maxsize=512)(_read_description)


def _no_description(data: bytes) -> InternalError:
    return InternalError(f"expected a description of columns, got {show_bytes(data)}; the connection is closed")


def text_decoder(convert: Callable[[str], Any], encoding: str) -> Decoder:
    """pg8000's converters take text; the commonest do as well or better with the bytes themselves."""
    if convert is int or convert is float:
        return convert
    if convert is string_in:
        return lambda data: data.decode(encoding)
    converter = mended(convert)
    return lambda data: converter(data.decode(encoding))


def vector_decoders(types: ExtensionTypes) -> dict[tuple[int, int], Decoder]:
    """The decoders by OID and format, of bits and of pgvector's types where the database has these OIDs."""
    decoders = _decoders(Bit, BIT, BIT_ARRAY)
    for name, oid in types.oids.items():
        decoders |= _decoders(VECTOR_TYPES[name], oid, types.array_oids[name])
    return decoders


def _decoders(cls: _VectorClass, oid: int, array_oid: int) -> dict[tuple[int, int], Decoder]:
    return {
        (oid, BINARY): cls.from_binary,
        (oid, TEXT): lambda data: cls.from_text(data.decode("ascii")),
        (array_oid, TEXT): lambda data: parse_array(data.decode("ascii"), cls.from_text),
    }
