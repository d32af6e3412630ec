"""What to do where the database has none of pgvector's types, said where SQLAlchemy says that it failed."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from lightvec.errors import MissingExtension

__all__ = ["explain_missing_types"]

#: The SQLSTATE of a type that is not there.
_UNDEFINED_OBJECT = "42704"
_TYPE = re.compile(r"\b(vector|halfvec|sparsevec)\b", re.IGNORECASE)


def explain_missing_types() -> None:
    """Add the remedy to what SQLAlchemy raises, in any engine."""
    if not event.contains(Engine, "handle_error", _explain):
        event.listen(Engine, "handle_error", _explain)


def _explain(context: ExceptionContext) -> None:
    seen = _TYPE.search(context.statement or "")
    if (
        seen is None
        or context.sqlalchemy_exception is None
        or _sqlstate(context.original_exception) != _UNDEFINED_OBJECT
    ):
        return
    remedy = f"{MissingExtension(seen[1].lower())}; where it stands in a schema of its own, put that on the search_path"
    context.sqlalchemy_exception.add_detail(remedy)


def _sqlstate(error: BaseException) -> Any:
    """The SQLSTATE, where the drivers have it: psycopg 3 and lightvec, psycopg 2 and asyncpg, pg8000."""
    for name in ("sqlstate", "pgcode"):
        if code := getattr(error, name, None):
            return code
    fields = error.args[0] if error.args else None
    return fields.get("C") if isinstance(fields, dict) else None
