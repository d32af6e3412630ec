"""Vector search in PostgreSQL (pgvector) where nothing may be compiled.

``import lightvec`` loads the standard library only; what needs a driver, an ORM or a server is imported when it is
first used.

>>> from lightvec import Vector
>>> Vector([1, 2, 3])
Vector([1.0, 2.0, 3.0])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightvec import errors
from lightvec.types import Bit, HalfVector, SparseVector, Vector

if TYPE_CHECKING:
    from lightvec.pg8000 import connect

__version__ = "0.1.0"
__all__ = ["Bit", "HalfVector", "SparseVector", "Vector", "__version__", "connect", "errors"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from lightvec.pg8000 import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
