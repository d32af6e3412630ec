"""Databases, users and applications by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from lightvec.errors import InvalidOption
from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server import Server
from tests.cases import for_each
from tests.names.hostile import HOSTILE, IMPOSSIBLE, LONG, cut, shown

Rename = Callable[[str, str], None]


@pytest.fixture(scope="module")
def rename(server: Server) -> Iterator[Rename]:
    """Gives the one database, or the one role, of this module another name; the names that these are cut to are taken.

    To make one for each name would take long.
    """
    current = {"DATABASE": "names", "ROLE": "names"}

    def named(kind: str, name: str) -> None:
        if name == current[kind]:
            return
        # The server quotes, not lightvec.
        rows: Any = admin.run(
            "SELECT format('ALTER ' || :kind || ' %I RENAME TO %I', CAST(:old AS text), CAST(:new AS text))",
            kind=kind,
            old=current[kind],
            new=name,
        )
        admin.run(rows[0][0])
        current[kind] = name

    with connect(server.url) as admin:
        admin.run("CREATE ROLE names LOGIN")
        admin.run("CREATE DATABASE names STRATEGY file_copy")
        yield named
        named("DATABASE", "names")
        admin.run("DROP DATABASE names")
        named("ROLE", "names")
        admin.run("DROP ROLE names")


def where(connection: Connection) -> Any:
    rows: Any = connection.run("SELECT current_database(), current_user")
    return rows[0]


def spellings(server: Server, name: str) -> list[dict[str, Any]]:
    """A database's name as a parameter, in a keyword string and in a URI."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return [
        {"dsn": server.url, "database": name},
        {"dsn": f"dbname='{escaped}' host='{server.socket_folder}' user=postgres"},
        {"dsn": server.url.replace("/postgres?", f"/{quote(name, safe='')}?")},
    ]


@for_each("name", HOSTILE, shown)
def test_a_database(server: Server, rename: Rename, name: str) -> None:
    rename("DATABASE", name)
    for spelling in spellings(server, name):
        with connect(**spelling) as connection:
            assert where(connection) == [name, "postgres"]


@for_each("name", HOSTILE, shown)
def test_a_database_in_peewees_form(server: Server, rename: Rename, name: str) -> None:
    """A name that reads as a connection string is refused, or is one; none is trimmed to another."""
    rename("DATABASE", name)
    database = Pg8000Database(name, host=str(server.socket_folder), user="postgres")
    is_plain = not re.search("[:/@=]", name) and name.strip() == name
    try:
        database.connect()
    except InvalidOption:
        assert not is_plain
    else:
        assert database.execute_sql("SELECT current_database()").fetchone() == ((name if is_plain else "postgres"),)
    finally:
        database.close()


@for_each("name", LONG, shown)
def test_a_database_whose_name_is_cut_off(server: Server, rename: Rename, name: str) -> None:
    rename("DATABASE", cut(name))
    for spelling in spellings(server, name):
        with pytest.raises(InvalidOption, match=r"dbname from .* at most 63 bytes"):
            connect(**spelling)


@for_each("name", HOSTILE, shown)
def test_a_user(server: Server, rename: Rename, name: str) -> None:
    rename("ROLE", name)
    with connect(server.url, user=name) as connection:
        assert where(connection) == ["postgres", name]


@for_each("name", HOSTILE, shown)
def test_a_user_that_is_not_there(server: Server, rename: Rename, name: str) -> None:
    rename("ROLE", "names")
    with pytest.raises(OperationalError, match="does not exist"):
        connect(server.url, user=name)


@for_each("name", [*HOSTILE, *LONG], shown)
def test_an_application(server: Server, name: str) -> None:
    """The server's word for it: other bytes than ASCII's printable ones are escaped, and it is cut off."""
    printable = re.sub(rb"[^ -~]", lambda byte: b"\\x%02x" % byte[0][0], cut(name).encode()).decode()
    with connect(server.url, application_name=name) as connection:
        assert connection.run("SHOW application_name") == [[printable]]


@pytest.mark.parametrize("parameter", ["database", "user", "application_name", "options"])
@for_each("name", [name for name in IMPOSSIBLE if name], shown)
def test_what_cannot_be_sent(server: Server, parameter: str, name: str) -> None:
    with pytest.raises(InvalidOption, match=r"NUL|Unicode"):
        connect(server.url, **{parameter: name})


@pytest.mark.parametrize("parameter", ["database", "user", "application_name", "options"])
@pytest.mark.parametrize("value", [["a"], object()], ids=["list", "object"])
def test_what_is_no_text(server: Server, parameter: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match="text, not an object of class"):
        connect(server.url, **{parameter: value})
