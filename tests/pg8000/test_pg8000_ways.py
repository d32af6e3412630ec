"""What pg8000's users write works here as it does there: each piece is run on both, and compared."""

from __future__ import annotations

import inspect
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from importlib.metadata import version
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pg8000
import pg8000.core
import pg8000.dbapi
import pg8000.exceptions
import pg8000.native
import psycopg
import pytest
import trustme
from pg8000.types import Range

import lightvec
import lightvec.pg8000
from lightvec import Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.dbapi import Error, OperationalError, ProgrammingError
from lightvec.wire.libpq.target import Address
from tests.relay import socket_of
from tests.tls.certificates import issued
from tests.tls.postgres import DATABASE, PASSWORD, Postgres

ROOT = Path(lightvec.__file__).parents[1]

DRIVERS = {"pg8000": pg8000.native.Connection, "lightvec": Connection}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Any:
    """pg8000's class, which shows that what is asked for is so there, and ours."""
    return DRIVERS[request.param]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> Iterator[Postgres]:
    """A server on TCP, with TLS and without."""
    with Postgres() as postgres, postgres.serving(issued(authority, "127.0.0.1", "localhost")):
        yield postgres


def database_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


# The constructor


def test_the_parameters_have_pg8000s_names_and_order() -> None:
    ours = list(inspect.signature(Connection).parameters)
    theirs = list(inspect.signature(pg8000.core.CoreConnection).parameters)
    assert [name for name in ours if name in theirs] == theirs
    assert ours[0] == "user"


def test_a_unix_socket(driver: Any, url: str) -> None:
    with driver("postgres", database=database_of(url), unix_sock=socket_of(url)) as connection:
        assert connection.run("SELECT CAST(:a AS text), current_database()", a="x") == [["x", database_of(url)]]
    with driver(user="postgres", unix_sock=socket_of(url)) as connection:
        assert connection.run("SELECT current_database()::text") == [["postgres"]]


def test_a_unix_socket_that_is_missing(driver: Any) -> None:
    with pytest.raises(pg8000.exceptions.InterfaceError):
        driver("postgres", unix_sock="/not/there")


def test_a_port_where_nobody_is(driver: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(pg8000.exceptions.InterfaceError, match=r"127\.0\.0\.1"):
            driver("postgres", host="127.0.0.1", port=taken.getsockname()[1], timeout=5)


def test_without_a_user(driver: Any, url: str) -> None:
    with pytest.raises(pg8000.exceptions.InterfaceError, match="user"):
        driver(None, unix_sock=socket_of(url))


def needs(driver: Any, params: dict[str, Any]) -> None:
    """Old releases of pg8000 do not know ``startup_params``."""
    known = inspect.signature(pg8000.core.CoreConnection).parameters
    if driver is not Connection and "startup_params" in params and "startup_params" not in known:
        pytest.skip(f"not in pg8000 {version('pg8000')}")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"timeout": 5},
        {"timeout": 5.5},
        {"tcp_keepalive": False},
        {"source_address": ("127.0.0.1", 0)},
        {"ssl_context": False},
        {"application_name": "ways"},
        {"startup_params": {"geqo": "off"}},
        {"password": PASSWORD},
        {"password": PASSWORD.encode()},
        {"user": b"me", "database": DATABASE.encode()},
        {"host": "localhost"},
    ],
    ids=str,
)
def test_tcp(params: dict[str, Any], driver: Any, tls: Postgres) -> None:
    needs(driver, params)
    given = {"user": "me", "host": tls.host, "port": tls.port, "database": DATABASE, "password": PASSWORD} | params
    if isinstance(given["user"], bytes) and driver is Connection:
        given["password"] = PASSWORD
    with driver(**given) as connection:
        names = ["application_name", "geqo"]
        found = [connection.run(f"SHOW {name}")[0][0] for name in names]
        wanted = {"geqo": "on", "application_name": ""} | params | params.get("startup_params", {})
        assert found == [wanted[name] for name in names]
        assert connection.run("SELECT current_user::text") == [["me"]]


def test_what_a_server_is_asked_for_at_login(driver: Any, url: str) -> None:
    params = {"startup_params": {"IntervalStyle": "sql_standard", "TimeZone": "Asia/Kolkata"}}
    needs(driver, params)
    with driver("postgres", unix_sock=socket_of(url), **params) as connection:
        assert connection.run("SHOW IntervalStyle") == [["sql_standard"]]
        assert connection.run("SHOW TimeZone") == [["Asia/Kolkata"]]


def test_a_replication_connection(driver: Any, url: str) -> None:
    with driver("postgres", database="postgres", unix_sock=socket_of(url), replication="database") as connection:
        ((_, timeline, *_),) = connection.run("IDENTIFY_SYSTEM")
        assert timeline == 1


