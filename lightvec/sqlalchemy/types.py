"""What the four column types share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Column, Dialect
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.sql.operators import concat_op
from sqlalchemy.types import String, TypeEngine, UserDefinedType

from lightvec.errors import InvalidVector
from lightvec.metrics import Metric, metric_for, metric_of_call
from lightvec.types.columns import check_dimensions, column_value

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["VectorType", "quoted_literal", "sends_binary"]

#: Numbers without a point or exponent, in the text of a vector.
_WHOLE = re.compile(r"(?<=[\[,:])(-?\d+)(?=[,\]}])")


class VectorType(SchemaEventTarget, UserDefinedType[Any]):
    """What the four types share: one value class, dimensions, a metric that is declared once.

    A column of the type takes whatever the value class can be made of, and gives values of that class. Others than the
    declared dimensions are refused before anything is sent, by an :class:`~lightvec.errors.InvalidVector` that names
    the column and that SQLAlchemy wraps in a ``StatementError``.
    """

    cache_ok = True
    value_class: ClassVar[Any]
    metrics: ClassVar[tuple[str, ...]]
    name: ClassVar[str]
    _column: Column[Any] | None = None
    _is_shared = False

    def __init__(self, dim: int | None = None, *, metric: str | None = None) -> None:
        super().__init__()
        self.dim = check_dimensions(dim, self.value_class)
        self.metric = None if metric is None else metric_for(metric, self.metrics).name

    def resolve_metric(self, metric: str | None = None) -> Metric:
        """The metric by this name, or the declared one."""
        return metric_of_call(metric or self.metric, self.place, type(self).__name__, self.metrics)

    @property
    def python_type(self) -> type[Any]:
        """The class of the values."""
        kind: type[Any] = self.value_class
        return kind

    # What SQL there is

    def get_col_spec(self, **kw: Any) -> str:
        return self.name if self.dim is None else f"{self.name}({self.dim:d})"

    def __repr__(self) -> str:
        given = {"dim": self.dim, "metric": self.metric}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in given.items() if value)})"

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """A value beside the column is a vector of its type; what is put behind it (``||``) has other dimensions."""
        joins = op is concat_op or getattr(op, "opstring", None) == "||"  # concat(), or op("||")
        return type(self)() if joins else self

    # Values

    def value(self, value: Any) -> Any:
        """A value as one of the value class, with the declared dimensions; None stays None."""
        return None if value is None else column_value(self.value_class, value, self.dim, self.place)

    def read(self, value: Any) -> Any:
        """A value as the driver gives it: text, or of a class that was registered for the type.

        That may be one of pgvector's own package, of which only the text is to be had.
        """
        if value is None or isinstance(value, self.value_class):
            return value
        text = value if isinstance(value, str) else getattr(value, "to_text", lambda: None)()
        return self.value_class(value) if text is None else self.value_class.from_text(text)

    def sender(self, dialect: Dialect) -> Callable[[Any], Any]:
        """What turns a vector into what the driver sends."""
        return _as_it_is if sends_binary(dialect) else _text

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        send = self.sender(dialect)
        return lambda value: None if value is None else send(self.value(value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return self.read

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        return lambda value: quoted_literal(_as_floats(self.value(value).to_text()), dialect)

    def compare_values(self, x: Any, y: Any) -> bool:
        """Whether the ORM may take a value that was set for the one that was there: compared as vectors."""
        if x is None or y is None:
            return x is y
        try:
            return bool(self.value_class.coerce(x) == self.value_class.coerce(y))
        except InvalidVector:
            return False

    # Copies, and the column that the type belongs to

    def _set_parent(self, parent: SchemaEventTarget, **kw: Any) -> None:
        """Take note of the column, to name it in errors; of a type that several columns share, none."""
        super()._set_parent(parent, **kw)
        if isinstance(parent, Column):
            self._is_shared = self._is_shared or (self._column is not None and self._column is not parent)
            self._column = parent

    @property
    def place(self) -> str:
        """The column, as ``table.column``; the type where it is that of no column, or of several."""
        is_named = self._column is not None and not self._is_shared and self._column.name
        return str(self._column) if is_named else self.get_col_spec()

    def adapt(self, cls: Any, **kw: Any) -> Any:
        """The same type as another class, as dialects ask for it."""
        adapted = cls(**{**self._options(), **kw})
        adapted._column, adapted._is_shared = self._column, self._is_shared
        adapted._variant_mapping = self._variant_mapping
        return adapted

    def copy(self, **kw: Any) -> Self:
        """The same type, of no column; SQLAlchemy's options for it are about schemas, which it has none of."""
        copied = type(self)(**self._options())
        copied._variant_mapping = self._variant_mapping  # what with_variant() said, for a column that is copied
        return copied

    def _options(self) -> dict[str, Any]:
        return {"dim": self.dim, "metric": self.metric}

    def __getstate__(self) -> dict[str, Any]:
        """A pickled type does not bring its table along."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_column", "_is_shared", "dispatch")}


def sends_binary(dialect: Dialect) -> bool:
    """Whether the driver is lightvec's own wire, which takes vectors as they are."""
    return getattr(dialect.dbapi, "__name__", "") == "lightvec.pg8000.dbapi"


def quoted_literal(text: str, dialect: Dialect) -> str:
    """A text as SQL writes it."""
    processor = String().literal_processor(dialect)
    assert processor is not None
    literal: str = processor(text)
    return literal


def _as_floats(text: str) -> str:
    """The text of a vector with every number written as a float, as pgvector's own package renders its literals."""
    return _WHOLE.sub(r"\1.0", text)


def _as_it_is(vector: Any) -> Any:
    return vector


def _text(vector: Any) -> str:
    text: str = vector.wire_text()
    return text
