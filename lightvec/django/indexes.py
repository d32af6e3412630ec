"""The two kinds of index that pgvector has."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.indexes import PostgresIndex

from lightvec.django.fields import ValueField
from lightvec.errors import InvalidOption
from lightvec.index_options import check_options
from lightvec.metrics import metric_for

__all__ = ["HnswIndex", "IvfflatIndex"]


class _VectorIndex(PostgresIndex):
    """An index whose options are checked when it is declared.

    ``metric`` replaces ``opclasses``: with the field's type it gives the operator class. An index on an
    expression names its class with Django's ``OpClass``.
    """

    def __init__(self, *expressions: Any, metric: str | None, options: dict[str, int | None], **kwargs: Any) -> None:
        self.metric = None if metric is None else metric_for(metric).name
        self.options = check_options(self.suffix, **options)
        if self.metric is not None and (expressions or kwargs.get("opclasses")):
            raise InvalidOption(
                f"{type(self).__name__} takes metric={metric!r} with fields=[...] and without opclasses: "
                f"an expression names its operator class with OpClass"
            )
        super().__init__(*expressions, **kwargs)

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        kwargs.update(self.options)
        if self.metric is not None:
            kwargs["metric"] = self.metric
        return path, args, kwargs

    def get_with_params(self) -> list[str]:
        return [f"{name} = {value}" for name, value in self.options.items()]

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        if self.metric is None:
            return super().create_sql(model, schema_editor, using, **kwargs)
        index: Any = self.clone()
        index.metric = None
        index.opclasses = [self._operator_class(model, name) for name, _ in self.fields_orders]
        return index.create_sql(model, schema_editor, using, **kwargs)

    def _operator_class(self, model: Any, name: str) -> str:
        field = model._meta.get_field(name)
        if self.metric is None or not isinstance(field, ValueField):
            raise InvalidOption(
                f"{type(self).__name__} {self.name!r} expected a vector field, got {model.__name__}.{name}"
            )
        return metric_for(self.metric).operator_class(field.column_type, self.suffix)


class HnswIndex(_VectorIndex):
    """An HNSW index.

    :class:`~lightvec.errors.InvalidOption` for options that pgvector would refuse.

    >>> index = HnswIndex(name="doc_embedding", fields=["embedding"], metric="cosine", m=24)
    >>> index.get_with_params()
    ['m = 24']
    """

    suffix = "hnsw"

    def __init__(
        self,
        *expressions: Any,
        m: int | None = None,
        ef_construction: int | None = None,
        metric: str | None = None,
        **kwargs: Any,
    ) -> None:
        options = {"m": m, "ef_construction": ef_construction}
        super().__init__(*expressions, metric=metric, options=options, **kwargs)


class IvfflatIndex(_VectorIndex):
    """An IVFFlat index; create it when the table has its rows.

    :class:`~lightvec.errors.InvalidOption` for options that pgvector would refuse.
    """

    suffix = "ivfflat"

    def __init__(self, *expressions: Any, lists: int | None = None, metric: str | None = None, **kwargs: Any) -> None:
        super().__init__(*expressions, metric=metric, options={"lists": lists}, **kwargs)
