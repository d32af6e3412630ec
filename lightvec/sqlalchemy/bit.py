"""``BIT``: a ``bit`` column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Dialect

from lightvec.metrics import metrics_of
from lightvec.sqlalchemy.comparators import BitComparator
from lightvec.sqlalchemy.types import VectorType
from lightvec.types import Bit
from lightvec.types.columns import check_dimensions

__all__ = ["BIT"]


class BIT(VectorType):
    """A ``bit(length)`` column, or with ``varying`` one of up to so many bits; values are :class:`lightvec.Bit`.

    They equal the text of their bits. As in SQL, ``BIT()`` is one bit.

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

    def __repr__(self) -> str:
        given = {"length": self.length, "varying": self.varying, "metric": self.metric}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in given.items() if value)})"

    def sender(self, dialect: Dialect) -> Callable[[Any], Any]:
        if dialect.driver != "asyncpg":
            return super().sender(dialect)
        # asyncpg takes no text for a bit column.
        bit_string: Any = getattr(dialect.dbapi, "asyncpg").BitString  # noqa: B009 (no attribute to mypy)
        return lambda bits: bit_string(bits.to_text())

    def _options(self) -> dict[str, Any]:
        return {"length": self.length, "varying": self.varying, "metric": self.metric}
