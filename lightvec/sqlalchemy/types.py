"""The four column types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Column, Dialect
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.sql.operators import concat_op
from sqlalchemy.types import String, TypeEngine, UserDefinedType

from lightvec.errors import InvalidVector
from lightvec.metrics import Metric, metric_for, metric_of_call, metrics_of
from lightvec.sqlalchemy.comparators import BitComparator, VectorComparator
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.columns import check_dimensions, column_value

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BIT", "HALFVEC", "SPARSEVEC", "VECTOR", "VectorType", "quoted_literal", "sends_binary", "unchanged"]

#: Numbers without a point or exponent, in the text of a vector.
_WHOLE = re.compile(r"(?<=[\[,:])(-?\d+)(?=[,\]}])")


class VectorType(SchemaEventTarget, UserDefinedType[Any]):
    """What the four types share: one value class, dimensions, a metric that is declared once.

    A column of the type takes whatever the value class can be made of, and gives values of that class.
    Other dimensions than the declared ones are refused before anything is sent, by an
    :class:`~lightvec.errors.InvalidVector` that SQLAlchemy wraps in a ``StatementError``.
    """

    cache_ok = True
    value_class: ClassVar[Any]
    metrics: ClassVar[tuple[str, ...]] = metrics_of("vector")
    comparator_factory: Any = VectorComparator
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

    # SQL

    def get_col_spec(self, **kw: Any) -> str:
        return self.name if self.dim is None else f"{self.name}({self.dim:d})"

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self._options().items() if value)
        return f"{type(self).__name__}({given})"

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """An operand is a vector of the column's type; one that ``||`` appends has other dimensions."""
        joins = op is concat_op or getattr(op, "opstring", None) == "||"  # concat(), or op("||")
        return type(self)() if joins else self

    # Values

    def value(self, value: Any) -> Any:
        """A value as one of the value class, with the declared dimensions; None stays None."""
        return None if value is None else column_value(self.value_class, value, self.dim, self.place)

    def read(self, value: Any) -> Any:
        """A value from the driver: text, or of a class that is registered for the type."""
        if value is None or isinstance(value, self.value_class):
            return value
        text = value if isinstance(value, str) else getattr(value, "to_text", lambda: None)()
        return self.value_class(value) if text is None else self.value_class.from_text(text)

    def sender(self, dialect: Dialect) -> Callable[[Any], Any]:
        """The function that converts a vector to what the driver sends."""
        return unchanged if sends_binary(dialect) else self.value_class.wire_text

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        send = self.sender(dialect)
        return lambda value: None if value is None else send(self.value(value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return self.read

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        return lambda value: quoted_literal(_as_floats(self.value(value).to_text()), dialect)

    def compare_values(self, x: Any, y: Any) -> bool:
        """Whether two values are equal as vectors, for the ORM to skip an update."""
        if x is None or y is None:
            return x is y
        try:
            return bool(self.value_class.coerce(x) == self.value_class.coerce(y))
        except InvalidVector:
            return False

    # Copies, and the column that the type belongs to

    def _set_parent(self, parent: SchemaEventTarget, **kw: Any) -> None:
        """Remember the column, for errors to name it."""
        super()._set_parent(parent, **kw)
        if isinstance(parent, Column):
            self._is_shared = self._is_shared or (self._column is not None and self._column is not parent)
            self._column = parent

    @property
    def place(self) -> str:
        """``table.column``; the type where it belongs to no column, or to several."""
        is_named = self._column is not None and not self._is_shared and self._column.name
        return str(self._column) if is_named else self.get_col_spec()

    def adapt(self, cls: Any, **kw: Any) -> Any:
        """The same type as another class; dialects call it."""
        adapted = cls(**{**self._options(), **kw})
        adapted._column, adapted._is_shared = self._column, self._is_shared
        adapted._variant_mapping = self._variant_mapping
        return adapted

    def copy(self, **kw: Any) -> Self:
        """The same type, of no column."""
        copied = type(self)(**self._options())
        copied._variant_mapping = self._variant_mapping  # from with_variant()
        return copied

    def _options(self) -> dict[str, Any]:
        return {"dim": self.dim, "metric": self.metric}

    def __getstate__(self) -> dict[str, Any]:
        """A pickled type leaves out its table."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_column", "_is_shared", "dispatch")}


class VECTOR(VectorType):
    """A ``vector`` column, single precision; values are :class:`lightvec.Vector`.

    ``dim`` is how many dimensions its vectors have, None for any. ``metric`` (``"l2"``, ``"ip"``,
    ``"cosine"`` or ``"l1"``) is that of ``distance()`` and ``score()``.

    >>> VECTOR(3), VECTOR(3, metric="cosine")
    (VECTOR(dim=3), VECTOR(dim=3, metric='cosine'))
    """

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "VECTOR"
    value_class = Vector


class HALFVEC(VectorType):
    """A ``halfvec`` column, half precision; values are :class:`lightvec.HalfVector`."""

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "HALFVEC"
    value_class = HalfVector


class SPARSEVEC(VectorType):
    """A ``sparsevec`` column; values are :class:`lightvec.SparseVector`."""

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "SPARSEVEC"
    value_class = SparseVector


class BIT(VectorType):
    """A ``bit(length)`` column, or with ``varying`` one of at most ``length`` bits.

    Values are :class:`lightvec.Bit`, which equal the text of their bits. As in SQL, ``BIT()`` is one bit.

    >>> BIT(3), BIT(8, varying=True)
    (BIT(length=3), BIT(length=8, varying=True))
    """

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "BIT"
    value_class = Bit
    metrics = metrics_of("bit")
    comparator_factory = BitComparator

    def __init__(self, length: int | None = None, varying: bool = False, *, metric: str | None = None) -> None:
        super().__init__(None if varying else length, metric=metric)
        self.length = check_dimensions(length, self.value_class)
        self.varying = varying

    def get_col_spec(self, **kw: Any) -> str:
        name = "BIT VARYING" if self.varying else "BIT"
        return name if self.length is None else f"{name}({self.length:d})"

    def sender(self, dialect: Dialect) -> Callable[[Any], Any]:
        if dialect.driver != "asyncpg":
            return super().sender(dialect)
        # asyncpg takes no text for a bit column.
        bit_string: Any = getattr(dialect.dbapi, "asyncpg").BitString  # noqa: B009 (no attribute to mypy)
        return lambda bits: bit_string(bits.to_text())

    def _options(self) -> dict[str, Any]:
        return {"length": self.length, "varying": self.varying, "metric": self.metric}


def sends_binary(dialect: Dialect) -> bool:
    """Whether the driver is lightvec's own, which takes vectors as they are."""
    return getattr(dialect.dbapi, "__name__", "") == "lightvec.pg8000.dbapi"


def quoted_literal(text: str, dialect: Dialect) -> str:
    """A text as SQL writes it."""
    processor = String().literal_processor(dialect)
    assert processor is not None
    literal: str = processor(text)
    return literal


def _as_floats(text: str) -> str:
    """The text with every number as a float, as pgvector's own package renders its literals."""
    return _WHOLE.sub(r"\1.0", text)


def unchanged(vector: Any) -> Any:
    return vector
