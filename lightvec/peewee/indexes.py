"""HNSW and IVFFlat indexes, which are Peewee indexes.

They are declared as ``index="hnsw"`` on the field, ``Model.add_index(HnswIndex(Model.embedding))`` or
``Meta.indexes = (HnswIndex("embedding"),)``; ``create_tables`` creates them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar
from zlib import crc32

from peewee import (
    SQL,
    Context,
    EnclosedNodeList,
    Entity,
    Field,
    Index,
    Model,
    ModelIndex,
    Node,
    NodeList,
    PostgresqlDatabase,
    ValueLiterals,
)

from lightvec.errors import InvalidOption
from lightvec.index_options import check_options
from lightvec.metrics import INDEX_DIMENSIONS, Metric
from lightvec.peewee._seam import (
    entity_path,
    generated_index_name,
    index_name,
    index_table,
    index_using,
    rename_index,
)
from lightvec.peewee.quantization import quantization, usual_quantization
from lightvec.wire.identifiers import MAX_BYTES, check_name

__all__ = [
    "HnswIndex",
    "IndexOfField",
    "IvfflatIndex",
    "VectorIndex",
    "bind_indexes",
    "check_entity",
    "declare_index",
    "definition_sql",
    "generated_name",
    "index_of_added_column",
    "shortened_name",
    "with_short_name",
]

#: The end of a name that Peewee shortened to 64 characters: a checksum, of which the server truncates the last digit.
_PEEWEES_CHECKSUM = re.compile(r"_[0-9a-f]{7}\Z")


class VectorIndex(Index):
    """What both index methods share. It is built for one metric: the field's, or ``metric``.

    ``quantize`` stores a coarser form of the vectors, and ``nearest`` writes the query that uses it: ``"halfvec"``
    (half the size, up to 4,000 dimensions) or ``"bit"`` (one bit a dimension, up to 64,000).
    """

    method: ClassVar[str]

    def __init__(
        self,
        field: Field | str,
        *,
        metric: str | None,
        quantize: str | None,
        where: Node | None,
        concurrently: bool,
        name: str | None,
        **options: int | None,
    ) -> None:
        self._field = field
        self._metric = metric
        self._where = where
        self._given_name = name
        self._safe = True
        self._unique = False
        self._using = self.method
        self._extension_schema = ""
        self.quantization = quantization(quantize)
        #: Whether it is built without locking out writers; that cannot run inside a transaction.
        self.concurrently = concurrently
        #: The options that were given.
        self.options = check_options(self.method, **options)
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
        """The metric."""
        metric: Metric = self.field.resolve_metric(self._metric)
        return metric

    @property
    def operator_class(self) -> str:
        """The operator class, which follows from the metric and the type that is indexed."""
        if self.quantization is None:
            return self.metric.operator_class(self.field.field_type, self.method)
        return self.quantization.metric(self.metric).operator_class(self.quantization.name, self.method)

    @property
    def has_condition(self) -> bool:
        """Whether it is of some rows only."""
        return self._where is not None

    @property
    def note(self) -> str:
        """A sentence if it indexes halfvecs or bits because the vectors have too many dimensions; else empty."""
        if self.quantization is None or (self.field.dimensions or 0) <= INDEX_DIMENSIONS[self.field.field_type]:
            return ""
        return (
            f"{self.field.display_name} has {self.field.dimensions:,} dimensions, more than an index takes of a "
            f"{self.field.field_type} column: it holds them as {self.quantization.name}, and nearest() searches so"
        )

    def built(self, *, concurrently: bool) -> VectorIndex:
        """A copy that is built so."""
        index: VectorIndex = self.clone()
        index.concurrently = concurrently
        return index

    def named(self, name: str) -> VectorIndex:
        """A copy with this name."""
        index: VectorIndex = self.clone()
        index._given_name = name
        return index

    def qualified(self, schema: str) -> VectorIndex:
        """A copy that names pgvector's operator class, type and function by this schema, if it is not empty."""
        index: VectorIndex = self.clone()
        index._extension_schema = schema
        return index

    @property
    def _table(self) -> Any:
        return self.field.model._meta.table

    @property
    def _name(self) -> str:
        return self._generated_name if self._given_name is None else self._given_name

    @property
    def _generated_name(self) -> str:
        table, column = self.field.model._meta.table_name, self.field.column_name
        form = None if self.quantization is None else self.quantization.name
        return generated_name(table, column, self.metric.name, form, self.method)

    @property
    def _expressions(self) -> list[Any]:
        schema, column = self._extension_schema, Entity(self.field.column_name)
        key: Any = column
        if self.quantization is not None:
            key = EnclosedNodeList((self.quantization.of(column, self.field.dimensions, schema),))
        operator_class = Entity(schema, self.operator_class) if schema else SQL(self.operator_class)
        return [NodeList((key, operator_class))]

    def __repr__(self) -> str:
        """The Python expression of it, which generated code has.

        >>> HnswIndex("embedding", m=8)
        HnswIndex('embedding', m=8)
        """
        is_bound = self.is_bound and hasattr(self._field, "model")
        is_usual_name = is_bound and self._given_name == self._generated_name
        values = {
            "metric": None if is_bound and self._metric == self.field.metric else self._metric,
            **self.options,
            "quantize": self.quantization.name if self.quantization else None,
            "name": None if is_usual_name else self._given_name,
        }
        name = self._field if isinstance(self._field, str) else self._field.name
        words = [repr(name)]
        words += [f"{key}={value!r}" for key, value in values.items() if value is not None]
        if self._where is not None:
            words.append(f"where=SQL({definition_sql(self._where)!r})")
        return f"{type(self).__name__}({', '.join(words)})"

    @property
    def is_declared_by_field(self) -> bool:
        """Whether ``index=`` of the field is all that declares it."""
        given = (self._metric, self._given_name, self._where, self.options or None)
        usual = quantization(usual_quantization(self.field.field_type, self.field.dimensions))
        is_usual = self.field.index_method == self.method and self.quantization is usual
        return is_usual and all(each is None for each in given)

    @property
    def is_bound(self) -> bool:
        """Whether its field is known; it may have been given by name."""
        return isinstance(self._field, Field)

    def finds(self, metric: Metric) -> bool:
        """Whether it finds neighbors by this metric; bits are compared by Hamming for each metric they are for."""
        form, own = self.quantization, self.metric
        if form is None or own is metric:
            return own is metric
        return metric.name in form.metrics and form.metric(own) is form.metric(metric)

    def names(self, field: Field) -> bool:
        """Whether it is to index this field, by its name."""
        name = self._field if isinstance(self._field, str) else self._field.name
        return name in (field.name, field.column_name)

    def on(self, field: Field) -> VectorIndex:
        """The same index on this field; a given name stays with the first table that has it."""
        index: VectorIndex = self.clone()
        if self.is_bound and self._field is not field:
            index._given_name = None
        index._take(field)
        index.check()
        return index

    def _take(self, field: Field) -> None:
        self._field = field

    def check(self) -> None:
        """:class:`~lightvec.errors.InvalidOption` for what pgvector would refuse, before any SQL is sent."""
        field, indexed = self.field, self.field.field_type
        if self.quantization is not None:
            self.quantization.check(field.display_name, indexed, self.metric)
            indexed = self.quantization.name
        self.operator_class  # noqa: B018 (it raises)
        most = INDEX_DIMENSIONS[indexed]
        if indexed != "sparsevec" and (field.dimensions or 1) > most:
            coarser = usual_quantization(field.field_type, field.dimensions)
            raise InvalidOption(
                f"{field.display_name} has {field.dimensions} dimensions, and pgvector indexes {indexed} of at most "
                f"{most}: " + (f"say quantize={coarser!r}" if coarser else "search without an index")
            )
        if field.dimensions is None:
            # A model of an existing table has no code to change.
            remedy = getattr(field, "dimensions_remedy", "write {field}(384) with the number that your model gives")
            # A field of playhouse.migrate has no model, and no remedy that names a table.
            table = field.model._meta.table_name if hasattr(field, "model") else None
            names = {"table": table, "column": field.column_name, "type": field.field_type}
            raise InvalidOption(
                f"{field.display_name} declares no dimensions, and an index needs them: "
                f"{remedy.format(field=type(field).__name__, **names)}"
            )

    def __sql__(self, ctx: Any) -> Any:
        self.check()
        with ctx.scope_values(subquery=True):
            ctx.literal("CREATE INDEX ")
            if self.concurrently:
                ctx.literal("CONCURRENTLY ")
            if self._safe:
                ctx.literal("IF NOT EXISTS ")
            ctx.sql(Entity(self._name)).literal(" ON ").sql(self._table)
            ctx.literal(f" USING {self.method} ").sql(EnclosedNodeList(self._expressions))
            if self.options:
                options = ", ".join(f"{key} = {value:d}" for key, value in self.options.items())
                ctx.literal(f" WITH ({options})")
            if self._where is not None:
                ctx.literal(" WHERE ").sql(self._where)
        return ctx


