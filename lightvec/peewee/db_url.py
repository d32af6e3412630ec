"""``pg8000://`` and ``pg8000+pool://`` in ``playhouse.db_url``, without loading it for those who do not use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["register"]

_MODULE = "playhouse.db_url"


def register() -> None:
    """Add the two schemes now if ``playhouse.db_url`` is loaded, else when the program loads it."""
    if _MODULE in sys.modules:
        _add_schemes(sys.modules[_MODULE])
    elif not any(isinstance(finder, _WhenLoaded) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenLoaded())


def _add_schemes(db_url: ModuleType) -> None:
    from lightvec.peewee.database import Pg8000Database
    from lightvec.peewee.pool import PooledPg8000Database

    db_url.register_database(Pg8000Database, "pg8000")
    db_url.register_database(PooledPg8000Database, "pg8000+pool")


class _WhenLoaded(MetaPathFinder):
    """Finds one module, once, with a loader that adds the schemes behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader)
        return spec


class _Then(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _add_schemes(module)
