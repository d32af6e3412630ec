"""A database with decoys in it, which no name may touch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import Connection, connect
from tests.cli.conftest import run, write_module
from tests.names.hostile import DECOYS

__all__ = ["House", "run", "write_module"]

_OURS = "nspname !~ '^pg_' AND nspname <> 'information_schema'"
_OBJECTS = f"""\
SELECT nspname, relname, relkind::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OURS}"""
_DECOYS = " UNION ALL ".join(["SELECT 'b', id FROM a.b", *(f"SELECT '{name}', id FROM \"{name}\"" for name in DECOYS)])
_CLEAR = f"""\
DO $clear$ DECLARE statement text; BEGIN
  FOR statement IN
    SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE {_OURS} AND nspname NOT IN ('public', 'a')
    UNION ALL
    SELECT format('DROP %s %I CASCADE', CASE relkind WHEN 'r' THEN 'TABLE' ELSE 'SEQUENCE' END, relname)
    FROM pg_class c WHERE relnamespace = 'public'::regnamespace
      AND (relkind = 'r' AND relname <> ALL ('{{{",".join(DECOYS)}}}')
        OR relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i')))
  LOOP EXECUTE statement; END LOOP;
END $clear$"""
_KINDS = {"table": "r", "index": "i", "sequence": "S"}


class House:
    """What stands in the database beside its decoys; names are quoted by the server here, not by lightvec."""

    def __init__(self, url: str, admin: Connection) -> None:
        self.url = url
        self._admin = admin

    def furnish(self) -> None:
        """Make the decoys, and another table by the name of one in a schema of its own."""
        self._admin.run("CREATE EXTENSION vector; CREATE SCHEMA a; CREATE TABLE a.b AS SELECT 1 AS id")
        for name in DECOYS:
            self.run("CREATE TABLE %I AS SELECT 1 AS id", name)
        self._kept = self._objects()
        self._rows = self.ask(_DECOYS)

    def run(self, template: str, *names: str) -> Any:
        """Run a statement in which the server puts these names, as its function format() quotes them; its rows."""
        values: dict[str, Any] = {f"v{index}": name for index, name in enumerate(names)}
        marks = "".join(f", CAST(:{value} AS text)" for value in values)
        rows: Any = self._admin.run(f"SELECT format('{template}'{marks})", **values)
        return self._admin.run(rows[0][0])

    def ask(self, sql: str, **values: Any) -> list[list[Any]]:
        rows: Any = self._admin.run(sql, **values)
        return list(rows)

    def tell(self, sql: str) -> None:
        """Run statements that give no rows."""
        self._admin.run(sql)

    def made(self, kind: str) -> set[tuple[str, str]]:
        """The schemas and names of the relations of a kind that were not there before."""
        return {(schema, name) for schema, name, found in self._objects() - self._kept if found == _KINDS[kind]}

    def columns(self, table: str, schema: str = "public") -> list[str]:
        """The names of a table's columns."""
        rows = self.ask(
            "SELECT attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n "
            "ON n.oid = relnamespace WHERE attnum > 0 AND relname = :table AND nspname = :schema ORDER BY attnum",
            table=table,
            schema=schema,
        )
        return [name for (name,) in rows]

    def check(self) -> None:
        """The decoys must be as they were."""
        assert self.ask(_DECOYS) == self._rows
        assert self._kept <= self._objects()

    def end_case(self) -> None:
        """Check the decoys and drop what was created."""
        self.check()
        self.tell(_CLEAR)

    def _objects(self) -> set[tuple[str, ...]]:
        return {tuple(row) for row in self.ask(_OBJECTS)}


@pytest.fixture(scope="package")
def furnished(make_database: Callable[[], str]) -> Iterator[House]:
    """The house of the whole folder."""
    url = make_database()
    with connect(url) as admin:
        house = House(url, admin)
        house.furnish()
        yield house


@pytest.fixture
def house(furnished: House) -> Iterator[House]:
    """The house for one test, which must leave the decoys as they are."""
    yield furnished
    furnished.end_case()


@pytest.fixture
def conn(house: House) -> Iterator[Connection]:
    """A connection to it."""
    with connect(house.url) as connection:
        yield connection


@pytest.fixture
def db(house: House) -> Iterator[Pg8000Database]:
    """A Peewee database on it."""
    database = Pg8000Database(house.url)
    with database.connection_context():
        yield database
