"""Settings, savepoints, cursors on the server and procedures."""

from __future__ import annotations

from typing import Any

import pytest

from lightvec.errors import InvalidOption, LightvecError
from lightvec.pg8000 import Connection, connect, dbapi
from tests.cases import for_each
from tests.names.conftest import House
from tests.names.hostile import HOSTILE, NO_TEXT, REFUSED, shown


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
@for_each("value", HOSTILE, shown)
def test_a_settings_value(conn: Connection, value: str, inside: bool) -> None:
    def ask() -> Any:
        return conn.run("SELECT current_setting('names.value')", settings={"names.value": value})

    if not inside:
        assert ask() == [[value]]
        return
    with conn.transaction():
        conn.run("SELECT set_config('names.value', :former, true)", former="former")
        assert ask() == [[value]]
        assert conn.run("SHOW names.value") == [["former"]]


@for_each("name", [*HOSTILE, *REFUSED], shown)
def test_a_settings_name(conn: Connection, name: str) -> None:
    """A setting has dots and letters in its name; the server, which gets it as a parameter, refuses all others."""

    def ask() -> Any:
        return conn.run("SELECT current_setting(:name)", name=name, settings={name: "x"})

    if name == "a.b":
        assert ask() == [["x"]]
        return
    with pytest.raises(dbapi.Error) as refusal:
        ask()
    assert refusal.value.sqlstate in (None, "42602", "42704"), "never a syntax error"


@for_each("name", NO_TEXT[:-1], shown)
def test_a_settings_name_that_is_no_text(conn: Connection, name: Any) -> None:
    with pytest.raises(dbapi.InterfaceError, match="expected a setting's name"):
        conn.run("SELECT 1", settings={name: "x"})
    with pytest.raises(dbapi.InterfaceError, match="expected a setting's value"):
        conn.run("SELECT 1", settings={"names.value": b"x"})
    assert conn.run("SELECT 1") == [[1]]


@for_each("name", HOSTILE, shown)
@pytest.mark.parametrize("withhold", [False, True])
def test_a_cursor_on_the_server(house: House, name: str, withhold: bool) -> None:
    with dbapi.connect(house.url) as connection:
        cursor = connection.cursor(name, withhold=withhold)
        cursor.execute("SELECT name FROM pg_cursors WHERE name = %s", (name,))
        if withhold:
            connection.commit()
        cursor.fetchall()
        asked = "SELECT name FROM pg_cursors WHERE name <> ''"
        assert connection.cursor().execute(asked).fetchall() == [(name,)]
        cursor.close()
        assert connection.cursor().execute(asked).fetchall() == []


@for_each("name", [*REFUSED, *NO_TEXT[1:]], shown)
def test_no_cursors_name(house: House, name: Any) -> None:
    with dbapi.connect(house.url) as connection, pytest.raises(InvalidOption, match="expected a name"):
        connection.cursor(name)


@for_each("name", [name for name in HOSTILE if "." not in name], shown)
def test_a_procedure(house: House, name: str) -> None:
    house.run("CREATE SCHEMA %I", name)
    house.run("CREATE PROCEDURE %I.%I(number int) LANGUAGE sql AS ''SELECT number''", name, name)
    with dbapi.connect(house.url) as connection, connection.cursor() as cursor:
        cursor.callproc(f"{name}.{name}", (1,))
        with pytest.raises(dbapi.ProgrammingError) as error:
            cursor.callproc(name, (1,))
        assert error.value.sqlstate == "42883", "undefined, in the schemas of the search path"


@for_each("name", [*REFUSED, ".", "a.", ".a", "a..b"], shown)
def test_no_procedure(house: House, name: str) -> None:
    with dbapi.connect(house.url) as connection, pytest.raises(InvalidOption, match="expected a name"):
        connection.cursor().callproc(name)


def test_savepoints_of_a_name_of_ours(house: House) -> None:
    """``transaction()`` names its savepoints itself; those of the caller, of whatever name, are left alone."""
    with connect(house.url) as connection, connection.transaction():
        connection.run('SAVEPOINT "a""b"')
        with pytest.raises(LightvecError), connection.transaction():
            connection.run('ROLLBACK TO SAVEPOINT "lightvec_2"')
        connection.run('RELEASE SAVEPOINT "a""b"')