class HnswIndex(VectorIndex):
    """An HNSW index: faster at the same recall than IVFFlat, slower to build.

    ``m`` (2 to 100, default 16) is the number of neighbors of each row, ``ef_construction`` (4 to 1,000, default 64, at
    least ``2 * m``) the number of candidates while building. Source: pgvector 0.8, README, "HNSW".

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
        where: Node | None = None,
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
            m=m,
            ef_construction=ef_construction,
        )


class IvfflatIndex(VectorIndex):
    """An IVFFlat index: quick to build, to be built when the table has its rows.

    ``lists`` (1 to 32,768, default 100) is the number of clusters: rows / 1,000 up to a million rows, the square root
    of the rows beyond. Source: pgvector 0.8, README, "IVFFlat".
    """

    method = "ivfflat"

    def __init__(
        self,
        field: Field | str,
        *,
        metric: str | None = None,
        lists: int | None = None,
        quantize: str | None = None,
        where: Node | None = None,
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
            lists=lists,
        )
        self.lists = 100 if lists is None else lists


def bind_indexes(model: Any, field: Field) -> None:
    """Give a field that was bound to its model to the indexes in ``Meta.indexes`` that name it.

    A model inherits its parent's indexes, which are on the parent's table: it gets copies on its own.
    """
    indexes = model._meta.indexes
    indexes[:] = [
        index.on(field) if isinstance(index, VectorIndex) and index.names(field) else index for index in indexes
    ]


def declare_index(model: Any, index: VectorIndex) -> None:
    """Add an index to a model, unless the model has it already, from its parent."""
    others = [other for other in model._meta.indexes if isinstance(other, VectorIndex) and other.is_bound]
    if index_name(index) not in map(index_name, others):
        model._meta.indexes.append(index)


class IndexOfField(str):
    """The method of ``index=`` on a field, which playhouse.migrate puts into the Index of a new column."""

    field: Any

    def __new__(cls, method: str, field: Field) -> IndexOfField:
        self = super().__new__(cls, method)
        self.field = field
        return self


def index_of_added_column(index: Index) -> Index:
    """The vector index in place of what playhouse.migrate makes of ``index=``; any other index as it is."""
    method = index_using(index)
    if not isinstance(method, IndexOfField):
        return index
    field = method.field.clone()
    field.index = False
    table_name, schema = index_table(index)
    meta = type("Meta", (), {"table_name": table_name, "schema": schema})
    model: Any = type(table_name, (Model,), {"Meta": meta, "added_column": field})
    added: Index = model._meta.indexes[0]
    return added


def definition_sql(node: Node) -> str:
    """The SQL of an index or its condition, with its values in it; no database is needed."""
    operations = PostgresqlDatabase.operations
    context = Context(quote='""', param="%s", operations=operations)
    with context.scope_values(subquery=True):
        return str(context.sql(ValueLiterals(node)).query()[0])


# Names


def generated_name(table: str, column: str, metric: str, form: str | None, method: str) -> str:
    """The name of a vector index that was declared without one; ``form`` is its quantization."""
    parts = filter(None, (metric, form, method))
    return shortened_name(f"{table}_{column}", f"_{'_'.join(parts)}")


def check_entity(entity: Entity) -> None:
    """:class:`~lightvec.errors.InvalidOption` for an invalid name in one of Peewee's statements."""
    _check_names(entity_path(entity))


