"""Arrays of vectors, and the places in SQLAlchemy's dialects where they, and asyncpg's vectors, are taken care of.

A driver that does not know the types gives an array of them as text, psycopg 2 sends a list of texts as ``text[]``, and
SQLAlchemy takes a list of lists of numbers for an array of arrays. So an ``ARRAY`` whose elements are vectors is read
and written here, whole. Which class does that for a dialect stands in the dialect's ``colspecs``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ARRAY, Dialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg, base, pg8000, psycopg, psycopg2

from lightvec.sqlalchemy.bit import BIT
from lightvec.sqlalchemy.halfvec import HALFVEC
from lightvec.sqlalchemy.sparsevec import SPARSEVEC
from lightvec.sqlalchemy.types import VectorType, quoted_literal, sends_binary
from lightvec.sqlalchemy.vector import VECTOR
from lightvec.types.arrays import array_text, is_dimension, parse_array

__all__ = ["teach_dialects"]

#: The types by the names that reflection finds.
_REFLECTED = {"vector": VECTOR, "halfvec": HALFVEC, "sparsevec": SPARSEVEC, "bit": BIT, "bit varying": BIT}

_DIALECTS: tuple[Any, ...] = (
    base.PGDialect,
    psycopg.PGDialect_psycopg,
    psycopg2.PGDialect_psycopg2,
    pg8000.PGDialect_pg8000,
    asyncpg.PGDialect_asyncpg,
)


class VectorArray(postgresql.ARRAY[Any]):
    """An array; one of vectors is converted here, every other by SQLAlchemy."""

    def bind_processor(self, dialect: Dialect) -> Any:
        item = self.item_type
        if not isinstance(item, VectorType):
            return super().bind_processor(dialect)
        send = _as_it_is if sends_binary(dialect) else _wire_text
        return lambda value: None if value is None else send(_vectors(item, value, self.dimensions))

    def literal_processor(self, dialect: Dialect) -> Any:
        item = self.item_type
        if not isinstance(item, VectorType):
            return super().literal_processor(dialect)
        return lambda value: quoted_literal(_array_text(_vectors(item, value, self.dimensions)), dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        item = self.item_type
        if not isinstance(item, VectorType):
            return super().result_processor(dialect, coltype)
        return lambda value: None if value is None else _read(value, item.read, tuple if self.as_tuple else list)


def _vectors(item: VectorType, value: Any, dimensions: int | None) -> list[Any]:
    """An array's value as nested lists of vectors; without declared dimensions, lists of numbers are the vectors."""
    inner = None if dimensions is None else dimensions - 1
    return [
        _vectors(item, element, inner)
        if element is not None and (inner or (inner is None and _holds_vectors(element)))
        else item.value(element)
        for element in value
    ]


def _holds_vectors(value: Any) -> bool:
    return getattr(value, "ndim", 1) > 1 or (is_dimension(value, True) and len(value) > 0)


def _read(value: Any, read: Callable[[Any], Any], collect: Callable[[Any], Any]) -> Any:
    if isinstance(value, str):
        value = parse_array(value, read)
    return collect(_read(element, read, collect) if isinstance(element, list) else read(element) for element in value)


def _wire_text(vectors: list[Any]) -> str:
    return array_text(vectors, lambda vector: vector.wire_text())


def _array_text(vectors: list[Any]) -> str:
    return array_text(vectors, lambda vector: vector.to_text())


def _as_it_is(vectors: list[Any]) -> Any:
    return vectors


class _Text(VectorType):
    """A value that asyncpg sends as text.

    A codec that is registered on the connection takes vectors, and no text; where none is, asyncpg takes text, and no
    vectors. Text with a cast serves both.
    """

    render_bind_cast = True

    def get_col_spec(self, **kw: Any) -> str:
        return f"TEXT::{super().get_col_spec(**kw)}"


class _VectorText(_Text, VECTOR):
    cache_ok = True


class _HalfvecText(_Text, HALFVEC):
    cache_ok = True


class _SparsevecText(_Text, SPARSEVEC):
    cache_ok = True


class _BitText(_Text, BIT):
    cache_ok = True


_AS_TEXT: dict[type[VectorType], type[VectorType]] = {
    VECTOR: _VectorText,
    HALFVEC: _HalfvecText,
    SPARSEVEC: _SparsevecText,
}


class _TextArray(VectorArray):
    """The same for arrays: the cast of one is that of its elements with ``[]`` behind it."""

    def __init__(
        self, item_type: Any, as_tuple: bool = False, dimensions: int | None = None, zero_indexes: bool = False
    ) -> None:
        super().__init__(item_type, as_tuple, dimensions, zero_indexes)
        for kind, as_text in {**_AS_TEXT, BIT: _BitText}.items():
            if isinstance(self.item_type, kind):
                self.item_type = self.item_type.adapt(as_text)


def teach_dialects() -> None:
    """Have the dialects reflect the types and their arrays read and write them; doing it twice changes nothing."""
    base.ischema_names.update(_REFLECTED)
    for dialect in _DIALECTS:
        taught = dialect.colspecs[ARRAY]
        if not issubclass(taught, VectorArray):
            ours = _TextArray if dialect is asyncpg.PGDialect_asyncpg else VectorArray
            dialect.colspecs[ARRAY] = type(taught.__name__, (ours, taught), {"__doc__": ours.__doc__})
    asyncpg.PGDialect_asyncpg.colspecs.update(_AS_TEXT)
