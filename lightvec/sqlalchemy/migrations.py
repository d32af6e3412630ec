"""What Alembic asks of a type that is not SQLAlchemy's own."""

from __future__ import annotations

from typing import Any

from lightvec.sqlalchemy.types import VectorType

__all__ = ["render_item"]


def render_item(kind: str, obj: Any, autogen_context: Any) -> str | bool:
    """Alembic's hook: a vector type as it is written in a migration, with the import that this needs.

    ::

        context.configure(connection=connection, target_metadata=target_metadata, render_item=render_item)

    False for whatever is not one of lightvec's types, which Alembic then renders by itself. Without the hook the types
    are rendered the same, and the import is for the migration's author to write.
    """
    if kind != "type" or not isinstance(obj, VectorType):
        return False
    module = type(obj).__module__
    autogen_context.imports.add(f"import {module}")
    return f"{module}.{obj!r}"
