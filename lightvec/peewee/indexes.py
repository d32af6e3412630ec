"""HNSW and IVFFlat indexes as Peewee knows indexes.

They stand wherever Peewee takes one: ``index="hnsw"`` on the field, ``Model.add_index(HnswIndex(Model.embedding))``,
``Meta.indexes = (HnswIndex("embedding"),)``; ``create_tables`` makes them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar
from zlib import crc32

from peewee import SQL, EnclosedNodeList, Entity, Expression, Field, Index, ModelIndex, NodeList

from lightvec.errors import InvalidOption
from lightvec.index_options import check_options
from lightvec.metrics import INDEX_DIMENSIONS, Metric
from lightvec.peewee._seam import entity_path, generated_index_name, index_name, rename_index
from lightvec.peewee.quantization import Quantization, quantization, usual_quantization
from lightvec.wire.identifiers import MAX_BYTES, check_name

__all__ = [
    "HnswIndex",
    "IvfflatIndex",
    "VectorIndex",
    "bind_indexes",
    "check_entity",
    "declare_index",
    "form_of_index",
    "with_short_name",
]

#: The end of a name that Peewee shortened to 64 characters: a checksum, which loses its last digit on the server.
_PEEWEES_CHECKSUM = re.compile(r"_[0-9a-f]{7}\Z")


class VectorIndex(Index):
    """What both index methods share. It is built for one metric: the field's, or the one named here.

    ``quantize`` has it hold a coarser form of the vectors: ``"halfvec"`` (half the size, up to 4,000 dimensions) or
    ``"bit"`` (one bit a dimension, up to 64,000). ``nearest`` writes the query that it serves.
    """

    method: ClassVar[str]

    def __init__(
        self,
        field: Field | str,
        *,
        metric: str | None = None,
        quantize: str | None = None,
        where: Expression | None = None,
        concurrently: bool = False,
        name: str | None = None,
        options: dict[str, int],
    ) -> None:
        self._field = field
        self._metric = metric
        self.quantization = quantization(quantize)
        self._where = where
        self._concurrently = concurrently
        self._given_name = name
        self._options = options
        self._safe = True
        self._unique = False
        if isinstance(field, Field) and hasattr(field, "model"):
            self.check()

    @property
    def field(self) -> Any:
        """The field that is indexed."""
        if isinstance(self._field, str):
            raise InvalidOption(
                f"the index on {self._field!r} belongs to no model yet: declare it in the model's Meta.indexes, or "
                f"give it the field itself"
            )
        return self._field

    @property
    def metric(self) -> Metric:
        """The metric that it is built for."""
        metric: Metric = self.field.resolve_metric(self._metric)
        return metric

    @property
    def concurrently(self) -> bool:
        """Whether it is built without locking out writers; that cannot run inside a transaction."""
        return self._concurrently

    def concurrent(self) -> VectorIndex:
        """The same index, built without locking out writers."""
        index: VectorIndex = self.clone()
        index._concurrently = True
        return index

    @property
    def operator_class(self) -> str:
        """The operator class, which the metric and the type that is indexed decide."""
        if self.quantization is None:
            return self.metric.operator_class(self.field.field_type, self.method)
        return self.quantization.metric(self.metric).operator_class(self.quantization.name, self.method)

    @property
    def note(self) -> str:
        """What may surprise about it; nothing for most."""
        if self.quantization is None or (self.field.dimensions or 0) <= INDEX_DIMENSIONS[self.field.field_type]:
            return ""
        return (
            f"{self.field.display_name} has {self.field.dimensions:,} dimensions, more than an index takes of a "
            f"{self.field.field_type} column: it holds them as {self.quantization.name}, and nearest() searches so"
        )

    @property
    def _table(self) -> Any:
        return self.field.model._meta.table

    @property
    def _name(self) -> str:
        if self._given_name is not None:
            return self._given_name
        stem = f"{self.field.model._meta.table_name}_{self.field.column_name}"
        form = "" if self.quantization is None else f"_{self.quantization.name}"
        return _shortened(stem, f"_{self.metric.name}{form}_{self.method}")

    @property
    def is_bound(self) -> bool:
        """Whether its field is known, which may have been given by name."""
        return isinstance(self._field, Field)

    def finds(self, metric: Metric) -> bool:
        """Whether it finds neighbours by this metric; bits are compared by Hamming for each metric they are for."""
        form, own = self.quantization, self.metric
        if form is None or own is metric:
            return own is metric
        return metric.name in form.metrics and form.metric(own) is form.metric(metric)

    def names(self, field: Field) -> bool:
        """Whether it is to index this field, by its name."""
        name = self._field if isinstance(self._field, str) else self._field.name
        return name in (field.name, field.column_name)

    def on(self, field: Field) -> VectorIndex:
        """The same index on this field; a name that was given stays with the first table that has it."""
        index: VectorIndex = self.clone()
        if self.is_bound and self._field is not field:
            index._given_name = None
        index._field = field
        index.check()
        return index

    def check(self) -> None:
        """:class:`~lightvec.errors.InvalidOption` for what pgvector would refuse, before any SQL is sent."""
        indexed = self.field.field_type
        if self.quantization is not None:
            self.quantization.check(self.field.display_name, indexed, self.metric)
            indexed = self.quantization.name
        self.operator_class  # noqa: B018 (it raises)
        most = INDEX_DIMENSIONS[indexed]
        if indexed != "sparsevec" and (self.field.dimensions or 1) > most:
            coarser = usual_quantization(self.field.field_type, self.field.dimensions)
            raise InvalidOption(
                f"{self.field.display_name} has {self.field.dimensions} dimensions, and pgvector indexes "
                f"{indexed} of at most {most}: "
                + (f"say quantize={coarser!r}" if coarser else "search without an index")
            )
        if self.field.dimensions is None:
            raise InvalidOption(
                f"{self.field.display_name} declares no dimensions, and an index needs them: {self._example}"
            )

    @property
    def _example(self) -> str:
        return f"write {type(self.field).__name__}(384) with the number that your model gives"

    @property
    def _indexed(self) -> Any:
        column = Entity(self.field.column_name)
        if self.quantization is None:
            return column
        return EnclosedNodeList((self.quantization.of(column, self.field.dimensions),))

    def __sql__(self, ctx: Any) -> Any:
        self.check()
        with ctx.scope_values(subquery=True):
            ctx.literal("CREATE INDEX ")
            if self._concurrently:
                ctx.literal("CONCURRENTLY ")
            if self._safe:
                ctx.literal("IF NOT EXISTS ")
            ctx.sql(Entity(self._name)).literal(" ON ").sql(self._table)
            column = NodeList((self._indexed, SQL(self.operator_class)))
            ctx.literal(f" USING {self.method} ").sql(EnclosedNodeList((column,)))
            if self._options:
                options = ", ".join(f"{key} = {value:d}" for key, value in self._options.items())
                ctx.literal(f" WITH ({options})")
            if self._where is not None:
                ctx.literal(" WHERE ").sql(self._where)
        return ctx


class HnswIndex(VectorIndex):
    """An HNSW index: the better trade of time for recall, slow to build.

    ``m`` (2 to 100, default 16) is how many neighbours each row keeps, ``ef_construction`` (4 to 1,000, default 64, at
    least ``2 * m``) how many are looked at while building. Source: pgvector 0.8, README, "HNSW".

    >>> HnswIndex("embedding", m=1)
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: expected m from 2 to 100, got 1
    """

    method = "hnsw"

    def __init__(
        self,
        field: Field | str,
        *,
        metric: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        quantize: str | None = None,
        where: Expression | None = None,
        concurrently: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            field,
            metric=metric,
            quantize=quantize,
            where=where,
            concurrently=concurrently,
            name=name,
            options=check_options(self.method, m=m, ef_construction=ef_construction),
        )


class IvfflatIndex(VectorIndex):
    """An IVFFlat index: quick to build, to be built when the table has its rows.

    ``lists`` (1 to 32,768, default 100) is how many clusters the rows are put into: rows / 1,000 up to a million rows,
    the square root of the rows beyond. Source: pgvector 0.8, README, "IVFFlat".
    """

    method = "ivfflat"

    def __init__(
        self,
        field: Field | str,
        *,
        metric: str | None = None,
        lists: int | None = None,
        quantize: str | None = None,
        where: Expression | None = None,
        concurrently: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            field,
            metric=metric,
            quantize=quantize,
            where=where,
            concurrently=concurrently,
            name=name,
            options=check_options(self.method, lists=lists),
        )


def bind_indexes(model: Any, field: Field) -> None:
    """Give a field that was bound to its model to the indexes in ``Meta.indexes`` that name it.

    A model inherits its parent's indexes as they are, on the parent's table: it gets copies on its own.
    """
    indexes = model._meta.indexes
    indexes[:] = [
        index.on(field) if isinstance(index, VectorIndex) and index.names(field) else index for index in indexes
    ]


def declare_index(model: Any, index: VectorIndex) -> None:
    """Add what ``index=`` on the field asks for, unless the model has that index already, from its parent."""
    stands = [index_name(other) for other in model._meta.indexes if isinstance(other, VectorIndex) and other.is_bound]
    if index_name(index) not in stands:
        model._meta.indexes.append(index)


def form_of_index(field: Any, metric: Metric) -> Quantization | None:
    """The coarser form that the model's index by this metric holds; None if an index holds the vectors themselves."""
    forms = [
        index.quantization
        for index in field.model._meta.indexes
        if isinstance(index, VectorIndex) and index.is_bound and index.field is field and index.finds(metric)
    ]
    coarse = [form for form in forms if form is not None]
    return None if len(coarse) < len(forms) else min(coarse, key=lambda form: form.overfetch, default=None)


