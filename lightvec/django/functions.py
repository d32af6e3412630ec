"""The six distances, for ``annotate``, ``alias``, ``filter`` and ``order_by``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import FieldError
from django.db.models import F, FloatField, Func, Value

from lightvec.django.fields import ValueField
from lightvec.errors import InvalidVector
from lightvec.metrics import METRICS, Metric, metric_for, metrics_of
from lightvec.types import Bit, SparseVector, Vector
from lightvec.types.columns import VectorLike
from lightvec.types.value import read_value

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CosineDistance", "HammingDistance", "JaccardDistance", "L1Distance", "L2Distance", "MaxInnerProduct"]


class Given(Value):
    """A vector operand. To Django it is a text, which it can send, compare and hash."""

    def __init__(self, vector: VectorLike) -> None:
        super().__init__(vector.wire_text())
        self.vector = vector

    @property
    def identity(self) -> tuple[Any, ...]:  # a migration gives back a plain Value
        identity: tuple[Any, ...] = Value(self.vector.to_text()).identity
        return identity

    def deconstruct(self) -> tuple[str, tuple[str], dict[str, Any]]:
        return "django.db.models.Value", (self.vector.to_text(),), {}

    def for_column(self, column: ValueField) -> Value:
        """The same as the column's type."""
        fitting = column.read(self.vector)
        return self if type(fitting) is type(self.vector) else Given(fitting)


class _Distance(Func):
    """An operator of pgvector between two operands.

    Each is the name of a field, an expression, None, or a vector: whatever its class takes, or its text. A
    vector takes the type of the column that it is compared with, and must have its dimensions.
    """

    function = ""
    arity = 2
    output_field = FloatField()
    metric: ClassVar[Metric]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "metric" in vars(cls):
            # Django sends SQL with parameters, where a percent sign is doubled.
            cls.arg_joiner = f" {cls.metric.operator.replace('%', '%%')} "

    def __init__(self, expression: Any, vector: Any, /, **extra: Any) -> None:
        operands = (self._operand(expression), self._operand(vector))
        # Django compares expressions by these; a list or an array is not hashable.
        self._constructor_args = (operands, extra)
        super().__init__(*operands, **extra)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Self:
        resolved = super().resolve_expression(*args, **kwargs)
        first, second = resolved.get_source_expressions()
        resolved.set_source_expressions([self._fit(first, second), self._fit(second, first)])
        return resolved

    def _fit(self, operand: Any, other: Any) -> Any:
        """An operand, converted to be compared with the other one."""
        column = _column_of(other)
        if column is None:
            return operand
        metric_for(self.metric.name, metrics_of(column.column_type))
        if isinstance(operand, Given):
            return operand.for_column(column)
        return Value(operand.value, output_field=column) if isinstance(operand, Value) else operand

    @classmethod
    def _operand(cls, given: Any) -> Any:
        if hasattr(given, "resolve_expression"):
            return given
        if given is None:
            return Value(None)
        if isinstance(given, str) and not cls._is_text(given):
            return F(given)
        return Given(given if isinstance(given, VectorLike) else cls._vector(given))

    @classmethod
    def _is_text(cls, text: str) -> bool:
        """Whether this is the text of a vector, not the name of a field."""
        return text.lstrip()[:1] in ("[", "{")

    @classmethod
    def _vector(cls, given: Any) -> VectorLike:
        if isinstance(given, str) and given.lstrip()[0] == "{":
            return SparseVector.from_text(given)
        try:
            return read_value(Vector, given)
        except InvalidVector as error:
            # SciPy's arrays, and more numbers than a vector holds, fit a sparse column.
            try:
                return SparseVector(given)
            except InvalidVector:
                raise error from None


class _BitDistance(_Distance):
    """A distance between strings of bits."""

    @classmethod
    def _is_text(cls, text: str) -> bool:
        return not text.strip("01")

    @classmethod
    def _vector(cls, given: Any) -> VectorLike:
        return read_value(Bit, given)


class L2Distance(_Distance):
    """The Euclidean distance.

    >>> L2Distance("embedding", [1, 2])
    L2Distance(F(embedding) <-> Given('[1,2]'))
    """

    metric = METRICS["l2"]


class MaxInnerProduct(_Distance):
    """The inner product with its sign turned: less is nearer."""

    metric = METRICS["ip"]


class CosineDistance(_Distance):
    """1 minus the cosine of the angle; NaN where one of the two is all zeros."""

    metric = METRICS["cosine"]


class L1Distance(_Distance):
    """The sum of the absolute differences."""

    metric = METRICS["l1"]


class HammingDistance(_BitDistance):
    """How many bits differ.

    >>> HammingDistance("bits", "101"), HammingDistance("bits", "other_bits")
    (HammingDistance(F(bits) <~> Given('101')), HammingDistance(F(bits) <~> F(other_bits)))
    """

    metric = METRICS["hamming"]


class JaccardDistance(_BitDistance):
    """1 minus the share of common ones among all ones."""

    metric = METRICS["jaccard"]


def _column_of(expression: Any) -> ValueField | None:
    """The vector field of an expression's values, if any."""
    try:
        field = expression.output_field
    except (AttributeError, FieldError):  # of an outer query, or of no known type
        return None
    return field if isinstance(field, ValueField) else None
