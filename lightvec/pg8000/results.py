"""From the server's messages to rows: what a RowDescription says, and how each column is decoded.

A column arrives as text unless Bind asked for binary; RowDescription says what format each really has, and decoding
goes by that (PostgreSQL documentation, 54.7, RowDescription).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from pg8000.converters import string_in
from pg8000.core import Context

from lightvec.errors import LightvecError
from lightvec.pg8000.exceptions import DataError, InternalError
from lightvec.pg8000.mended import mended, parse_array
from lightvec.pg8000.messages import BINARY, SYNC, TEXT
from lightvec.pg8000.parameters import ExtensionTypes
from lightvec.types import Bit, HalfVector, SparseVector, Vector

__all__ = [
    "VECTOR_TYPES",
    "CatalogQuestion",
    "Result",
    "column_descriptions",
    "text_decoder",
    "unreadable",
    "vector_decoders",
]

_int32 = Struct("!i").unpack_from
_int16 = Struct("!H").unpack_from
_field = Struct("!IhIhih").unpack_from
_FIELD_NAMES = ("table_oid", "column_attrnum", "type_oid", "type_size", "type_modifier", "format")

#: The OIDs of PostgreSQL's own ``bit`` and ``bit[]``, the same in every database.
BIT, _BIT_ARRAY = 1560, 1561

_VectorClass = type[Vector] | type[HalfVector] | type[SparseVector] | type[Bit]

#: pgvector's types by name.
VECTOR_TYPES: Mapping[str, _VectorClass] = {
    "vector": Vector,
    "halfvec": HalfVector,
    "sparsevec": SparseVector,
}

Decoder = Callable[[bytes], Any]


class Result(Context):
    """What one statement gave: pg8000's context, with rows of the wanted class and the columns' decoders.

    ``error`` holds what went wrong with this statement, raised when the server is ready again.
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

    def describe(self, columns: list[dict[str, Any]], decoders: list[Decoder]) -> None:
        """Take in a RowDescription."""
        self.columns = columns
        self.decoders = decoders
        if self.rows is None:
            self.rows = []

    def complete(self, tag: str) -> None:
        """Take in a CommandComplete: ``INSERT 0 5`` and ``SELECT 5`` count rows, ``CREATE TABLE`` does not."""
        command, _, count = tag.rpartition(" ")
        if count.isdigit():
            self.row_count = int(count) + max(self.row_count, 0)
            self.command = command.partition(" ")[0]
        else:
            self.command = tag

    def add_row(self, data: bytes) -> None:
        """Decode a DataRow. A decoder that fails fails the statement, not the conversation with the server."""
        if self.error is not None or self.rows is None:
            return
        try:
            self.rows.append(self.row_class(_values(data, self.decoders)))
        except Exception as error:
            self.error = unreadable(error)


def unreadable(error: Exception) -> LightvecError:
    """What the caller sees of a value that a decoder failed at."""
    if isinstance(error, LightvecError):
        return error
    seen = DataError(f"a row of the answer cannot be read: {error}; cast the column to text to see it")
    seen.__cause__ = error
    return seen


def _values(data: bytes, decoders: list[Decoder]) -> list[Any]:
    if _int16(data)[0] != len(decoders):
        raise InternalError(f"expected a row of {len(decoders)} columns, got one of {_int16(data)[0]}")
    values: list[Any] = []
    position = 2
    for decode in decoders:
        (length,) = _int32(data, position)
        position += 4
        if length < 0:
            values.append(None)
        else:
            values.append(decode(data[position : position + length]))
            position += length
    return values


class CatalogQuestion(Result):
    """A question to the catalog, whose answer is text, whatever the caller registered on the connection."""

    def __init__(self, statement: str) -> None:
        super().__init__(statement, tuple)

    def describe(self, columns: list[dict[str, Any]], decoders: list[Decoder]) -> None:
        """Read every column as text."""
        super().describe(columns, [bytes.decode] * len(columns))


@lru_cache(maxsize=512)
def column_descriptions(data: bytes, encoding: str) -> tuple[dict[str, Any], ...]:
    """The columns of a RowDescription, each as pg8000 describes it.

    A program runs few queries, and each has the same description every time: remembering it saves 3 of 28 µs.
    """
    (count,) = _int16(data)
    columns = []
    position = 2
    for _ in range(count):
        end = data.index(b"\x00", position)
        column: dict[str, Any] = dict(zip(_FIELD_NAMES, _field(data, end + 1), strict=True))
        column["name"] = data[position:end].decode(encoding)
        columns.append(column)
        position = end + 19
    return tuple(columns)


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
    decoders = _decoders(Bit, BIT, _BIT_ARRAY)
    for name, oid in types.oids.items():
        decoders |= _decoders(VECTOR_TYPES[name], oid, types.array_oids[name])
    return decoders


def _decoders(cls: _VectorClass, oid: int, array_oid: int) -> dict[tuple[int, int], Decoder]:
    return {
        (oid, BINARY): cls.from_binary,
        (oid, TEXT): lambda data: cls.from_text(data.decode("ascii")),
        (array_oid, TEXT): lambda data: parse_array(data.decode("ascii"), cls.from_text),
    }