# Names


def check_entity(entity: Entity) -> None:
    """:class:`~lightvec.errors.InvalidOption` for a name in a statement of Peewee's that is none."""
    _check_names(entity_path(entity))


@lru_cache(maxsize=4_096)
def _check_names(names: tuple[str, ...]) -> None:
    """A name is checked when it is first used: Peewee makes an Entity of it anew in each statement."""
    if not names or not _is_shortened(names[-1]):
        for name in names or ("",):
            check_name(name)


def with_short_name(index: Any) -> Any:
    """The index as it is, or under a shorter name where Peewee made one up that the server would cut off.

    Cut off, the names of two indexes can be one: IF NOT EXISTS would skip the second.
    """
    if not isinstance(index, ModelIndex):
        return index
    name = index_name(index)
    is_cut_off = isinstance(name, str) and _size(name) > MAX_BYTES and not _is_shortened(name)
    return rename_index(index, _shortened(name)) if is_cut_off and name == generated_index_name(index) else index


def _shortened(stem: str, suffix: str = "") -> str:
    """A name of at most so many bytes as PostgreSQL keeps; a checksum tells apart what is cut alike."""
    room = MAX_BYTES - len(suffix)
    if _size(stem) > room:
        check = f"_{crc32(stem.encode()):08x}"
        stem = stem.encode()[: room - len(check)].decode(errors="ignore") + check
    return stem + suffix


def _size(name: str) -> int:
    return len(name.encode(errors="replace"))


def _is_shortened(name: Any) -> bool:
    """Whether a name was shortened by Peewee, to one character more than the server keeps of it."""
    fits = isinstance(name, str) and len(name) == MAX_BYTES + 1 and name.isascii()
    return fits and _PEEWEES_CHECKSUM.search(name) is not None