def test_a_timeout(driver: Any, url: str) -> None:
    """It is how long the socket may be silent; the connection is of no use afterwards."""
    connection = driver("postgres", unix_sock=socket_of(url), timeout=0.3)
    with pytest.raises((pg8000.exceptions.Error, TimeoutError)):
        connection.run("SELECT pg_sleep(3)")
    with suppress(Exception):
        connection.close()
    with driver("postgres", unix_sock=socket_of(url), timeout=2) as connection:
        assert connection.run("SELECT CAST(1 AS int)") == [[1]]


@pytest.mark.parametrize("right", [True, False])
def test_an_ssl_context(right: bool, driver: Any, tls: Postgres, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    (authority if right else trustme.CA()).configure_trust(context)
    params: dict[str, Any] = {"host": tls.host, "port": tls.port, "database": DATABASE, "password": PASSWORD}
    if not right:
        with pytest.raises((pg8000.exceptions.InterfaceError, ssl.SSLError)):
            driver("only_tls", ssl_context=context, **params)
        return
    with driver("only_tls", ssl_context=context, **params) as connection:
        assert connection.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [[True]]


def test_no_ssl_is_what_it_says(driver: Any, tls: Postgres) -> None:
    params: dict[str, Any] = {"host": tls.host, "port": tls.port, "database": DATABASE, "password": PASSWORD}
    with driver("me", ssl_context=False, **params) as connection:
        assert connection.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [[False]]
    with pytest.raises(pg8000.exceptions.DatabaseError):
        driver("only_tls", ssl_context=False, **params)


# An open socket


def test_a_tcp_socket(driver: Any, tls: Postgres) -> None:
    with (
        socket.create_connection((tls.host, tls.port)) as opened,
        driver("me", sock=opened, database=DATABASE, password=PASSWORD, ssl_context=False) as connection,
    ):
        assert connection.run("SELECT CAST(:a AS text)", a="x") == [["x"]]


def test_a_tcp_socket_with_tls(driver: Any, tls: Postgres, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    params: dict[str, Any] = {"database": DATABASE, "password": PASSWORD, "ssl_context": context, "host": tls.host}
    with (
        socket.create_connection((tls.host, tls.port)) as opened,
        driver("only_tls", sock=opened, **params) as connection,
    ):
        assert connection.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [[True]]


@pytest.fixture
def unix(url: str) -> Iterator[socket.socket]:
    """A socket that is connected to the server."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(socket_of(url))
        yield opened


@pytest.fixture
def tunnel(unix: socket.socket) -> Iterator[socket.socket]:
    """One end of a pair of sockets, behind whose other end the server is: what tunnels hand over."""
    ours, theirs = socket.socketpair()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=pump, args=ends, daemon=True) for ends in ((theirs, unix), (unix, theirs))]
    for thread in threads:
        thread.start()
    with ours, theirs:
        yield ours
        with suppress(OSError):
            theirs.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            unix.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


@pytest.mark.parametrize("kind", ["unix", "tunnel"])
def test_an_open_socket(kind: str, driver: Any, url: str, request: pytest.FixtureRequest) -> None:
    opened = request.getfixturevalue(kind)
    with driver("postgres", sock=opened, database=database_of(url), ssl_context=False) as connection:
        assert connection.run("SELECT CAST(:a AS text)", a="x" * 300_000) == [["x" * 300_000]]


@pytest.mark.parametrize("kind", ["unix", "tunnel"])
@pytest.mark.parametrize("how", ["connect", "dbapi"])
def test_what_lightvec_does_on_an_open_socket(how: str, kind: str, url: str, request: pytest.FixtureRequest) -> None:
    """Vectors, COPY, bounded memory; a tunnel's address is nobody's host, and no TLS is asked of it."""
    opened = request.getfixturevalue(kind)
    if how == "connect":
        with connect(sock=opened, user="postgres", dbname=database_of(url)) as connection:
            connection.run("CREATE TEMPORARY TABLE opened (id int, v vector(2))")
            rows = [[number, [number, 1]] for number in range(1_000)]
            assert connection.copy_rows("opened", ["id", "v"], rows) == 1_000
            assert sum(1 for _ in connection.stream("SELECT * FROM opened", batch=100)) == 1_000
            assert connection.run("SELECT v FROM opened WHERE id = :id", id=3) == [[Vector([3, 1])]]
    else:
        with dbapi.connect(sock=opened, user="postgres", dbname=database_of(url)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT %s::vector", (Vector([1, 2]),))
            assert cursor.fetchall() == [(Vector([1, 2]),)]


def test_an_open_socket_without_a_timeout_of_its_own(unix: socket.socket) -> None:
    """A blocking socket, or one with a timeout for connecting, as create_connection() leaves it."""
    unix.settimeout(0.3)
    with Connection("postgres", sock=unix, ssl_context=False) as connection:
        assert connection.run("SELECT CAST(1 AS int), pg_sleep(0.6)::text") == [[1, ""]]


@pytest.mark.parametrize("cls", ["native", "dbapi"])
def test_both_classes_take_them(cls: str, url: str) -> None:
    params: dict[str, Any] = {"unix_sock": socket_of(url), "database": database_of(url)}
    if cls == "native":
        with Connection("postgres", **params) as connection:
            assert connection.run("SELECT CAST(:v AS vector)", v=Vector([1])) == [[Vector([1])]]
    else:
        with dbapi.Connection("postgres", **params) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT %s::vector", (Vector([1]),))
            assert cursor.fetchall() == [(Vector([1]),)]


@pytest.mark.parametrize("opener", [connect, dbapi.connect])
def test_connect_takes_them_by_name(opener: Any, url: str) -> None:
    with opener(user="postgres", unix_sock=socket_of(url), database=database_of(url), timeout=10) as connection:
        cursor = connection.cursor() if opener is dbapi.connect else None
        rows = cursor.execute("SELECT 1").fetchall() if cursor else connection.run("SELECT 1")
        assert [tuple(row) for row in rows] == [(1,)]


# Classes


def test_classes(conn: Connection, dbapi_conn: dbapi.Connection) -> None:
    native, pep249 = (Connection, pg8000.native.Connection), (dbapi.Connection, pg8000.dbapi.Connection)
    assert [isinstance(conn, cls) for cls in (*native, *pep249)] == [True, True, False, False]
    assert [isinstance(dbapi_conn, cls) for cls in (*native, *pep249)] == [False, False, True, True]


ORDERS = {
    "before": "import pg8000, pg8000.native, pg8000.dbapi, pg8000.exceptions\nimport lightvec.pg8000",
    "after": "import lightvec.pg8000\nimport pg8000, pg8000.native, pg8000.dbapi, pg8000.exceptions",
    "after_connecting": "import lightvec.pg8000\nlightvec.pg8000.connect(url).close()\n"
    "from lightvec.pg8000 import dbapi\ndbapi.connect(url).close()\n"
    "import pg8000, pg8000.native, pg8000.dbapi, pg8000.exceptions",
    "after_an_error": "import lightvec.pg8000\ntry:\n    lightvec.pg8000.connect(url).run('SELEC')\n"
    "except lightvec.pg8000.dbapi.ProgrammingError:\n    pass\n"
    "import pg8000, pg8000.native, pg8000.dbapi, pg8000.exceptions",
    "in_between": "import lightvec.pg8000\nimport pg8000.exceptions\nimport lightvec.pg8000.dbapi\n"
    "import pg8000.dbapi, pg8000.native",
}

CAUGHT = """
import json
import lightvec.pg8000
from lightvec.pg8000 import dbapi
found = {}
def catch(name, cls, work):
    try:
        work()
    except cls as error:
        found[name] = [type(error).__module__.split('.')[0], isinstance(error, lightvec.errors.LightvecError)]
    except BaseException as error:
        found[name] = repr(error)
    else:
        found[name] = 'nothing'
conn = lightvec.pg8000.connect(url)
other = dbapi.connect(url)
cursor = other.cursor()
catch('syntax native', pg8000.native.DatabaseError, lambda: conn.run('SELEC'))
catch('syntax exceptions', pg8000.exceptions.DatabaseError, lambda: conn.run('SELEC'))
catch('syntax pg8000', pg8000.DatabaseError, lambda: conn.run('SELEC'))
catch('syntax error', pg8000.native.Error, lambda: conn.run('SELEC'))
catch('syntax dbapi', pg8000.dbapi.ProgrammingError, lambda: cursor.execute('SELEC'))
other.rollback()
catch('division', pg8000.dbapi.DataError, lambda: conn.run('SELECT 1/0'))
conn.run('CREATE TEMPORARY TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)')
catch('unique', pg8000.dbapi.IntegrityError, lambda: conn.run('INSERT INTO t VALUES (1)'))
catch('cursor', pg8000.dbapi.ProgrammingError, lambda: other.cursor().fetchone())
catch('connect', pg8000.exceptions.InterfaceError, lambda: lightvec.pg8000.connect('host=/nowhere user=x'))
conn.close()
catch('closed', pg8000.native.InterfaceError, lambda: conn.run('SELECT 1'))
catch('closed dbapi', pg8000.dbapi.InterfaceError, lambda: conn.run('SELECT 1'))
other.close()
print(json.dumps([found, isinstance(conn, pg8000.native.Connection), isinstance(other, pg8000.dbapi.Connection),
    issubclass(dbapi.OperationalError, pg8000.dbapi.OperationalError)]))
"""


def ran(code: str, url: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys\nurl = sys.argv[1]\n" + code, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("order", ORDERS)
def test_errors_are_caught_as_pg8000s(order: str, url: str) -> None:
    """Whichever of the two was imported first."""
    found, native, pep_249, is_subclass = json.loads(ran(ORDERS[order] + CAUGHT, url))
    assert [name for name, caught in found.items() if caught != ["lightvec", True]] == [], found
    assert native
    assert pep_249
    assert is_subclass


@pytest.mark.parametrize("module", ["lightvec.peewee", "lightvec.pg8000", "lightvec.pg8000.dbapi", "lightvec.cli"])
def test_pg8000_is_not_loaded(module: str) -> None:
    """Nor by a first query."""
    assert ran(f"import {module}\nprint('pg8000' in sys.modules)") == "False\n"


def test_pg8000_is_not_loaded_by_queries(url: str) -> None:
    code = """
import lightvec.peewee, lightvec.pg8000
with lightvec.pg8000.connect(url) as conn:
    conn.run("SELECT CAST(:a AS int), CAST(:v AS vector), 'x', now(), 1.5, ARRAY[1]", a=1, v=lightvec.Vector([1]))
database = lightvec.peewee.Pg8000Database(url)
database.execute_sql('SELECT %s', ('x',)).fetchall()
database.close()
print('pg8000' in sys.modules)
"""
    assert ran(code, url) == "False\n"


def test_pg8000s_values_load_it(url: str) -> None:
    code = """
import lightvec.pg8000
with lightvec.pg8000.connect(url) as conn:
    print([type(value).__module__ for value in conn.run("SELECT int4range(1, 2), interval '1 month'")[0]])
"""
    assert ran(code, url) == "['pg8000.types', 'pg8000.types']\n"


# PEP 249


Use = Callable[[Any], Any]


@contextmanager
def plain_dbapi(url: str) -> Iterator[pg8000.dbapi.Connection]:
    """A connection of plain pg8000."""
    connection = pg8000.dbapi.connect("postgres", unix_sock=socket_of(url), database=database_of(url))
    try:
        yield connection
    finally:
        connection.close()


def same(url: str, use: Use, setup: str = "") -> Any:
    """What both give of a cursor."""
    outcomes = []
    with plain_dbapi(url) as theirs, dbapi.connect(url) as ours:
        for connection in (theirs, ours):
            if setup:
                connection.cursor().execute(setup)
            outcomes.append(use(connection.cursor()))
    assert outcomes[0] == outcomes[1]
    return outcomes[1]


def fetched(cursor: Any, *args: Any) -> Any:
    cursor.execute(*args)
    return [tuple(row) for row in cursor.fetchall()]


PARAMSTYLES: list[tuple[str, str, Any]] = [
    ("qmark", 'SELECT ?::int, \'what?\', "f_?" FROM (SELECT ?::text AS "f_?") t WHERE 1 = ?::int', (1, "x", 1)),
    ("qmark", "SELECT '{\"a\": 1}'::jsonb, E'it\\'s ?', $$?$$, ?::int -- ?", (2,)),
    ("numeric", "SELECT :2::text, :1::int, :2::text, '{:1}', 1::int", (1, "x")),
    ("numeric", "SELECT make_interval(days := 10), :1::int", (1,)),
    ("named", "SELECT :b::text, :a::int, :b::text, ':a', make_interval(days := 1)", {"a": 1, "b": "x"}),
    ("named", "SELECT $$:a$$ = :f_2::text", {"f_2": ":a"}),
    ("format", "SELECT %s::int, 'a%%b', %s::text", (1, "x")),
    ("format", "SELECT 7 %% %s::int", (4,)),
    ("pyformat", "SELECT %(b)s::text, %(a)s::int", {"a": 1, "b": "x"}),
    ("pyformat", "SELECT %s::int, %s::text", (1, "x")),
]


@pytest.mark.parametrize(("style", "sql", "values"), PARAMSTYLES)
def test_paramstyles(style: str, sql: str, values: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in pg8000, it is a variable of the module."""
    expected = dbapi.paramstyle
    monkeypatch.setattr(pg8000.dbapi, "paramstyle", style)
    monkeypatch.setattr(dbapi, "paramstyle", style)
    if "%%" in sql and "'a%%b'" in sql:
        # pg8000 looks into no string; see the documentation on what psycopg and Peewee need.
        sql = sql.replace("'a%%b'", "'ab'")
    rows = same(url, lambda cursor: fetched(cursor, sql, values))
    assert len(rows) == 1
    for _ in range(3):
        assert same(url, lambda cursor: fetched(cursor, sql, values)) == rows
    monkeypatch.undo()
    assert dbapi.paramstyle == expected == "format"


@pytest.mark.parametrize(
    ("style", "sql", "sets"),
    [
        ("qmark", "INSERT INTO styled VALUES (?, ?)", [(1, "a"), (2, "b")]),
        ("numeric", "INSERT INTO styled VALUES (:2, :1)", [("a", 1), ("b", 2)]),
        ("named", "INSERT INTO styled VALUES (:n, :t)", [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}]),
        ("pyformat", "INSERT INTO styled VALUES (%(n)s, %(t)s)", [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}]),
    ],
)
def test_executemany_in_each_style(style: str, sql: str, sets: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pg8000.dbapi, "paramstyle", style)
    monkeypatch.setattr(dbapi, "paramstyle", style)

    def use(cursor: Any) -> Any:
        cursor.executemany(sql, sets)
        return cursor.rowcount, fetched(cursor, "SELECT * FROM styled ORDER BY n")

    assert same(url, use, "CREATE TEMPORARY TABLE styled (n int, t text)") == (2, [(1, "a"), (2, "b")])


