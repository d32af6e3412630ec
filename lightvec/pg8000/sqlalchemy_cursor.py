"""The cursor for SQLAlchemy's dialect of pg8000, which expects of its driver what lightvec does otherwise.

Only a connection that the dialect has set up hands out this one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightvec.pg8000 import dbapi
from lightvec.pg8000.dbapi import Cursor
from lightvec.wire.execute import execute
from lightvec.wire.placeholders import convert

if TYPE_CHECKING:
    from lightvec.pg8000.dbapi import Connection, Values

__all__ = ["DialectCursor", "is_of_sqlalchemy"]

_BIT, _BIT_ARRAY = 1560, 1561
_PAGE = re.compile(r"FETCH FORWARD (?:[0-9]+|ALL) FROM ([A-Za-z0-9_]+)")


def is_of_sqlalchemy(connection: Connection) -> bool:
    """Whether the dialect has set the connection up: it registers the type of its names.

    SQLAlchemy's own type for bits takes text, lightvec's takes either.
    """
    names = getattr(sys.modules.get("sqlalchemy.sql.elements"), "quoted_name", None)
    if names not in connection.py_types:
        return False
    if _BIT not in connection.pg_types:
        connection.register_in_adapter(_BIT, str)
        connection.register_in_adapter(_BIT_ARRAY, _texts)
    return True


class DialectCursor(Cursor):
    """A cursor that does as pg8000 does where the dialect writes the statements."""

    #: The cursor on the server that was read last, and the formats of its columns.
    _page: tuple[str, Sequence[int]] = ("", ())

    def execute(
        self,
        operation: str,
        args: Values | None = None,
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> Cursor:
        """Run a statement; from the second page of a cursor on the server, its vectors come as binary.

        The columns of such a cursor never change, and the dialect gives each a name of its own.
        """
        page = _PAGE.fullmatch(operation) if isinstance(operation, str) and not args else None
        if page is None:
            return super().execute(operation, args, stream, settings=settings)
        name, known = self._page
        self._page = "", ()
        session = self.connection.session
        result = execute(session, operation, row_class=tuple, result_formats=known if name == page[1] else ())
        self._page = page[1], session.adapters.result_formats(result.columns)
        self._take(result)
        return self

    def _dollars(self, operation: str, args: Values) -> tuple[str, Sequence[Any]]:
        """The dialect doubles no percent sign within a string, and gives a multirange as a list of ranges."""
        statement, values = convert(dbapi.paramstyle, operation, args, keep_strings=True)
        text = self.connection.session.adapters.multirange_text
        return statement, [text(value) if _holds_ranges(value) else value for value in values]


def _holds_ranges(value: Any) -> bool:
    types = sys.modules.get("pg8000.types")
    if types is None or not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, types.Range) for each in value)


def _texts(data: str) -> Any:
    from lightvec.types.arrays import parse_array

    return parse_array(data, str)
