"""Coarser forms of a vector that an index can hold where the vector is too long for it, or too large.

Source: pgvector 0.8, README, "Half-Precision Indexing" and "Binary Quantization".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from peewee import Cast, Function, Node

from lightvec.errors import InvalidOption
from lightvec.metrics import INDEX_DIMENSIONS, METRICS, Metric
from lightvec.wire.identifiers import identifier

__all__ = ["QUANTIZATIONS", "Quantization", "quantization", "usual_quantization"]


class Quantization:
    """One coarser form.

    ``column_types`` are those that it is made of; ``metrics`` those whose neighbours it finds. ``overfetch`` is how
    many rows an index of it has to find for each that is wanted: of those the nearest are chosen by the whole vector.
    """

    __slots__ = ("column_types", "metrics", "name", "overfetch")

    def __init__(self, name: str, column_types: tuple[str, ...], metrics: tuple[str, ...], overfetch: int) -> None:
        self.name = name
        self.column_types = column_types
        self.metrics = metrics
        self.overfetch = overfetch

    def of(self, vector: Node, dimensions: int, schema: str = "") -> Any:
        """The SQL of a vector, or a column, in this form; ``schema`` qualifies pgvector's names."""
        prefix = identifier(schema) + "." if schema else ""
        if self.name != "bit":
            return Cast(vector, f"{prefix}{self.name}({dimensions:d})")
        return Cast(Function(f"{prefix}binary_quantize", (vector,), coerce=False), f"bit({dimensions:d})")

    def metric(self, metric: Metric) -> Metric:
        """What orders this form as nearly as it can be as the metric orders vectors."""
        return METRICS["hamming"] if self.name == "bit" else metric

    def check(self, subject: str, column_type: str, metric: Metric) -> None:
        """:class:`~lightvec.errors.InvalidOption` where there is no such form."""
        if column_type not in self.column_types:
            raise InvalidOption(
                f"{subject} is a {column_type} column, and quantize={self.name!r} is for "
                f"{' and '.join(self.column_types)} columns: leave quantize out"
            )
        if metric.name not in self.metrics:
            raise InvalidOption(
                f"{subject} is searched by {metric.name}, and quantize={self.name!r} finds neighbours by "
                f"{', '.join(self.metrics)}: choose one of these, or leave quantize out"
            )


QUANTIZATIONS: Mapping[str, Quantization] = MappingProxyType(
    {
        form.name: form
        for form in (
            Quantization("halfvec", ("vector",), ("l2", "ip", "cosine", "l1"), overfetch=1),
            # A bit is a number's sign, which tells angles. Of the 10 nearest of 30,000 embeddings of 384 dimensions,
            # 0.89 are among 4 times as many, 0.97 among 10 times, 0.99 among 20 times, which take twice as long as 4.
            Quantization("bit", ("vector", "halfvec"), ("l2", "ip", "cosine"), overfetch=20),
        )
    }
)


def quantization(name: str | None) -> Quantization | None:
    """The form of this name, None for None.

    >>> quantization("half")
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: expected quantize='halfvec' or quantize='bit', got 'half'
    """
    if name is None:
        return None
    if name not in QUANTIZATIONS:
        raise InvalidOption(f"expected quantize='halfvec' or quantize='bit', got {name!r}")
    return QUANTIZATIONS[name]


def usual_quantization(column_type: str, dimensions: int | None) -> str | None:
    """The finest form that an index takes: None, which is the vector itself, then halfvec, then bit.

    >>> usual_quantization("vector", 2_000), usual_quantization("vector", 3_072), usual_quantization("vector", 4_096)
    (None, 'halfvec', 'bit')
    """
    if column_type == "sparsevec" or (dimensions or 0) <= INDEX_DIMENSIONS[column_type]:
        return None
    fitting = (
        form.name
        for form in QUANTIZATIONS.values()
        if column_type in form.column_types and (dimensions or 0) <= INDEX_DIMENSIONS[form.name]
    )
    return next(fitting, None)
