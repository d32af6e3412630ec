"""hstore: PostgreSQL's extension for flat maps of text, as Peewee's HStoreField uses it."""

from __future__ import annotations

import re
from typing import Any

from lightvec.pg8000.exceptions import ProgrammingError
from lightvec.pg8000.parameters import Dumper
from lightvec.pg8000.wire import Wire

__all__ = ["from_text", "register_hstore", "to_text"]

#: One pair as hstore_out writes it (contrib/hstore/hstore_io.c): both quoted, the value NULL where it is none.
_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"=>(?:NULL|"((?:[^"\\]|\\.)*)")(?:, |$)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def register_hstore(conn: Wire) -> None:
    """Send a dict as hstore and read hstore as a dict on this connection; one round trip.

    :class:`~lightvec.pg8000.exceptions.ProgrammingError` where the extension is not installed.
    """
    found = conn.execute_unnamed("SELECT oid, typarray FROM pg_catalog.pg_type WHERE oid = to_regtype('hstore')").rows
    if not found:
        raise ProgrammingError("the database has no type hstore: run CREATE EXTENSION hstore")
    oid, array_oid = found[0]
    conn.register_dumper(dict, Dumper(oid, array_oid, to_text))
    conn.register_in_adapter(oid, from_text)


def to_text(value: dict[str, str | None]) -> str:
    """A dict as hstore's text.

    >>> to_text({"a": "1", "b": None})
    '"a"=>"1","b"=>NULL'
    """
    return ",".join(f"{_quoted(key)}=>{_quoted(item)}" for key, item in value.items())


def from_text(text: str) -> dict[str, str | None]:
    """A dict from hstore's text.

    >>> from_text('"a"=>"1", "b"=>NULL')
    {'a': '1', 'b': None}
    """
    pairs = _PAIR.finditer(text)
    return {_plain(pair[1]): None if pair[2] is None else _plain(pair[2]) for pair in pairs}


def _quoted(text: Any) -> str:
    if text is None:
        return "NULL"
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted)
