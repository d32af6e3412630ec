"""pg8000, loaded without what most connections never use.

pg8000 imports scramp (passwords by SCRAM, which lightvec has its own way for) and dateutil (unusual dates) as it is
loaded. From a fresh interpreter to a first search they took 14 and 8 of 120 ms. So both have a stand-in while pg8000 is
loaded, and are loaded themselves when pg8000 first uses them.

A program that has loaded one of the three before has it as it is. Stand-ins are in ``sys.modules`` only while pg8000 is
loaded; another thread that meets one there in this time can use it as the module.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["load_pg8000"]


def load_pg8000() -> None:
    """Load pg8000 if it is not yet loaded."""
    if "pg8000" in sys.modules:
        return
    stand_ins = [module for module in (_StandIn("scramp"), _Parser()) if module.__name__ not in sys.modules]
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        import_module("pg8000.dbapi")
        import_module("pg8000.native")
    finally:
        for module in stand_ins:
            module.withdraw()


class _StandIn(ModuleType):
    """A module that hands on whatever is asked of it, and loads the real one for that."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # What the import system asks a module for is no use of it.
            raise AttributeError(name)
        self.withdraw()
        return getattr(import_module(self.__name__), name)

    def withdraw(self) -> None:
        """Make way for the real module."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


class ParserError(ValueError):
    """What pg8000 expects of dateutil for a text that is no date."""


class _Parser(_StandIn):
    """Stands in for ``dateutil.parser``, with the two names that pg8000 takes out of it as it is loaded."""

    ParserError = ParserError

    def __init__(self) -> None:
        super().__init__("dateutil.parser")

    @staticmethod
    def parse(text: str) -> Any:
        """dateutil's ``parse``."""
        parser = import_module("dateutil.parser")
        try:
            return parser.parse(text)
        except parser.ParserError as error:
            raise ParserError(str(error)) from error
