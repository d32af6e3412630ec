"""What SQLAlchemy's dialects are taught: arrays of vectors, asyncpg's vectors, reflection.

A driver that does not know the types returns an array of them as text, psycopg 2 sends a list of texts
as ``text[]``, and SQLAlchemy takes a list of lists of numbers for an array of arrays. So an ``ARRAY`` of
vectors is converted here as a whole. A dialect finds its class in its ``colspecs``.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import ARRAY, Dialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg, base, pg8000, psycopg, psycopg2

from lightvec.sqlalchemy.types import (
    BIT,
    HALFVEC,
    SPARSEVEC,
    VECTOR,
    VectorType,
    quoted_literal,
    sends_binary,
    unchanged,
)
from lightvec.types.arrays import array_text, is_dimension, parse_array
from lightvec.types.inputs import is_table

__all__ = ["teach_dialects"]

_VECTORS = {"vector": VECTOR, "halfvec": HALFVEC, "sparsevec": SPARSEVEC}

_DIALECTS: tuple[Any, ...] = (
    base.PGDialect,
    psycopg.PGDialect_psycopg,
    psycopg2.PGDialect_psycopg2,
    pg8000.PGDialect_pg8000,
    asyncpg.PGDialect_asyncpg,
)


class _TypeNames(ChainMap[str, Any]):
    """A dialect's types by the names that reflection finds."""

    def get(self, name: str, default: Any = None) -> Any:
        # Off the search path a type has its schema in front.
        schema, _, last = name.rpartition(".")
        return super().get(name, _VECTORS.get(last, default) if schema else default)


class VectorArray(postgresql.ARRAY[Any]):
    """An array. One of vectors is converted here, every other by SQLAlchemy."""

    def bind_processor(self, dialect: Dialect) -> Any:
        item = self.item_type
        if not isinstance(item, VectorType):
            return super().bind_processor(dialect)
        send = unchanged if sends_binary(dialect) else _wire_text
        return lambda value: None if value is None else send(_vectors(item, value, self.dimensions))

    def literal_processor(self, dialect: Dialect) -> Any:
        item = self.item_type
        if not isinstance(item, VectorType):
            return super().literal_processor(dialect)
        return lambda value: quoted_literal(array_text(_vectors(item, value, self.dimensions), str), dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        item = self.item_type
        if not isinstance(item, VectorType):
            return super().result_processor(dialect, coltype)
        return lambda value: None if value is None else _read(value, item.read, tuple if self.as_tuple else list)


def _vectors(item: VectorType, value: Any, dimensions: int | None) -> list[Any]:
    """The nested lists of an array's vectors; lists of numbers are the vectors."""
    inner = None if dimensions is None else dimensions - 1
    if is_table(value):
        item.value(value)  # refuses it: its items are labels
    return [
        _vectors(item, element, inner)
        if element is not None and (inner or (inner is None and _holds_vectors(element)))
        else item.value(element)
        for element in value
    ]


def _holds_vectors(value: Any) -> bool:
    return (getattr(value, "ndim", 1) > 1 and not is_table(value)) or (is_dimension(value, True) and len(value) > 0)


def _read(value: Any, read: Callable[[Any], Any], collect: Callable[[Any], Any]) -> Any:
    if isinstance(value, str):
        value = parse_array(value, read)
    return collect(_read(element, read, collect) if isinstance(element, list) else read(element) for element in value)


def _wire_text(vectors: list[Any]) -> str:
    return array_text(vectors, lambda vector: vector.wire_text())


class _Text(VectorType):
    """A value that asyncpg sends as text with a cast, which works with and without a codec for the type."""

    render_bind_cast = True

    def get_col_spec(self, **kw: Any) -> str:
        return f"TEXT::{super().get_col_spec(**kw)}"


_AS_TEXT: dict[type[VectorType], type[VectorType]] = {
    kind: type(f"_{kind.__name__}", (_Text, kind), {"cache_ok": True}) for kind in (VECTOR, HALFVEC, SPARSEVEC, BIT)
}


class _TextArray(VectorArray):
    """The same for arrays, whose cast is that of the elements with ``[]`` appended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind, as_text in _AS_TEXT.items():
            if isinstance(self.item_type, kind):
                self.item_type = self.item_type.adapt(as_text)


def teach_dialects() -> None:
    """Have the dialects reflect the types, and read and write arrays of them; harmless when repeated."""
    base.ischema_names.update({**_VECTORS, "bit": BIT, "bit varying": BIT})
    # Writing to it writes to base.ischema_names, which others add to as well.
    base.PGDialect.ischema_names = cast(Any, _TypeNames(base.ischema_names))
    for dialect in _DIALECTS:
        taught = dialect.colspecs[ARRAY]
        if not issubclass(taught, VectorArray):
            ours = _TextArray if dialect is asyncpg.PGDialect_asyncpg else VectorArray
            dialect.colspecs[ARRAY] = type(taught.__name__, (ours, taught), {"__doc__": ours.__doc__})
    # A BIT is sent as asyncpg's BitString, except in an array.
    asyncpg.PGDialect_asyncpg.colspecs.update({kind: text for kind, text in _AS_TEXT.items() if kind is not BIT})
