"""Distances of vector columns, by pgvector's names and by the metric that the type declares."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, ColumnElement, Float, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.sql.visitors import iterate

from lightvec.metrics import METRICS, Metric

__all__ = ["BitComparator", "DistanceComparator", "VectorComparator"]


class DistanceComparator(TypeEngine.Comparator[Any]):
    """The distance and the score by the metric that the type declares, or by one that the call names."""

    type: Any  # a VectorType

    def distance(self, other: Any, /, *, metric: str | None = None) -> ColumnElement[float]:
        """The distance by the type's metric, or by ``metric``.

        :class:`~lightvec.errors.InvalidOption` without either, or if pgvector has none for the type.
        """
        return self._distance(self.type.resolve_metric(metric), other)

    def score(self, other: Any, /, *, metric: str | None = None) -> ColumnElement[float]:
        """The score, higher is better, by the declared metric; :mod:`lightvec.metrics` has the formulas."""
        metric_ = self.type.resolve_metric(metric)
        score: ColumnElement[float] = metric_.score.of(self._distance(metric_, other))
        return score

    def _distance(self, metric: Metric, other: Any) -> ColumnElement[float]:
        expression: Any = self.op(metric.operator, return_type=Float())(other)
        return _WithPercent.of(expression, metric.method) if "%" in metric.operator else expression


class VectorComparator(DistanceComparator):
    """The distances that pgvector has between vectors of numbers."""

    def l2_distance(self, other: Any, /) -> ColumnElement[float]:
        """The Euclidean distance."""
        return self._distance(METRICS["l2"], other)

    def max_inner_product(self, other: Any, /) -> ColumnElement[float]:
        """The inner product with its sign turned: less is nearer."""
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
    """An expression whose operator has a percent sign, which SQLAlchemy leaves single for pg8000.

    ``function`` is the SQL function of the same meaning.
    """

    inherit_cache = True
    function: str

    @classmethod
    def of(cls, expression: BinaryExpression[float], function: str) -> _WithPercent:
        doubled = cls(expression.left, expression.right, expression.operator, type_=expression.type)
        doubled.function = function
        return doubled


@compiles(_WithPercent)
def _compile(element: _WithPercent, compiler: Any, **options: Any) -> str:
    text: str
    doubles_them = compiler.preparer._double_percents
    if doubles_them or compiler.dialect.paramstyle not in ("format", "pyformat"):
        text = compiler.visit_binary(element, **options)
    elif options.get("literal_binds") or not any(isinstance(part, BindParameter) for part in iterate(element)):
        # pg8000 reads a doubled percent sign as one only where there are parameters. The function uses
        # no index, but between columns there is none to use.
        text = compiler.process(getattr(func, element.function)(element.left, element.right), **options)
    else:
        doubled: custom_op[Any] = custom_op(element.operator.opstring.replace("%", "%%"))  # type: ignore[attr-defined]
        text = compiler.visit_binary(element, override_operator=doubled, **options)
    return text
