"""What PostgreSQL can store, in one place.

The numbers are pgvector's ``VECTOR_MAX_DIM`` (vector.h), ``HALFVEC_MAX_DIM`` (halfvec.h),
``SPARSEVEC_MAX_DIM`` and ``SPARSEVEC_MAX_NNZ`` (sparsevec.h), and the longest ``bit(n)`` that PostgreSQL
declares.
"""

from __future__ import annotations

from lightvec.errors import InvalidVector
from lightvec.types._messages import show_number

MAX_DIMENSIONS = 16_000
MAX_SPARSE_DIMENSIONS = 1_000_000_000
MAX_SPARSE_NONZERO = 16_000
MAX_BITS = 83_886_080


def require_size(size: int, most: int, who: str, unit: str = "dimensions") -> None:
    """Raise :class:`InvalidVector` unless ``1 <= size <= most``."""
    if not 1 <= size <= most:
        # An iterable is read no further than one item past the limit, so its real size is not known.
        came = f"more than {most:,}" if size == most + 1 else show_number(size)
        raise InvalidVector(f"{who} expected 1 to {most:,} {unit} and got {came}.")
