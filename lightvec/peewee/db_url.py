"""``pg8000://`` and ``pg8000+pool://`` in ``playhouse.db_url``, without loading it for those who do not use it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["register"]

_MODULE = "playhouse.db_url"


def register() -> None:
    """Add the two schemes now if ``playhouse.db_url`` is loaded, else when the program loads it."""
    if _MODULE in sys.modules:
        _add_schemes(sys.modules[_MODULE])
    elif _WhenLoaded not in sys.meta_path:
        sys.meta_path.insert(0, _WhenLoaded)


def _add_schemes(db_url: Any) -> None:
    from lightvec.peewee.database import Pg8000Database
    from lightvec.peewee.pool import PooledPg8000Database

    db_url.register_database(Pg8000Database, "pg8000")
    db_url.register_database(PooledPg8000Database, "pg8000+pool")


class _WhenLoaded:
    """Finds one module, once. Importing that module here costs 5 ms, importlib.abc for a proper finder 7."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _MODULE:
            return None
        sys.meta_path.remove(cls)
        from importlib.util import find_spec

        spec: Any = find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                _add_schemes(module)

            spec.loader.exec_module = exec_module
        return spec
