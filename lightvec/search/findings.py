"""What was found, and what to do about it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

__all__ = ["NOTE", "OK", "PROBLEM", "Finding", "index_command", "shown_size", "told_name"]

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    ``level`` is ``"ok"``, ``"note"`` (good to know) or ``"problem"``. ``code`` stays the same from release to release,
    ``subject`` is what it is about, ``what`` a sentence, and ``remedy`` what to do, empty where nothing is to be done.

    >>> print(Finding("problem", "no_index", "doc.embedding", "there is no index on it", "create one"))
    there is no index on it; create one
    """

    level: str
    code: str
    subject: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.what, self.remedy)))


def told_name(schema: str, name: str) -> str:
    """The name of a table or an index as it is told.

    >>> told_name("public", "doc"), told_name("tenant_1", "doc")
    ('doc', 'tenant_1.doc')
    """
    return name if schema == "public" else f"{schema}.{name}"


def index_command(table: str, schema: str | None = None, **options: str | None) -> str:
    """The command that builds or repairs an index on a table; on a temporary one only its own session can.

    >>> index_command("my docs", "public", metric="cosine")
    "lightvec create-index 'my docs' --metric cosine"
    """
    if schema == "pg_temp":
        return "CREATE INDEX in the session of this temporary table"
    words = ["lightvec", "create-index", table]
    given = {"schema": None if schema == "public" else schema, **options}
    for name, value in given.items():
        if value is not None:
            words += (f"--{name.replace('_', '-')}", value)
    return shlex.join(words)


def shown_size(size: float) -> str:
    """A number of bytes as PostgreSQL would write it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 10 * 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GB" if size < 100 else f"{size:,.0f} GB"
