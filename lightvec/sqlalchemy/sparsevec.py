"""``SPARSEVEC`` at the path that pgvector's migrations name."""

from lightvec.sqlalchemy.types import SPARSEVEC

__all__ = ["SPARSEVEC"]
