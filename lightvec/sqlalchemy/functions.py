"""The aggregates of vectors."""

from __future__ import annotations

from typing import Any

from sqlalchemy.sql.functions import ReturnTypeFromArgs, sum

__all__ = ["avg", "sum"]


class avg(ReturnTypeFromArgs[Any]):
    """The mean of the group's vectors, element by element; NULL for no rows.

    SQLAlchemy's own ``func.avg`` returns text; its ``func.sum`` knows the type, and :data:`sum` is that.
    """

    inherit_cache = True
    #: Leaves ``func.avg`` alone.
    package = "lightvec"
