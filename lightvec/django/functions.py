"""The six distances, for ``annotate``, ``alias``, ``filter`` and ``order_by``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import FieldError
from django.db.models import F, FloatField, Func, Value

from lightvec.django.fields import ValueField
from lightvec.errors import InvalidVector
from lightvec.metrics import METRICS, Metric, metric_for, metrics_of
from lightvec.types import Bit, HalfVector, SparseVector, Vector

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CosineDistance", "HammingDistance", "JaccardDistance", "L1Distance", "L2Distance", "MaxInnerProduct"]

_Vector = Vector | HalfVector | SparseVector | Bit


class Given(Value):
    """The value that a distance was called with: to Django it is the text that is sent.

    So Django can compare it, hash it and write it into a migration.
    """

    def __init__(self, vector: _Vector) -> None:
        super().__init__(vector.wire_text())
        self.vector = vector

    @property
    def identity(self) -> tuple[Any, ...]:  # what comes back from a migration is a plain Value
        identity: tuple[Any, ...] = Value(self.vector.to_text()).identity
        return identity

    def deconstruct(self) -> tuple[str, tuple[str], dict[str, Any]]:
        return "django.db.models.Value", (self.vector.to_text(),), {}

    def for_column(self, column: ValueField) -> Value:
        """The same for a column, of its type; :class:`~lightvec.errors.InvalidVector` where it does not fit."""
        fitting = column.read(self.vector)
        return self if type(fitting) is type(self.vector) else Given(fitting)


class _Distance(Func):
    """An operator of pgvector between two operands.

    Each is the name of a field, an expression, None, or a vector: whatever the constructor of its class takes, or its
    text. A vector takes the type of the column that it is compared with, and must have its dimensions.
    """

    function = ""
    arity = 2
    output_field = FloatField()
    metric: ClassVar[Metric]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "metric" in vars(cls):
            # A percent sign in SQL that goes on with parameters is written twice.
            cls.arg_joiner = f" {cls.metric.operator.replace('%', '%%')} "

    def __init__(self, expression: Any, vector: Any, /, **extra: Any) -> None:
        operands = (self._operand(expression), self._operand(vector))
        # Django compares expressions by these, and a list or an array cannot be hashed.
        self._constructor_args = (operands, extra)
        super().__init__(*operands, **extra)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Self:
        resolved = super().resolve_expression(*args, **kwargs)
        first, second = resolved.get_source_expressions()
        resolved.set_source_expressions([self._fit(first, second), self._fit(second, first)])
        return resolved

    def _fit(self, operand: Any, other: Any) -> Any:
        """An operand as what can be compared with the other one."""
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
        if isinstance(given, str):
            return Given(cls._from_text(given)) if cls._is_text(given) else F(given)
        return Given(given if isinstance(given, _Vector) else cls._vector(given))

    @classmethod
    def _is_text(cls, text: str) -> bool:
        """Whether this is the text of a vector and not the name of a field."""
        raise NotImplementedError

    @classmethod
    def _from_text(cls, text: str) -> _Vector:
        raise NotImplementedError

    @classmethod
    def _vector(cls, given: Any) -> _Vector:
        raise NotImplementedError


class _NumericDistance(_Distance):
    """A distance between vectors of numbers."""

    @classmethod
    def _is_text(cls, text: str) -> bool:
        return text.lstrip()[:1] in ("[", "{")

    @classmethod
    def _from_text(cls, text: str) -> _Vector:
        return Vector.from_text(text) if text.lstrip()[0] == "[" else SparseVector.from_text(text)

    @classmethod
    def _vector(cls, given: Any) -> _Vector:
        try:
            return Vector(given)
        except InvalidVector as error:
            # What is too long for a vector, or is one of SciPy's, can still be compared with a sparse column.
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
    def _from_text(cls, text: str) -> _Vector:
        return Bit.from_text(text)

    @classmethod
    def _vector(cls, given: Any) -> _Vector:
        return Bit(given)


class L2Distance(_NumericDistance):
    """The Euclidean distance.

    >>> L2Distance("embedding", [1, 2])
    L2Distance(F(embedding) <-> Given('[1,2]'))
    """

    metric = METRICS["l2"]


class MaxInnerProduct(_NumericDistance):
    """The inner product with its sign turned, as pgvector's operator gives it: less is nearer."""

    metric = METRICS["ip"]


class CosineDistance(_NumericDistance):
    """1 minus the cosine of the angle; NaN where one of the two is all zeros."""

    metric = METRICS["cosine"]


class L1Distance(_NumericDistance):
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
    """The field whose values an expression has, if it is one of ours."""
    try:
        field = expression.output_field
    except (AttributeError, FieldError):  # the column of an outer query, or an expression of no known type
        return None
    return field if isinstance(field, ValueField) else None
