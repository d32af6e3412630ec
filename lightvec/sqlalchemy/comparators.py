"""What a vector column can be asked: its distances, by pgvector's names and by the metric that its type declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BinaryExpression, ColumnElement, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.type_api import TypeEngine

from lightvec.metrics import METRICS, Metric

if TYPE_CHECKING:
    from lightvec.sqlalchemy.types import VectorType

__all__ = ["BitComparator", "DistanceComparator", "VectorComparator"]


class DistanceComparator(TypeEngine.Comparator[Any]):
    """The distance and the score by the metric that the type declares, or by one that the call names."""

    type: VectorType

    def distance(self, other: Any, /, *, metric: str | None = None) -> ColumnElement[float]:
        """The distance by the type's declared metric, or by ``metric``.

        :class:`~lightvec.errors.InvalidOption` where neither is there, or pgvector has no such distance for the type.
        """
        return self._distance(self.type.resolve_metric(metric), other)

    def score(self, other: Any, /, *, metric: str | None = None) -> ColumnElement[float]:
        """The score, higher is better, by the declared metric; :mod:`lightvec.metrics` has the formulas."""
        metric_ = self.type.resolve_metric(metric)
        score: ColumnElement[float] = metric_.score.of(self._distance(metric_, other))
        return score

    def _distance(self, metric: Metric, other: Any) -> ColumnElement[float]:
        expression: Any = self.op(metric.operator, return_type=Float())(other)
        return _WithPercent.of(expression) if "%" in metric.operator else expression


class VectorComparator(DistanceComparator):
    """The distances that pgvector has between vectors of numbers."""

    def l2_distance(self, other: Any, /) -> ColumnElement[float]:
        """The Euclidean distance."""
        return self._distance(METRICS["l2"], other)

    def max_inner_product(self, other: Any, /) -> ColumnElement[float]:
        """The inner product with its sign turned, as pgvector's operator gives it: less is nearer."""
        return self._distance(METRICS["ip"], other)

    def cosine_distance(self, other: Any, /) -> ColumnElement[float]:
        """1 minus the cosine of the angle; NaN where one of the two is all zeros."""
        return self._distance(METRICS["cosine"], other)

    def l1_distance(self, other: Any, /) -> ColumnElement[float]:
        """The sum of the absolute differences."""
        return self._distance(METRICS["l1"], other)


class BitComparator(DistanceComparator):
    """The distances that pgvector has between bits."""

    def hamming_distance(self, other: Any, /) -> ColumnElement[float]:
        """How many bits differ."""
        return self._distance(METRICS["hamming"], other)

    def jaccard_distance(self, other: Any, /) -> ColumnElement[float]:
        """1 minus the share of common ones among all ones."""
        return self._distance(METRICS["jaccard"], other)


class _WithPercent(BinaryExpression[float]):
    """An expression whose operator has a percent sign, which SQLAlchemy leaves single for pg8000."""

    inherit_cache = True

    @classmethod
    def of(cls, expression: BinaryExpression[float]) -> _WithPercent:
        return cls(expression.left, expression.right, expression.operator, type_=expression.type)


@compiles(_WithPercent)
def _compile(element: _WithPercent, compiler: Any, **options: Any) -> str:
    # Where the values stand between percent signs, an operator's own is written twice. All dialects but pg8000's do it.
    is_left_single = compiler.dialect.paramstyle in ("format", "pyformat") and not compiler.preparer._double_percents
    if is_left_single and isinstance(element.operator, custom_op):
        options["override_operator"] = custom_op(element.operator.opstring.replace("%", "%%"))
    text: str = compiler.visit_binary(element, **options)
    return text
