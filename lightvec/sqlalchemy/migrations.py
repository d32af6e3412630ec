"""Alembic's hook for types that are not SQLAlchemy's own."""

from __future__ import annotations

from typing import Any

from lightvec.sqlalchemy.types import VectorType

__all__ = ["render_item"]


def render_item(kind: str, obj: Any, autogen_context: Any) -> str | bool:
    """Alembic's hook: write a vector type into a migration, with its import.

    ::

        context.configure(connection=connection, target_metadata=target_metadata, render_item=render_item)

    False for anything but lightvec's types, and for types with variants, which Alembic renders itself.
    Without the hook only the import is missing.
    """
    if kind != "type" or not isinstance(obj, VectorType):
        return False
    module = type(obj).__module__
    autogen_context.imports.add(f"import {module}")
    return False if obj._variant_mapping else f"{module}.{obj!r}"
