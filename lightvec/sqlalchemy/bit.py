"""``BIT`` at the path that pgvector's migrations name."""

from lightvec.sqlalchemy.types import BIT

__all__ = ["BIT"]
