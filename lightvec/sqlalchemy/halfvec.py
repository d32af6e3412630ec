"""``HALFVEC`` at the path that pgvector's migrations name."""

from lightvec.sqlalchemy.types import HALFVEC

__all__ = ["HALFVEC"]
