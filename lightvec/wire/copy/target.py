"""The table that a COPY loads: its columns, their types and their encoders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

from lightvec.errors import InvalidVector, LightvecError
from lightvec.types.arrays import array_to_binary, field
from lightvec.types.columns import VALUES, field_encoder
from lightvec.types.inputs import show
from lightvec.wire.binary_encoders import Encoder
from lightvec.wire.datatypes import BY_OID, TYPES, DataType
from lightvec.wire.errors import DataError, Error, InterfaceError, ProgrammingError
from lightvec.wire.execute import ask
from lightvec.wire.identifiers import identifier
from lightvec.wire.session import Session

__all__ = ["Column", "Target", "describe_target"]

#: A domain has the binary format of its base type (``domain_recv``), an enum's is its label.
#: Arrays are found by their element's ``typarray``: int2vector and oidvector have elements, too.
_COLUMNS = """\
SELECT a.attname, t.oid, e.oid, pg_catalog.format_type(a.atttypid, a.atttypmod),
       CASE d.typtype WHEN 'd' THEN d.typtypmod ELSE a.atttypmod END,
       CASE WHEN x.oid IS NOT NULL THEN coalesce(e.typname, t.typname) END,
       coalesce(e.typtype, t.typtype) = 'e', a.attidentity
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END
LEFT JOIN pg_catalog.pg_type e ON e.typarray = t.oid
LEFT JOIN pg_catalog.pg_extension x
  ON x.extname = 'vector' AND x.extnamespace = coalesce(e.typnamespace, t.typnamespace)
WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""

_BITS = {TYPES[name].oid: name for name in ("bit", "varbit")}


class Column(NamedTuple):
    """A column and its type; ``vector`` is the name of the type, or of the array's elements, if that is a vector."""

    name: str
    oid: int
    element_oid: int
    type: str
    size: int | None
    vector: str | None
    is_enum: bool
    is_always_generated: bool

    @property
    def _known(self) -> DataType | None:
        return TYPES["text"] if self.is_enum else BY_OID.get(self.element_oid or self.oid)

    @property
    def encoder(self) -> Encoder | None:
        """The binary encoder; None if the type has none."""
        encode = self._known and self._known.encode
        if self.vector is not None:
            encode = field_encoder(self.vector, self.size)
        if encode is None or not self.element_oid:
            return encode
        return partial(_array, encode, self.element_oid, self.vector is not None)

    def refusal(self, number: int, value: Any, error: Exception) -> LightvecError:
        """The error to raise for a value that cannot be encoded, in a row counted from 1."""
        place = f"row {number:,}, column {self.name!r}"
        if isinstance(error, InvalidVector):
            return InvalidVector(f"{place}: {error}")
        # ValueErrors of lightvec and Python are sentences; a struct.error is not for users.
        reason = f" ({error})" if isinstance(error, (ValueError, Error)) and str(error) else ""
        return DataError(f"{place} ({self.type}): expected {self._expected()}, got {show(value)}{reason}")

    def _expected(self) -> str:
        if self.encoder is None:
            return f"a value of {self.type}"
        expects = self._known.expects if self._known and self.vector is None else f"a {self.vector}"
        return f"a list of {expects}" if self.element_oid else expects


def _array(encode: Encoder, oid: int, of_vectors: bool, value: Any) -> bytes:
    return field(array_to_binary(value, encode, oid, of_vectors=of_vectors))


class Target:
    """A table and those of its columns that are loaded; an update does not change the columns ``left_alone``."""

    def __init__(self, name: str, columns: Sequence[Column], left_alone: Collection[str] = ()) -> None:
        self.name = name
        self.columns = columns
        self.left_alone = left_alone

    @property
    def column_list(self) -> str:
        """The columns as SQL."""
        return ", ".join(identifier(column.name) for column in self.columns)

    @cached_property
    def encoders(self) -> list[Encoder] | None:
        """The columns' binary encoders; None if one column has none, so that the COPY is text."""
        encoders = [column.encoder for column in self.columns]
        return None if None in encoders else encoders  # type: ignore[return-value]


def describe_target(
    session: Session, table: str | tuple[str, ...], columns: Iterable[str], left_alone: Collection[str] = ()
) -> Target:
    """The table and its columns, in one round trip; :class:`ProgrammingError` if one does not exist."""
    parts = (table,) if isinstance(table, str) else table
    if not isinstance(parts, (tuple, list)) or len(parts) not in (1, 2):
        raise InterfaceError(f"expected a table by its name, or as a tuple of schema and name, got {show(table)}")
    names = _names(columns)
    sql = identifier(*parts)
    known = {column.name: column for column in ask(session, _COLUMNS, sql, read=_column)}
    if not known:
        raise ProgrammingError(f"there is no table {sql}{_where(parts)}")
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise ProgrammingError(f"the table {sql} has no column {listed}: it has {', '.join(map(repr, known))}")
    return Target(sql, [known[name] for name in names], left_alone)


def _where(parts: Sequence[str]) -> str:
    if len(parts) == 2:
        return ": correct the name of the schema or the table"
    schema, dot, name = parts[0].partition(".")
    if dot and schema and name:
        return f": the name of a table in a schema is a tuple, ({schema!r}, {name!r})"
    return f" in the search path: correct the name, or give its schema, too, as in ('public', {parts[0]!r})"


def _names(columns: Iterable[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if isinstance(columns, str) or not names or not all(isinstance(name, str) for name in names):
        raise InterfaceError(f"expected the names of the columns to load, as a list of str, got {show(columns)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InterfaceError(f"expected each column once, got {', '.join(map(repr, twice))} more than once")
    return names


def _column(
    name: str,
    oid: str,
    element: str | None,
    type_name: str,
    modifier: str,
    extension_type: str | None,
    is_enum: str,
    identity: str,
) -> Column:
    vector = extension_type if extension_type in VALUES else _BITS.get(int(element or oid))
    # varbit(n) holds up to n bits: the server checks that.
    size = int(modifier) if vector not in (None, "varbit") and int(modifier) > 0 else None
    return Column(name, int(oid), int(element or 0), type_name, size, vector, is_enum == "t", identity == "a")
