"""What SQLAlchemy's dialect for pg8000 takes for granted of its driver, and lightvec's wire does otherwise."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pg8000.converters import range_out
from pg8000.types import Range

from lightvec.pg8000.loading import LoadingWire
from lightvec.pg8000.messages import Parameter
from lightvec.pg8000.results import BIT, BIT_ARRAY, Decoder, Result
from lightvec.types import Bit
from lightvec.types.array_texts import parse_array

__all__ = ["DialectWire"]

_PAGE = re.compile(r"FETCH FORWARD (?:[0-9]+|ALL) FROM ([A-Za-z0-9_]+)")


class DialectWire(LoadingWire):
    """A wire that does as pg8000 does where SQLAlchemy's dialect for it writes the statements."""

    #: The cursor on the server that was read last, and the formats of its columns.
    _page: tuple[str, Sequence[int]] = ("", ())

    @property
    def serves_sqlalchemy(self) -> bool:
        """Whether it does. The dialect registers the type of its names on each of its connections."""
        names = getattr(sys.modules.get("sqlalchemy.sql.elements"), "quoted_name", None)
        return names in self.py_types

    def parameters(self, vals: Sequence[Any], oids: Sequence[int | None] = ()) -> list[Parameter]:
        """The values as they are sent; a list of ranges is a multirange to the dialect, not an array."""
        if self.serves_sqlalchemy:
            vals = [_multirange(value) if _holds_ranges(value) else value for value in vals]
        return super().parameters(vals, oids)

    def execute_unnamed(self, statement: str, *args: Any, formats: Sequence[int] | None = None, **kw: Any) -> Result:
        """Run one statement; from the second page of a cursor on the server, its vectors come as binary.

        A cursor's columns never change, and the dialect gives each a name of its own.
        """
        page = _PAGE.fullmatch(statement) if formats is None and self.serves_sqlalchemy else None
        if page is None:
            return super().execute_unnamed(statement, *args, formats=formats, **kw)
        name, known = self._page
        self._page = "", ()
        result = super().execute_unnamed(statement, *args, formats=known if name == page[1] else (), **kw)
        self._page = page[1], self.binary_formats(result)
        return result

    def decoder(self, column: Mapping[str, Any]) -> Decoder:
        """How a column is read; SQLAlchemy's own type for bits takes text, lightvec's takes either."""
        decode = super().decoder(column)
        if column["type_oid"] not in (BIT, BIT_ARRAY) or not self.serves_sqlalchemy:
            return decode
        if column["type_oid"] == BIT:
            return lambda data: decode(data).to_text()
        return lambda data: parse_array(data.decode("ascii"), lambda bits: Bit.from_text(bits).to_text())


def _holds_ranges(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(element, Range) for element in value)


def _multirange(value: list[Range]) -> str:
    return "{" + ",".join(map(range_out, value)) + "}"
