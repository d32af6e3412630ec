"""Everything that a program does with a connection, each from its login on.

A use is run against a real server, which is written down, and against servers that say something else.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import peewee

from lightvec import Bit, SparseVector, Vector
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.connection import BaseConnection
from lightvec.pg8000.hstore import register_hstore
from tests.fuzz.player import recording
from tests.pg8000.beside import ARRAYS, SCALARS, VECTORS

__all__ = ["USES", "Opener", "Recordings", "prepared", "recorded"]

#: A role whose password the server asks for (``prepared``).
ROLE = "fuzzed"


class Opener:
    """Opens connections to one server, and keeps them to be looked at."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections: list[BaseConnection] = []

    def native(self, **params: Any) -> Connection:
        connection = connect(self.url, **params)
        self.connections.append(connection)
        return connection

    def cursor(self) -> dbapi.Cursor:
        connection = dbapi.connect(self.url)
        self.connections.append(connection)
        return connection.cursor()

    @contextmanager
    def peewee(self) -> Iterator[None]:
        """A database for the model, while this lasts."""
        opener = self

        class Database(Pg8000Database):
            def _connect(self) -> dbapi.Connection:
                connection = super()._connect()
                opener.connections.append(connection)
                return connection

        database = Database(self.url)
        with database.bind_ctx([Item]):
            yield

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


class Item(peewee.Model):
    id: Any
    title: Any = peewee.TextField(null=True)
    embedding: Any = VectorField(3, metric="l2", null=True)

    class Meta:
        table_name = "fuzz_item"


Use = Callable[[Opener], Any]

V = Vector([1, 2, 3])
_SELECT = "SELECT id, title, embedding FROM fuzz_item ORDER BY id"
_KINDS = [kind for kind in [*SCALARS, *VECTORS, *ARRAYS] if kind.base != "mood"]


def login(opener: Opener) -> Any:
    return opener.native().server_version


def login_with_password(opener: Opener) -> Any:
    return opener.native(user=ROLE, password="it's secret").server_version


def login_to_a_primary(opener: Opener) -> Any:
    """Which is asked for where the server does not say it."""
    return opener.native(target_session_attrs="read-write").parameter_statuses


def hstore(opener: Opener) -> Any:
    conn = opener.native()
    register_hstore(conn)
    return conn.run("SELECT :v::hstore", v={"a": "1", "b": None})


def run(opener: Opener) -> Any:
    """The second time vectors come as binary."""
    conn = opener.native()
    return [conn.run(f"{_SELECT} LIMIT :n", n=3) for _ in range(2)] + [conn.run("SELECT :v", v=V)]


def run_texts(opener: Opener) -> Any:
    conn = opener.native()
    return conn.run("EXPLAIN SELECT title FROM fuzz_item"), conn.run("SHOW work_mem"), conn.row_count


def run_statements(opener: Opener) -> Any:
    conn = opener.native()
    return conn.run("SELECT 1; CREATE TEMPORARY TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT a FROM t")


def run_with_settings(opener: Opener) -> Any:
    conn = opener.native()
    outside = conn.run(_SELECT, settings={"hnsw.ef_search": 50})
    with conn.transaction():
        return outside, conn.run(_SELECT, settings={"hnsw.ef_search": 50}), conn.run("SELECT 1")


def run_what_fails(opener: Opener) -> Any:
    """With notices and notifications in between."""
    conn = opener.native()
    conn.run("LISTEN fuzz; NOTIFY fuzz, 'x'")
    conn.run("DO $$ BEGIN RAISE NOTICE 'é %', 1; RAISE WARNING USING MESSAGE = 'w', DETAIL = 'd', HINT = 'h'; END $$")
    with suppress(dbapi.DataError):
        conn.run("SELECT 1 / :n", n=0)
    return conn.run("SELECT 1"), conn.notifications, conn.notices


def run_types(opener: Opener) -> Any:
    """A column for each type that there is."""
    conn = opener.native()
    answers = []
    for values in _short_values():
        casts = ", ".join(f"CAST(:{name} AS {kind.declared})" for name, kind in zip(values, _KINDS, strict=True))
        answers += [conn.run(f"SELECT {casts}", **values) for _ in range(2)]
    return answers


@cache
def _short_values() -> list[dict[str, Any]]:
    """The first and the last value of each type that is not long."""
    short = [[value for value in kind.values if len(str(value)) < 1_000] for kind in _KINDS]
    return [
        {f"v{number}": kind.for_ours(short[number][place]) for number, kind in enumerate(_KINDS)} for place in (0, -1)
    ]


def copy_in(opener: Opener) -> Any:
    conn = opener.native()
    conn.run("CREATE TEMPORARY TABLE c (a int, b text)")
    conn.run("COPY c FROM STDIN", stream=["1\tx\n", "2\ty\n"])
    return conn.row_count


def copy_out(opener: Opener) -> Any:
    conn, binary, text = opener.native(), io.BytesIO(), io.StringIO()
    conn.run("COPY (SELECT id, title FROM fuzz_item) TO STDOUT (FORMAT binary)", stream=binary)
    conn.run("COPY (SELECT id, title FROM fuzz_item) TO STDOUT", stream=text)
    return binary.getvalue(), text.getvalue()