def test_other_modules_keep_their_style(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peewee writes %s, whatever an application has set for its own cursors; so does SQLAlchemy."""
    import sqlalchemy

    from lightvec.peewee import Pg8000Database

    monkeypatch.setattr(dbapi, "paramstyle", "qmark")
    database = Pg8000Database(url)
    assert database.execute_sql("SELECT %s::int, '?'", (1,)).fetchall() == [(1, "?")]
    database.close()
    engine = sqlalchemy.create_engine("postgresql+pg8000://", module=dbapi, creator=lambda: dbapi.connect(url))
    with engine.connect() as opened:
        assert opened.execute(sqlalchemy.text("SELECT CAST(:a AS int), '?'"), {"a": 1}).all() == [(1, "?")]
    engine.dispose()


ROWCOUNTS = {
    "none yet": [],
    "create": ["CREATE TEMPORARY TABLE more (id int)"],
    "insert": ["INSERT INTO counted VALUES (5), (6)"],
    "update": ["UPDATE counted SET id = id + 10"],
    "update nothing": ["UPDATE counted SET id = 1 WHERE false"],
    "select": ["SELECT * FROM counted"],
    "select nothing": ["SELECT * FROM counted WHERE false"],
    "reset": ["SELECT 1", "CREATE TEMPORARY TABLE more (id int)"],
    "begin": ["SAVEPOINT a"],
    "set": ["SET LOCAL work_mem = '5MB'"],
    "do": ["DO $$BEGIN END$$"],
    "returning": ["DELETE FROM counted RETURNING id"],
    "ctas": ["CREATE TEMPORARY TABLE more AS SELECT * FROM counted"],
    "move": ["DECLARE c CURSOR FOR SELECT * FROM counted", "MOVE 2 FROM c"],
    "fetch": ["DECLARE c CURSOR FOR SELECT * FROM counted", "FETCH 2 FROM c"],
    "several": ["SELECT 1; SELECT 2"],
    "call": ["CALL counting(1)"],
    "listen": ["LISTEN counted"],
}
COUNTED = """\
CREATE TEMPORARY TABLE counted (id int);
INSERT INTO counted VALUES (1), (2), (3);
CREATE PROCEDURE pg_temp.counting(INOUT n int) LANGUAGE sql AS 'SELECT n + 1'"""


@pytest.mark.parametrize("what", ROWCOUNTS)
def test_rowcount(what: str, url: str) -> None:
    def use(cursor: Any) -> Any:
        for sql in ROWCOUNTS[what]:
            cursor.execute(sql.replace("CALL ", "CALL pg_temp."))
        return cursor.rowcount, cursor.description and [column[:2] for column in cursor.description]

    same(url, use, COUNTED)


def test_executemany_of_a_select(url: str) -> None:
    def use(cursor: Any) -> Any:
        cursor.executemany("SELECT %s::int, 'x'", [(1,), (2,), (3,)])
        return cursor.rowcount, [column[:2] for column in cursor.description], [tuple(r) for r in cursor.fetchall()]

    count, _, rows = same(url, use)
    assert (count, rows) == (3, [(3, "x")])


def test_executemany_with_returning(url: str) -> None:
    def use(cursor: Any) -> Any:
        cursor.executemany("INSERT INTO counted VALUES (%s) RETURNING id", [(7,), (8,)])
        return cursor.rowcount, [tuple(row) for row in cursor.fetchall()]

    assert same(url, use, COUNTED) == (2, [(8,)])


@pytest.mark.parametrize("sets", [[], [(1,)], [(1,), (2,)]])
def test_executemany_without_rows(sets: Any, url: str) -> None:
    def use(cursor: Any) -> Any:
        cursor.executemany("UPDATE counted SET id = id WHERE id = %s", sets)
        return cursor.rowcount, cursor.description

    same(url, use, COUNTED)


def test_executemany_of_what_has_no_count(url: str) -> None:
    def use(cursor: Any) -> Any:
        cursor.executemany("SET LOCAL work_mem = '5MB'", [(), ()])
        return cursor.rowcount

    assert same(url, use) == -1


PROCEDURES = """\
CREATE PROCEDURE {s}.adds(INOUT a int, IN b int) LANGUAGE sql AS 'SELECT a + b';
CREATE PROCEDURE {s}.does(a int) LANGUAGE sql AS '';
CREATE PROCEDURE {s}.none() LANGUAGE sql AS ''"""


@pytest.mark.parametrize(("name", "values"), [("adds", (1, 2)), ("does", [1]), ("none", ()), ("none", None)])
def test_callproc(name: str, values: Any, url: str) -> None:
    """Its rows can be fetched."""

    def use(cursor: Any) -> Any:
        cursor.execute("SET LOCAL search_path TO pg_temp, public")
        cursor.callproc(f"pg_temp.{name}", values) if values is not None else cursor.callproc(f"pg_temp.{name}")
        return cursor.rowcount, [tuple(row) for row in cursor.fetchall()] if cursor.description else None

    found = same(url, use, PROCEDURES.format(s="pg_temp"))
    if name == "adds":
        assert found[1] == [(3,)]


# Values


CAST: list[tuple[Any, str]] = [
    ([Range(3, 7), Range(8, 9)], "int4multirange"),
    ([Range(3, 7)], "int8multirange"),
    ([Range(Decimal("9.5"), Decimal("11.4"))], "nummultirange"),
    ([Range(date(2020, 1, 1), date(2021, 1, 1))], "datemultirange"),
    ([Range(datetime(2020, 1, 1), datetime(2021, 1, 1))], "tsmultirange"),
    ([], "int4multirange"),
    (Range(3, 7), "int4range"),
    ((2.5, 1), "point"),
    ([IPv4Network("192.168.0.0/28"), IPv6Network("fe80::/64")], "cidr[]"),
    (timedelta(days=1, microseconds=5), "interval"),
    ({"a": [1, None]}, "json"),
    ({"a": [1, None]}, "jsonb"),
    (b"\x00\xff", "bytea"),
    ([b"\x00\xff", None], "bytea[]"),
    ([["a", "b"], ["c", None]], "text[]"),
    ([1, None, 3], "int2[]"),
    ("08:00:2b:01:02:03", "macaddr"),
    ("{1,2}", "int[]"),
]


@pytest.mark.parametrize(("value", "name"), CAST, ids=str)
def test_values_with_an_oid(value: Any, name: str, url: str) -> None:
    """types= of run() says what a parameter is, also where psycopg's rules would not know."""
    theirs = pg8000.native.Connection("postgres", unix_sock=socket_of(url), database=database_of(url))
    ((oid,),) = theirs.run("SELECT CAST(CAST(:name AS regtype) AS oid)", name=name)
    sql = f"SELECT :value, CAST(CAST(:value AS {name}) AS text)"
    try:
        expected = theirs.run(sql, value=value, types={"value": oid})
    finally:
        theirs.close()
    with connect(url) as ours:
        for _ in range(3):
            assert ours.run(sql, value=value, types={"value": oid}) == expected


def test_networks_come_as_networks(conn: Connection, url: str) -> None:
    sql = "SELECT cidr '10.0.0.0/8', cidr '10.0.0.1/32', cidr 'fe80::/64', ARRAY[cidr '10.0.0.0/8', NULL]"
    networks = [IPv4Network("10.0.0.0/8"), IPv4Network("10.0.0.1/32"), IPv6Network("fe80::/64")]
    with psycopg.connect(url) as theirs:
        row = theirs.execute(sql).fetchone()
    assert row == (*networks, [networks[0], None])
    for _ in range(3):
        assert conn.run(sql) == [list(row)]


def test_json_is_exported() -> None:
    assert lightvec.pg8000.Json is not lightvec.pg8000.Jsonb
    assert {"Json", "Jsonb"} <= set(lightvec.pg8000.__all__)


@pytest.mark.parametrize("name", ["json", "jsonb"])
def test_json_of_a_list(name: str, conn: Connection, url: str) -> None:
    """A list is an array in SQL, so it is wrapped; an error says by what."""
    wrapped = lightvec.pg8000.Json if name == "json" else lightvec.pg8000.Jsonb
    conn.run(f"CREATE TEMPORARY TABLE documents (d {name})")
    values: list[Any] = [[1, "a", None, {"b": []}], [], "text", 7, True, {"a": [1]}]
    for value in values:
        assert conn.run("INSERT INTO documents VALUES (:d) RETURNING d", d=wrapped(value)) == [[value]]
    lists: list[Any] = [[1, 2], ["a"], [{"a": 1}]]
    for value in lists:
        with pytest.raises(Error, match="Jsonb"):
            conn.run("INSERT INTO documents VALUES (:d)", d=value)


ANY = {
    "uuid": ("uuid", [str(UUID(int=1)), str(UUID(int=2))]),
    "enum": ("ways_mood", ["sad", "so-so"]),
    "date": ("date", ["2024-01-02", "2024-01-03"]),
    "inet": ("inet", ["10.0.0.1", "10.0.0.2/24"]),
    "text": ("text", ["a", "b'\"\\,{}"]),
    "varchar": ("varchar(9)", ["a", "b"]),
    "int": ("int", ["1", "2"]),
    "timestamptz": ("timestamptz", ["2024-01-02 00:00+00", "2024-01-03 00:00+00"]),
    "numeric": ("numeric", ["1.5", "2"]),
    "vector": ("vector", ["[1]", "[2]"]),
}


@pytest.fixture(scope="module")
def mood(url: str) -> Iterator[None]:
    with connect(url) as admin:
        admin.run("CREATE TYPE ways_mood AS ENUM ('sad', 'so-so')")
        yield
        admin.run("DROP TYPE ways_mood")


@pytest.mark.usefixtures("mood")
@pytest.mark.parametrize("kind", ANY)
def test_a_list_of_texts(kind: str, conn: Connection, dbapi_conn: dbapi.Connection, url: str) -> None:
    """It is of no declared type, as with psycopg: the column says what it is."""
    declared, values = ANY[kind]
    create = f"CREATE TEMPORARY TABLE anys (c {declared})"
    insert = "INSERT INTO anys VALUES ({}), ({})"
    query = "SELECT c::text FROM anys WHERE c = ANY({}) ORDER BY c"
    with psycopg.connect(url) as theirs:
        theirs.execute(create)
        theirs.execute(insert.format("%s", "%s"), values)
        expected = theirs.execute(query.format("%s"), [values]).fetchall()
    assert len(expected) == 2
    conn.run(create)
    conn.run(insert.format(":a", ":b"), a=values[0], b=values[1])
    for given in (values, [*values, None], tuple(values)[:2]):
        given = list(given)
        assert [tuple(row) for row in conn.run(query.format(":ids"), ids=given)] == expected
    assert conn.run(query.format(":ids"), ids=[]) == []
    cursor = dbapi_conn.cursor()
    cursor.execute(create)
    cursor.execute(insert.format("%s", "%s"), values)
    assert cursor.execute(query.format("%s"), (values,)).fetchall() == expected


def test_a_list_of_texts_in_an_array_column(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE arrays (u uuid[], d date[])")
    u, d = [UUID(int=1), UUID(int=2)], [date(2024, 1, 2)]
    conn.run("INSERT INTO arrays VALUES (:u, :d)", u=[str(each) for each in u], d=[str(each) for each in d])
    assert conn.run("SELECT u, d FROM arrays") == [[u, d]]


# NumPy


def test_a_row_of_a_memory_mapped_file(conn: Connection, tmp_path: Path) -> None:
    matrix = np.memmap(tmp_path / "matrix", dtype=np.float32, mode="w+", shape=(3, 4))
    matrix[:] = np.arange(12).reshape(3, 4)
    conn.run("CREATE TEMPORARY TABLE mapped (id int, v vector(4))")
    for number in range(3):
        conn.run("INSERT INTO mapped VALUES (:id, :v)", id=number, v=matrix[number])
    assert conn.copy_rows("mapped", ["id", "v"], ([3 + n, matrix[n]] for n in range(3))) == 3
    assert conn.copy_columns("mapped", {"id": np.arange(6, 9), "v": matrix}) == 3
    found = conn.run("SELECT v FROM mapped ORDER BY id")
    assert found == [[Vector(matrix[number % 3])] for number in range(9)]
    nearest = conn.run("SELECT id FROM mapped ORDER BY v <-> :v LIMIT 1", v=matrix[2])
    assert nearest[0][0] % 3 == 2


def test_subclasses_of_arrays(conn: Connection) -> None:
    class Mine(np.ndarray):
        """Somebody's."""

    numbers = np.array([1.5, 2], dtype=np.float32)
    for array in (numbers.view(Mine), np.ma.masked_array(numbers), np.rec.array(numbers)):
        assert conn.run("SELECT CAST(:v AS vector)", v=array) == [[Vector([1.5, 2])]]


INSTANT = datetime(2024, 1, 2, 3, 4, 5, 678901)
TIMES: list[tuple[Any, str, Any]] = [
    (np.datetime64("2024-01-02T03:04:05.678901999", "ns"), "timestamp", INSTANT),
    (np.datetime64("2024-01-02T03:04:05.678901", "us"), "timestamp", INSTANT),
    (np.datetime64("2024-01-02T03:04:05", "s"), "timestamp", INSTANT.replace(microsecond=0)),
    (np.datetime64("2024-01-02", "D"), "date", date(2024, 1, 2)),
    (np.datetime64("1850-01-02T03:04:05.000001", "ns"), "timestamp", datetime(1850, 1, 2, 3, 4, 5, 1)),
    (np.datetime64("NaT", "ns"), "timestamp", None),
    (np.datetime64("NaT", "D"), "date", None),
    (
        np.timedelta64(90_061_000_001_000, "ns"),
        "interval",
        timedelta(days=1, hours=1, minutes=1, seconds=1, microseconds=1),
    ),
    (np.timedelta64(-1_000, "ns"), "interval", timedelta(microseconds=-1)),
    (np.timedelta64(5, "s"), "interval", timedelta(seconds=5)),
    (np.timedelta64(5, "D"), "interval", timedelta(days=5)),
    (np.timedelta64("NaT", "ns"), "interval", None),
]


@pytest.mark.parametrize(("value", "name", "expected"), TIMES, ids=str)
def test_times(value: Any, name: str, expected: Any, conn: Connection, dbapi_conn: dbapi.Connection) -> None:
    """They are moments and durations, to the microsecond; NaT is NULL."""
    conn.run(f"CREATE TEMPORARY TABLE times (c {name})")
    for _ in range(3):
        assert conn.run("INSERT INTO times VALUES (:value) RETURNING c", value=value) == [[expected]]
    assert conn.copy_rows("times", ["c"], [[value]]) == 1
    assert conn.run("SELECT DISTINCT c FROM times") == [[expected]]
    cursor = dbapi_conn.cursor()
    assert cursor.execute(f"SELECT %s::{name}", (value,)).fetchall() == [(expected,)]


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
def test_arrays_of_times(unit: str, conn: Connection) -> None:
    moments = np.array(["2024-01-02T03:04:05", "NaT", "1969-12-31T23:59:59"], dtype=f"datetime64[{unit}]")
    expected = [datetime(2024, 1, 2, 3, 4, 5), None, datetime(1969, 12, 31, 23, 59, 59)]
    spans = np.array([5, "NaT", -86_400], dtype="timedelta64[s]").astype(f"timedelta64[{unit}]")
    durations = [timedelta(seconds=5), None, timedelta(days=-1)]
    for given in (moments, list(moments)):
        assert conn.run("SELECT CAST(:m AS timestamp[])", m=given) == [[expected]]
    for given in (spans, list(spans)):
        assert conn.run("SELECT CAST(:s AS interval[])", s=given) == [[durations]]
    conn.run("CREATE TEMPORARY TABLE times (n int, m timestamp, s interval)")
    assert conn.copy_columns("times", {"n": np.arange(3), "m": moments, "s": spans}) == 3
    assert conn.run("SELECT m, s FROM times ORDER BY n") == [
        list(pair) for pair in zip(expected, durations, strict=True)
    ]


def test_a_moment_of_another_type(conn: Connection) -> None:
    """A datetime64 has no zone, so a timestamptz column takes it in the session's, as it takes a timestamp."""
    conn.run("SET TimeZone = 'Asia/Kolkata'")
    found = conn.run("SELECT CAST(:m AS timestamptz)", m=np.datetime64("2024-01-02T05:30", "ns"))
    assert found == [[datetime(2024, 1, 2, tzinfo=timezone.utc)]]


# What is decided otherwise


def test_what_is_decided_otherwise(conn: Connection, url: str) -> None:
    """A COMMIT that rolls back is an error, and an int is an integer."""
    conn.run("BEGIN")
    with pytest.raises(ProgrammingError):
        conn.run("SELEC")
    with pytest.raises(Error, match="rolled back"):
        conn.run("COMMIT")
    assert conn.run("SELECT pg_typeof(:a)::text", a=1) in ([["smallint"]], [["integer"]])


def test_a_password_in_clear_text_does_not_go_to_another_machine(
    tls: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Address, "is_local", False)
    with pytest.raises(OperationalError, match="clear"):
        Connection(
            "by_clear_password",
            host="127.0.0.1",
            port=tls.port,
            database=DATABASE,
            password=PASSWORD,
            ssl_context=False,
        )
