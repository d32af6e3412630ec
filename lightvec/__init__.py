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

if TYPE_CHECKING:
    from lightvec.pg8000 import connect
    from lightvec.types import Bit, HalfVector, SparseVector, Vector

__version__ = "0.1.0"
__all__ = ["Bit", "HalfVector", "SparseVector", "Vector", "__version__", "connect", "errors"]


def __getattr__(name: str) -> Any:
    # The command line starts in half the time without the types, which nearly everybody else asks for at once.
    if name == "connect":
        from lightvec.pg8000 import connect as value
    elif name in ("Bit", "HalfVector", "SparseVector", "Vector"):
        from lightvec import types

        value = getattr(types, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
