"""Adds the remedy to SQLAlchemy's error where the database lacks pgvector's types."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from lightvec.errors import MissingExtension

__all__ = ["explain_missing_types"]

#: undefined_object, the SQLSTATE of a missing type.
_UNDEFINED_OBJECT = "42704"
_TYPE = re.compile(r"\b(vector|halfvec|sparsevec)\b", re.IGNORECASE)


def explain_missing_types() -> None:
    """Add the remedy to errors of all engines."""
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
    remedy = f"{MissingExtension(seen[1].lower())}; if it is in a schema of its own, add that to the search_path"
    context.sqlalchemy_exception.add_detail(remedy)


def _sqlstate(error: BaseException) -> Any:
    """The SQLSTATE from psycopg 3 and lightvec, psycopg 2 and asyncpg, or pg8000."""
    for name in ("sqlstate", "pgcode"):
        if code := getattr(error, name, None):
            return code
    fields = error.args[0] if error.args else None
    return fields.get("C") if isinstance(fields, dict) else None