@lru_cache(maxsize=4_096)
def _check_names(names: tuple[str, ...]) -> None:
    """Cached: Peewee makes the Entity of a name anew in each statement."""
    if not names or not _isshortened_name(names[-1]):
        for name in names or ("",):
            check_name(name)


def with_short_name(index: Any) -> Any:
    """The index, with a shorter name if Peewee generated one that the server would truncate.

    Truncated, the names of two indexes can be the same: IF NOT EXISTS would skip the second.
    """
    if not isinstance(index, ModelIndex):
        return index
    name = index_name(index)
    is_truncated = isinstance(name, str) and _size(name) > MAX_BYTES and not _isshortened_name(name)
    return rename_index(index, shortened_name(name)) if is_truncated and name == generated_index_name(index) else index


def shortened_name(stem: str, suffix: str = "") -> str:
    """A name that PostgreSQL does not truncate, with a checksum where it is shortened."""
    room = MAX_BYTES - len(suffix)
    if _size(stem) > room:
        check = f"_{crc32(stem.encode()):08x}"
        stem = stem.encode()[: room - len(check)].decode(errors="ignore") + check
    return stem + suffix


def _size(name: str) -> int:
    return len(name.encode(errors="replace"))


def _isshortened_name(name: Any) -> bool:
    """Whether Peewee shortened a name, to one character more than the server keeps of it."""
    fits = isinstance(name, str) and len(name) == MAX_BYTES + 1 and name.isascii()
    return fits and _PEEWEES_CHECKSUM.search(name) is not None
