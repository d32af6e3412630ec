"""``VECTOR`` at the path that pgvector's migrations name."""

from lightvec.sqlalchemy.types import VECTOR

__all__ = ["VECTOR"]
