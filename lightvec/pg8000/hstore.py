"""hstore: PostgreSQL's extension for flat maps of text, as Peewee's HStoreField uses it."""

from __future__ import annotations

import re

from lightvec.pg8000.connection import BaseConnection
from lightvec.types.arrays import quoted
from lightvec.types.inputs import show
from lightvec.wire.errors import ProgrammingError
from lightvec.wire.execute import ask
from lightvec.wire.parameters import Dumper

_TEXT = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
#: A pair as hstore_out writes it (contrib/hstore/hstore_io.c).
_PAIR = re.compile(rf"{_TEXT}=>(?:NULL|{_TEXT})(?:, (?!\Z)|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def register_hstore(conn: BaseConnection) -> None:
    """Send a dict as hstore and read hstore as a dict on this connection; one round trip."""
    found = ask(
        conn.session,
        "SELECT oid, typarray FROM pg_catalog.pg_type WHERE oid = to_regtype('hstore')",
        read=lambda oid, array_oid: (int(oid), int(array_oid)),
    )
    if not found:
        raise ProgrammingError("the database has no type hstore: run CREATE EXTENSION hstore")
    ((oid, array_oid),) = found
    conn.session.adapters.py_types[dict] = Dumper(oid, array_oid, to_text)
    conn.register_in_adapter(oid, from_text)


def to_text(value: dict[str, str | None]) -> str:
    """A dict as hstore's text.

    >>> to_text({"a": "1", "b": None})
    '"a"=>"1","b"=>NULL'
    """
    items = ((quoted(str(key)), "NULL" if item is None else quoted(str(item))) for key, item in value.items())
    return ",".join(map("=>".join, items))


def from_text(text: str) -> dict[str, str | None]:
    """A dict from hstore's text; ``ValueError`` for another text.

    >>> from_text('"a"=>"1", "b"=>NULL')
    {'a': '1', 'b': None}
    """
    pairs: dict[str, str | None] = {}
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ValueError(f"expected pairs of an hstore, got {show(text)}")
        pairs[_plain(pair[1])] = None if pair[2] is None else _plain(pair[2])
        position = pair.end()
    return pairs


def _plain(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted)