def copy_rows(opener: Opener) -> Any:
    conn = opener.native()
    conn.run("CREATE TEMPORARY TABLE c (id int PRIMARY KEY, title text, embedding vector(3))")
    rows = [(number, f"é {number}", [number, 1, 2]) for number in range(4)]
    return [
        conn.copy_rows("c", ["id", "title", "embedding"], rows, on_conflict=rule) for rule in (None, "ignore", "update")
    ]


def copy_columns(opener: Opener) -> Any:
    cursor = opener.cursor()
    cursor.execute("CREATE TEMPORARY TABLE c (id int, r int4range)")
    return [cursor.connection.copy_columns("c", {"id": [1, 2]}) for _ in range(2)]


def stream(opener: Opener) -> Any:
    conn = opener.native()
    first = list(conn.stream(_SELECT, batch=2))
    with conn.transaction():
        return first, list(conn.stream(_SELECT, batch=3, settings={"hnsw.ef_search": 50}))


def fetch_columns(opener: Opener) -> Any:
    conn = opener.native()
    columns = "id, id::int8 AS big, id::float4 AS f, id > 2 AS b, title, embedding, embedding::halfvec(3) AS half"
    return [conn.fetch_columns(f"SELECT {columns} FROM fuzz_item WHERE id > :n", n=n) for n in (0, 2, 99)]


def execute_many(opener: Opener) -> Any:
    cursor = opener.cursor()
    cursor.execute("CREATE TEMPORARY TABLE m (id int, v vector(3))")
    cursor.executemany("INSERT INTO m VALUES (%s, %s)", [(number, V) for number in range(5)])
    first = cursor.rowcount
    cursor.executemany("UPDATE m SET id = %s RETURNING id", [(1,), (2,)])
    cursor.connection.commit()
    return first, cursor.rowcount


def cursor_on_the_server(opener: Opener) -> Any:
    connection: Any = opener.cursor().connection
    with connection.cursor("c") as cursor:
        cursor.itersize = 2
        cursor.execute(_SELECT)
        return cursor.description, cursor.fetchone(), cursor.fetchmany(2), cursor.fetchall()


def cursor(opener: Opener) -> Any:
    cursor = opener.cursor()
    cursor.execute("SELECT id, %s FROM fuzz_item", (Bit("101"),))
    found = cursor.description, cursor.fetchmany(2), cursor.fetchall()
    cursor.execute("SELECT %s", (SparseVector({1: 2.0}, 5),))
    last = cursor.fetchone()
    cursor.connection.rollback()
    return found, last


def peewee_select(opener: Opener) -> Any:
    with opener.peewee():
        return [(item.id, item.title, item.embedding) for item in Item.select().order_by(Item.id)]


def peewee_nearest(opener: Opener) -> Any:
    with opener.peewee():
        query = Item.embedding.nearest([1, 2, 3], k=3, ef_search=50)
        return [(item.title, getattr(item, "distance", None)) for item in query]


def peewee_iterator(opener: Opener) -> Any:
    """More than a page of rows."""
    with opener.peewee():
        numbers = peewee.SQL("fuzz_numbers")
        query = peewee.Select([numbers], [peewee.SQL("n")]).bind(Item._meta.database)
        return sum(1 for _ in query.iterator())


USES: dict[str, Use] = {
    use.__name__: use
    for use in (
        *(login, login_with_password, login_to_a_primary, hstore),
        *(run, run_texts, run_statements, run_with_settings, run_what_fails, run_types),
        *(copy_in, copy_out, copy_rows, copy_columns, stream, fetch_columns, execute_many),
        *(cursor, cursor_on_the_server, peewee_select, peewee_nearest, peewee_iterator),
    )
}


def prepared(url: str) -> None:
    """Make what the uses need: tables, and a role whose password the server asks for."""
    with connect(url) as conn:
        conn.run(
            "DROP TABLE IF EXISTS fuzz_item, fuzz_numbers; "
            "CREATE TABLE fuzz_item (id serial PRIMARY KEY, title text, embedding vector(3)); "
            "CREATE TABLE fuzz_numbers (n int); INSERT INTO fuzz_numbers SELECT generate_series(1, 1200)"
        )
        rows = [("tea", V), ("é", Vector([3, 2, 1])), (None, None), ("", V), ("x" * 300, V)]
        conn.copy_rows("fuzz_item", ["title", "embedding"], rows)
        folder = (conn.run("SHOW data_directory") or [[""]])[0][0]
        _ask_for_a_password(conn, Path(folder, "pg_hba.conf"))


def _ask_for_a_password(conn: Connection, rules: Path) -> None:
    rule = f"local all {ROLE} scram-sha-256\n"
    if rule in rules.read_text():
        return
    rules.write_text(rule + rules.read_text())
    conn.run(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'it''s secret'; SELECT pg_reload_conf()")


class Recordings(dict[str, list[bytes]]):
    """What a real server said to each use, in turns."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self)})"


def recorded(url: str) -> Recordings:
    """Run each use on a real server, and write down what it says."""
    prepared(url)
    return Recordings({name: _recorded(use, url) for name, use in USES.items()})


def _recorded(use: Use, url: str) -> list[bytes]:
    with recording() as recorders:
        opener = Opener(url)
        use(opener)
        opener.close()
    (recorder,) = recorders
    return [turn for turn in recorder.turns if turn]
