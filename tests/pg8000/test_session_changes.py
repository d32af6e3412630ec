"""What a session can change under a client is followed, or refused at once with what to SET; nothing is misread.

psycopg 3 and pg8000 follow client_encoding, which the server reports; the other settings change the text of values, of
which some cannot be told apart (01.02.2024).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import numpy as np
import pg8000.native
import psycopg
import pytest
from peewee import IntegerField, Model
from pg8000.types import PGInterval, Range

from lightvec import HalfVector, Vector
from lightvec.errors import LightvecError
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.dbapi import Error
from tests.pg8000.faces import FACES, Face, opened
from tests.pg8000.test_prepared import DRIVERS_ERRORS, check_is_clear
from tests.relay import socket_of

#: Often enough for a statement to be remembered, and to be prepared.
AGAIN = 4

SETTINGS: dict[str, list[str]] = {
    "client_encoding": ["LATIN1", "LATIN9", "WIN1252", "SQL_ASCII", "EUC_JP", "SJIS", "UTF8"],
    "DateStyle": ["ISO, DMY", "ISO, MDY", "ISO, YMD"]
    + [f"{style}, {order}" for style in ("SQL", "German", "Postgres") for order in ("DMY", "MDY")],
    "IntervalStyle": ["postgres", "postgres_verbose", "sql_standard", "iso_8601"],
    "TimeZone": ["UTC", "Asia/Kolkata", "America/St_Johns", "<-0330>+3:30"],
    "bytea_output": ["hex", "escape"],
    "extra_float_digits": ["3", "1", "0", "-15"],
    "standard_conforming_strings": ["on", "off"],
    "search_path": ["public", "pg_catalog", "", "elsewhere"],
}
CHANGES = [(name, value) for name, values in SETTINGS.items() for value in values]
#: What puts it right again.
GOOD = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "search_path": "public",
}


class Case(NamedTuple):
    """A value, its type, and SQL that makes it without a text that a setting could change."""

    name: str
    value: Any
    type: str
    sql: str


UTC = timezone.utc
CASES = [
    Case("latin", "é\\'", "text", "chr(233) || chr(92) || chr(39)"),
    Case("euro", "€", "text", "chr(8364)"),
    Case("japanese", "日本", "text", "chr(26085) || chr(26412)"),
    Case("ascii", "a\tb\\c'\"{}", "text", "'a' || chr(9) || 'b' || chr(92) || 'c' || chr(39) || chr(34) || '{}'"),
    Case("texts", ["é", None, "\\"], "text[]", "ARRAY[chr(233), NULL, chr(92)]"),
    Case("json", {"a": "é\\"}, "jsonb", "jsonb_build_object('a', chr(233) || chr(92))"),
    Case("date", date(2024, 1, 2), "date", "make_date(2024, 1, 2)"),
    Case("old date", date(13, 2, 3), "date", "make_date(13, 2, 3)"),
    Case("time", time(3, 4, 5, 678901), "time", "make_time(3, 4, 5.678901)"),
    Case("timestamp", datetime(2024, 1, 2, 3, 4, 5, 678901), "timestamp", "make_timestamp(2024, 1, 2, 3, 4, 5.678901)"),
    Case(
        "timestamptz",
        datetime(2024, 1, 2, 3, 4, 5, 678901, UTC),
        "timestamptz",
        "make_timestamptz(2024, 1, 2, 3, 4, 5.678901, 'UTC')",
    ),
    Case(
        "old timestamptz",
        datetime(1850, 2, 1, 3, 4, 5, tzinfo=UTC),
        "timestamptz",
        "make_timestamptz(1850, 2, 1, 3, 4, 5, 'UTC')",
    ),
    Case("interval", timedelta(days=-1, seconds=3661.5), "interval", "make_interval(days => -1, secs => 3661.5)"),
    Case("negative", timedelta(seconds=-3661.5), "interval", "make_interval(secs => -3661.5)"),
    Case("days", timedelta(days=3), "interval", "make_interval(days => 3)"),
    Case(
        "months",
        PGInterval(years=1, months=2, days=-3, hours=4),
        "interval",
        "make_interval(months => 14, days => -3, hours => 4)",
    ),
    Case("dates", [date(2024, 1, 2), None], "date[]", "ARRAY[make_date(2024, 1, 2), NULL]"),
    Case("timestamps", [datetime(2024, 1, 2, 3, 4, 5)], "timestamp[]", "ARRAY[make_timestamp(2024, 1, 2, 3, 4, 5)]"),
    Case("intervals", [timedelta(days=1, seconds=5)], "interval[]", "ARRAY[make_interval(days => 1, secs => 5)]"),
    Case(
        "daterange",
        Range(date(2024, 1, 2), date(2024, 3, 4)),
        "daterange",
        "daterange(make_date(2024, 1, 2), make_date(2024, 3, 4))",
    ),
    Case(
        "tsrange",
        Range(datetime(2024, 1, 2, 3), datetime(2024, 3, 4, 5)),
        "tsrange",
        "tsrange(make_timestamp(2024, 1, 2, 3, 0, 0), make_timestamp(2024, 3, 4, 5, 0, 0))",
    ),
    Case("bytea", b"\x00\\'\xff\xe9a", "bytea", "decode('005c27ffe961', 'hex')"),
    Case("byteas", [b"\x00\\\xff", None], "bytea[]", "ARRAY[decode('005cff', 'hex'), NULL]"),
    Case("numeric", Decimal("1.10"), "numeric", "1.10"),
    Case("uuid", UUID(int=1), "uuid", "CAST('00000000-0000-0000-0000-000000000001' AS uuid)"),
    Case("inet", IPv4Address("10.0.0.1"), "inet", "CAST('10.0.0.1' AS inet)"),
    Case("bool", True, "bool", "true"),
    Case("vector", Vector([1.5, 0.1]), "public.vector", "CAST('[1.5,0.1]' AS public.vector)"),
    Case("halfvec", HalfVector([1.5, 2]), "public.halfvec", "CAST('[1.5,2]' AS public.halfvec)"),
]
#: The characters that an encoding does not have: sending and reading them is an error, which the server may find.
LACKS = {
    "LATIN1": {"euro", "japanese"},
    "LATIN9": {"japanese"},
    "WIN1252": {"japanese"},
    "EUC_JP": {"euro", "latin"},
    "SJIS": {"euro", "latin", "texts", "json"},
    "SQL_ASCII": {"euro", "japanese", "latin", "texts", "json"},
}


@pytest.fixture(scope="module")
def own_url(make_database: Callable[[], str]) -> str:
    """A database of its own, since settings are made for it."""
    url = make_database()
    with connect(url) as admin:
        admin.run("CREATE EXTENSION vector; CREATE SCHEMA elsewhere")
        admin.run(
            "CREATE FUNCTION public.change(name text, value text) RETURNS text LANGUAGE plpgsql AS "
            "$$BEGIN RETURN pg_catalog.set_config(name, value, false); END$$"
        )
    return url


@contextmanager
def for_the_database(url: str, name: str, value: str) -> Iterator[Face]:
    database = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {database} SET {name} TO '{value}'")
        try:
            with opened("native", url) as face:
                yield face
        finally:
            admin.execute("SET standard_conforming_strings TO on")
            admin.execute(f"ALTER DATABASE {database} RESET ALL")


@contextmanager
def at_start_up(url: str, name: str, value: str) -> Iterator[Face]:
    escaped = value.replace(" ", "\\ ")
    with opened("native", f"{url}&options={quote(f'-c {name}={escaped}')}") as face:
        yield face


@contextmanager
def by_set(url: str, name: str, value: str) -> Iterator[Face]:
    with opened("native", url) as face:
        warm_up(face)
        face.run(f"SET {name} TO '{value}'")
        yield face


@contextmanager
def by_a_function(url: str, name: str, value: str) -> Iterator[Face]:
    with opened("native", url) as face:
        warm_up(face)
        face.run("SELECT public.change(CAST(:name AS text), CAST(:value AS text))", name=name, value=value)
        yield face


WAYS = {
    "database": for_the_database,
    "start_up": at_start_up,
    "set": by_set,
    "function": by_a_function,
}


def warm_up(face: Face) -> None:
    """Have the statements remembered as they are before the change."""
    for case in CASES:
        for _ in range(2):
            face.run(f"SELECT {case.sql}")
            if case.name != "months":
                face.run(sending(case), v=case.value)


def sending(case: Case) -> str:
    equals = "OPERATOR(public.=)" if case.type.startswith("public.") else "="
    return f"SELECT CAST(:v AS {case.type}) {equals} {case.sql}"


def check(face: Face, case: Case, name: str, value: str) -> None:
    """It is sent and read right, or refused; each time alike."""
    outcomes = []
    for _ in range(AGAIN):
        read = outcome(face, case, name, value, f"SELECT {case.sql}", [(case.value,)])
        sent = outcome(face, case, name, value, sending(case), [(True,)], v=case.value)
        outcomes.append((read, sent))
    assert len(set(outcomes)) == 1, f"{case.name}: not each time alike: {outcomes}"


def outcome(face: Face, case: Case, name: str, value: str, sql: str, expected: Any, **params: Any) -> str:
    """ "right" or "refused"."""
    try:
        found = face.run(sql, **params)
    except DRIVERS_ERRORS as error:
        if name != "client_encoding" or case.name not in LACKS.get(value, ()):
            check_refuses(error, name)
        return "refused"
    assert found == expected, f"{case.name}: misread"
    return "right"


def check_refuses(error: Exception, name: str) -> None:
    assert f"set {name}".lower() in str(error).lower()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "value"), CHANGES)
def test_every_change(name: str, value: str, way: str, own_url: str) -> None:
    """The walk through all of them."""
    with WAYS[way](own_url, name, value) as face:
        for case in CASES:
            check(face, case, name, value)
        if name in GOOD:
            face.run(f"SET {name} TO '{GOOD[name]}'")
        for case in CASES:
            assert face.run(f"SELECT {case.sql}") == [(case.value,)], f"{case.name}: right again"
            assert face.run(sending(case), v=case.value) == [(True,)], f"{case.name}: right again"


@pytest.mark.parametrize("face_name", ["dbapi", "sqlalchemy", "peewee"])
@pytest.mark.parametrize(("name", "value"), [change for change in CHANGES if change[0] in GOOD])
def test_the_other_ways(name: str, value: str, face_name: str, own_url: str) -> None:
    with opened(face_name, own_url) as face:
        warm_up(face)
        face.run(f"SET {name} TO '{value}'")
        for case in CASES:
            check(face, case, name, value)


def check_says(error: Exception, text: str) -> None:
    assert text in str(error)


# Encodings


ENCODED = [
    ("LATIN1", "é"),
    ("LATIN9", "é€"),
    ("WIN1252", "é€"),
    ("EUC_JP", "日本"),
    ("SJIS", "日本"),
    ("BIG5", "日本"),
    ("GBK", "日本"),
    ("UHC", "日本"),
    ("KOI8R", "Ж"),
    ("UTF8", "é€日😀"),
]
STORED = "SELECT encode(convert_to(CAST(:v AS text), 'UTF8'), 'hex')"


@pytest.fixture(params=ENCODED, ids=lambda pair: pair[0])
def encoded(request: pytest.FixtureRequest, own_url: str) -> Iterator[tuple[Connection, str]]:
    """A connection of an encoding, and a text of it."""
    encoding, text = request.param
    with connect(own_url) as connection:
        connection.run(f"SET client_encoding TO '{encoding}'")
        yield connection, text


def test_it_is_sent_as_psycopg_and_pg8000_send_it(encoded: tuple[Connection, str], own_url: str) -> None:
    connection, text = encoded
    encoding = connection.run("SHOW client_encoding")[0][0]
    with psycopg.connect(own_url) as theirs:
        theirs.execute(f"SET client_encoding TO '{encoding}'")
        psycopgs = theirs.execute(STORED.replace(":v", "%s"), [text]).fetchone()
    expected = text.encode().hex()
    assert psycopgs == (expected,)
    if encoding != "KOI8R":  # which pg8000 does not know
        plain = pg8000.native.Connection("postgres", unix_sock=socket_of(own_url))
        plain.run(f"SET client_encoding TO '{encoding}'")
        assert plain.run(STORED, v=text) == [[expected]]
        plain.close()
    for _ in range(AGAIN):
        assert connection.run(STORED, v=text) == [[expected]]


def test_texts_everywhere(encoded: tuple[Connection, str]) -> None:
    """In SQL, names, arrays, json, parameters' names, and back."""
    connection, text = encoded
    for _ in range(AGAIN):
        assert connection.run(f"SELECT '{text}', length('{text}')") == [[text, len(text)]]
        assert connection.run("SELECT CAST(:a AS text[])", a=[text, None]) == [[[text, None]]]
        assert connection.run("SELECT CAST(:a AS jsonb)", a={text: text}) == [[{text: text}]]
        assert connection.run(f'SELECT 1 AS "{text}"', settings={"application_name": "x"}) == [[1]]
        assert [column["name"] for column in connection.columns or ()] == [text]
    assert list(connection.fetch_columns(f"SELECT '{text}' AS \"{text}\"").items()) == [(text, [text])]
    assert list(connection.stream(f"SELECT '{text}', :a::text", a=text)) == [[text, text]]


def test_settings_of_a_statement(encoded: tuple[Connection, str]) -> None:
    connection, text = encoded
    row = connection.run("SELECT current_setting('my.text')", settings={"my.text": text})
    assert row == [[text]]


def test_errors(encoded: tuple[Connection, str]) -> None:
    """The server's message is in the encoding, too."""
    connection, text = encoded
    with pytest.raises(Error) as caught:
        connection.run(f'SELECT 1 FROM "{text}"')
    assert f'"{text}"' in str(caught.value)
    connection.run(f'CREATE TEMPORARY TABLE "{text}" ("{text}" int CONSTRAINT "{text}k" UNIQUE)')
    with pytest.raises(Error) as caught:
        connection.run(f'INSERT INTO "{text}" VALUES (1), (1)')
    assert (caught.value.table, caught.value.constraint) == (text, f"{text}k")


def test_copy(encoded: tuple[Connection, str]) -> None:
    """The rows of COPY are in the encoding, in its text format and in its binary one."""
    connection, text = encoded
    connection.run(f'CREATE TEMPORARY TABLE copied (id int, "{text}" text, v vector, r int4range, j jsonb)')
    hexes = f"SELECT encode(convert_to(\"{text}\", 'UTF8'), 'hex') FROM copied ORDER BY id"
    connection.copy_rows("copied", ["id", text], [[1, text], [2, None]])
    connection.copy_rows("copied", ["id", text, "v"], [[3, text, [1, 2]]])
    connection.copy_rows("copied", ["id", text, "r", "j"], [[4, text, Range(1, 2), {"a": text}]])
    connection.copy_columns("copied", {"id": [5], text: [text]})
    connection.run("COPY copied FROM STDIN", stream=io.StringIO(f"6\t{text}\t\\N\t\\N\t\\N\n"))
    expected = text.encode().hex()
    assert connection.run(hexes) == [[expected], [None], [expected], [expected], [expected], [expected]]
    assert connection.run("SELECT j FROM copied WHERE id = 4") == [[{"a": text}]]
    target = io.StringIO()
    connection.run(f'COPY (SELECT id, "{text}" FROM copied WHERE id = 1) TO STDOUT', stream=target)
    assert target.getvalue() == f"1\t{text}\n"


def test_notifications(encoded: tuple[Connection, str]) -> None:
    connection, text = encoded
    connection.run(f'LISTEN "{text}"')
    connection.run("SELECT pg_notify(:channel, :payload)", channel=text, payload=text)
    connection.run("SELECT 1")
    assert [tuple(note)[1:] for note in connection.notifications] == [(text, text)]


def test_what_an_encoding_has_not(own_url: str) -> None:
    """It is refused here, nothing is sent, and the connection goes on; in a transaction, too."""
    with connect(own_url) as connection:
        connection.run("SET client_encoding TO 'LATIN1'")
        with connection.transaction():
            cases: list[tuple[str, dict[str, Any]]] = [
                ("SELECT CAST(:v AS text)", {"v": "日"}),
                ("SELECT CAST(:v AS text[])", {"v": ["a", "日"]}),
                ("SELECT '日'", {}),
                ("SELECT '日', CAST(:v AS int)", {"v": 1}),
            ]
            for sql, params in cases:
                with pytest.raises(LightvecError, match=r"(?i)client_encoding"):
                    connection.run(sql, **params)
            assert connection.run("SELECT CAST(:v AS text)", v="é") == [["é"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT chr(233); SET client_encoding TO 'LATIN1'; SELECT chr(233), 'é'",
        "SELECT chr(233), public.change('client_encoding', 'LATIN1'), chr(233) FROM generate_series(1, 3)",
    ],
)
def test_it_changes_within_one_statement(sql: str, own_url: str) -> None:
    """Rows behind the change are in the new encoding, and the server reports it behind them: right, or an error."""
    with connect(own_url) as connection:
        try:
            rows = connection.run(sql)
        except LightvecError as error:
            check_says(error, "client_encoding")
        else:
            assert {cell for row in rows for cell in row} <= {"é", "LATIN1"}
        assert connection.run(STORED, v="é") == [["c3a9"]]
        assert connection.run("SELECT chr(233)") == [["é"]]


def test_it_is_rolled_back(own_url: str) -> None:
    with connect(own_url) as connection:
        connection.run("BEGIN")
        connection.run("SET LOCAL client_encoding TO 'LATIN1'")
        assert connection.run(STORED, v="é") == [["c3a9"]]
        connection.run("ROLLBACK")
        assert connection.run(STORED, v="é日") == [["é日".encode().hex()]]


def test_an_encoding_for_one_statement(own_url: str) -> None:
    """settings={"client_encoding": ...} would change the parameters on their way: right, or refused."""
    with connect(own_url) as connection:
        for _ in range(AGAIN):
            try:
                assert connection.run(STORED, v="é", settings={"client_encoding": "LATIN1"}) == [["c3a9"]]
            except LightvecError as error:
                check_refuses(error, "client_encoding")
            assert connection.run(STORED, v="é日") == [["é日".encode().hex()]]


def test_an_encoding_that_python_does_not_know(own_url: str) -> None:
    """It is refused in one sentence; after that all goes on, or the connection is closed and says so."""
    with connect(own_url) as connection:
        with pytest.raises(LightvecError, match="client_encoding"):
            connection.run("SET client_encoding TO 'MULE_INTERNAL'")
        try:
            connection.run("SET client_encoding TO 'UTF8'")
            assert connection.run(STORED, v="é") == [["c3a9"]]
        except LightvecError as error:
            check_says(error, "connect again")


# Strings with backslashes


BACKSLASHES: list[tuple[str, dict[str, Any], list[list[Any]]]] = [
    ("SELECT 'a\\'b', CAST(:v AS int)", {"v": 1}, [["a'b", 1]]),
    ("SELECT 'a\\\\', CAST(:v AS int)", {"v": 1}, [["a\\", 1]]),
    ("SELECT '\\' || :v || ', CAST(:w AS int)", {"w": 1}, [["' || :v || ", 1]]),
    ("SELECT E'a\\'b', CAST(:v AS int)", {"v": 1}, [["a'b", 1]]),
    ("SELECT CAST(:v AS text)", {"v": "a\\'b"}, [["a\\'b"]]),
]


@pytest.mark.parametrize(("sql", "params", "expected"), BACKSLASHES)
def test_strings_with_backslashes(sql: str, params: dict[str, Any], expected: list[list[Any]], own_url: str) -> None:
    """Where standard_conforming_strings is off, a backslash escapes; placeholders are found by that, or refused."""
    with connect(own_url) as connection:
        connection.run("SET standard_conforming_strings TO off; SET escape_string_warning TO off")
        for _ in range(AGAIN):
            try:
                assert connection.run(sql, **params) == expected
            except LightvecError as error:
                check_refuses(error, "standard_conforming_strings")


def test_what_lightvec_writes_with_backslashes(own_url: str) -> None:
    with connect(own_url) as connection:
        connection.run("SET standard_conforming_strings TO off; SET escape_string_warning TO off")
        odd = "o\\d'd\""
        quoted = '"' + odd.replace('"', '""') + '"'
        connection.run(f"CREATE TEMPORARY TABLE {quoted} ({quoted} text, v vector)")
        assert connection.copy_rows(odd, [odd, "v"], [[odd, [1]], ["\\N", [2]], ["\\", None]]) == 3
        assert connection.copy_columns(odd, {odd: [odd]}) == 1
        found = connection.run(f"SELECT {quoted} FROM {quoted}")
        assert found == [[odd], ["\\N"], ["\\"], [odd]]
        row = connection.run("SELECT current_setting('my.text')", settings={"my.text": odd})
        assert row == [[odd]]


# Floats


@pytest.mark.parametrize("digits", SETTINGS["extra_float_digits"])
def test_floats(digits: str, own_url: str) -> None:
    """A float is exact, or rounded as the server was told to; each time alike, and as psycopg reads it or better."""
    exact, small = 0.1 + 0.2, float(np.float32(1) / np.float32(3))
    sql = "SELECT CAST(0.1 AS float8) + CAST(0.2 AS float8), CAST(CAST(1 AS float4) / 3 AS float4)"
    with connect(own_url) as connection, psycopg.connect(own_url) as theirs:
        connection.run(f"SET extra_float_digits TO {digits}")
        theirs.execute(f"SET extra_float_digits TO {digits}")
        rounded = theirs.execute(sql).fetchone()
        assert rounded is not None
        rows = [connection.run(sql)[0] for _ in range(AGAIN)]
        assert all(row == rows[0] for row in rows), "each time alike"
        for found, right, told in zip(rows[0], (exact, small), rounded, strict=True):
            assert found in (right, told) or math.isclose(found, told, rel_tol=1e-7)
        assert connection.run("SELECT CAST(:f AS float8) = CAST(0.1 AS float8) + CAST(0.2 AS float8)", f=exact) == [
            [True]
        ]
        vector = Vector([0.1, 1 / 3])
        assert connection.run("SELECT CAST(:v AS vector)", v=vector) == [[vector]]


# The extension

RENEWALS = {
    "dropped_and_created": ["DROP EXTENSION vector CASCADE", "CREATE EXTENSION vector"],
    "created_elsewhere": ["DROP EXTENSION vector CASCADE", "CREATE EXTENSION vector SCHEMA elsewhere"],
    "moved": ["ALTER EXTENSION vector SET SCHEMA elsewhere"],
    "moved_and_back": ["ALTER EXTENSION vector SET SCHEMA elsewhere", "ALTER EXTENSION vector SET SCHEMA public"],
}

V, H = Vector([1, 2]), HalfVector([1, 2])


def send(face: Face) -> Any:
    return face.run("SELECT CAST(:v AS vector), CAST(:h AS halfvec)", v=V, h=H)


def read_only(face: Face) -> Any:
    return face.run("SELECT CAST('[1,2]' AS vector), CAST('[1,2]' AS halfvec)")


def compare(face: Face) -> Any:
    return face.run("SELECT :v <-> CAST('[1,2]' AS vector)", v=V)


def arrays(face: Face) -> Any:
    return face.run("SELECT CAST(:a AS vector[])", a=[V, None])


USES: dict[str, tuple[Callable[[Face], Any], Any]] = {
    "send": (send, [(V, H)]),
    "read": (read_only, [(V, H)]),
    "compare": (compare, [(0.0,)]),
    "arrays": (arrays, [([V, None],)]),
}


@pytest.fixture(scope="module")
def renewing_url(make_database: Callable[[], str]) -> str:
    """A database whose extension may be dropped; both schemas are on the path."""
    url = make_database()
    database = url.partition("?")[0].rpartition("/")[2]
    with connect(url) as admin:
        admin.run("CREATE SCHEMA elsewhere; CREATE SCHEMA hidden")
        admin.run(f"ALTER DATABASE {database} SET search_path TO public, elsewhere")
    return url


def restore(url: str) -> None:
    with connect(url) as admin:
        admin.run("DROP EXTENSION IF EXISTS vector CASCADE; CREATE EXTENSION vector SCHEMA public")


@pytest.fixture
def renewed_url(renewing_url: str) -> str:
    """The same, with the extension where it is at first."""
    restore(renewing_url)
    return renewing_url


@pytest.mark.parametrize("own", [False, True], ids=["by_another", "by_itself"])
@pytest.mark.parametrize("renewal", RENEWALS)
@pytest.mark.parametrize("face_name", FACES)
def test_the_extension_is_renewed(face_name: str, renewal: str, own: bool, renewed_url: str) -> None:
    """Outside a transaction the next statement works, with the new types, whichever it is."""
    failed = {}
    for use, (work, expected) in USES.items():
        restore(renewed_url)
        with opened(face_name, renewed_url) as face, opened("native", renewed_url) as other:
            for _ in range(AGAIN):
                assert work(face) == expected
            for sql in RENEWALS[renewal]:
                (face if own else other).run(sql)
            try:
                for each, rows in [(work, expected), *USES.values()]:
                    for _ in range(AGAIN):
                        assert each(face) == rows
            except (*DRIVERS_ERRORS, AssertionError) as error:
                failed[use] = error
    assert failed == {}


@pytest.mark.parametrize("renewal", RENEWALS)
@pytest.mark.parametrize("face_name", FACES)
def test_the_extension_is_renewed_within_a_transaction(face_name: str, renewal: str, renewed_url: str) -> None:
    """By another connection: the right rows, or an error that says what to do; after the rollback all goes on."""
    with opened(face_name, renewed_url) as face, opened("native", renewed_url) as other:
        for _ in range(AGAIN):
            send(face)
        face.begin()
        face.run("SELECT 1")
        for sql in RENEWALS[renewal]:
            other.run(sql)
        try:
            assert send(face) == USES["send"][1]
        except DRIVERS_ERRORS as error:
            check_is_clear(error)
        face.rollback()
        for _ in range(AGAIN):
            assert send(face) == USES["send"][1]


NATIVE_USES: dict[str, Callable[[Connection], Any]] = {
    "copy_rows": lambda conn: conn.copy_rows("renewed", ["id", "v"], [[1, [1, 2]], [2, V]]),
    "copy_columns": lambda conn: conn.copy_columns("renewed", {"id": [1], "v": np.ones((1, 2), np.float32)}),
    "fetch_columns": lambda conn: conn.fetch_columns("SELECT CAST('[1,2]' AS vector) AS v")["v"].tolist(),
    "stream": lambda conn: list(conn.stream("SELECT CAST(:v AS vector)", v=V)),
    "array": lambda conn: conn.run("SELECT CAST(:v AS vector)", v=np.ones(2, np.float32)),
    "settings": lambda conn: conn.run("SELECT CAST(:v AS vector)", v=V, settings={"hnsw.ef_search": 50}),
    "where": lambda conn: conn.run("SELECT CAST(:v AS vector) WHERE :n = 1", v=V, n=1),
}
TABLE = "DROP TABLE IF EXISTS renewed; CREATE TABLE renewed (id int, v vector(2))"


@pytest.mark.parametrize("renewal", RENEWALS)
@pytest.mark.parametrize("use", NATIVE_USES)
def test_other_uses_after_a_renewal(use: str, renewal: str, renewed_url: str) -> None:
    with connect(renewed_url) as connection, connect(renewed_url) as other:
        other.run(TABLE)
        before = [NATIVE_USES[use](connection) for _ in range(AGAIN)]
        for sql in RENEWALS[renewal]:
            other.run(sql)
        other.run(TABLE)
        assert [NATIVE_USES[use](connection) for _ in range(AGAIN)] == before


class Renewed(Model):
    number = IntegerField()
    embedding = VectorField(2, metric="l2", index="hnsw")


def nearest_three() -> list[int]:
    query: Any = Renewed.embedding.nearest([3, 1], 1, ef_search=50)
    return [row.number for row in query]


def fill(number: int) -> None:
    Renewed.insert_many([{"number": n, "embedding": [n, 1]} for n in range(number)]).execute()


@pytest.mark.parametrize("renewal", RENEWALS)
def test_peewee_after_a_renewal(renewal: str, renewed_url: str) -> None:
    database = Pg8000Database(renewed_url)
    with database.bind_ctx([Renewed]), database.connection_context(), connect(renewed_url) as other:
        for sqls in ([], RENEWALS[renewal]):
            for sql in sqls:
                other.run(sql)
            other.run("DROP TABLE IF EXISTS renewed")
            database.create_tables([Renewed])
            for _ in range(AGAIN):
                fill(20)
                assert nearest_three() == [3]


def test_peewee_after_a_move_out_of_the_path(renewed_url: str) -> None:
    """Only a name with its schema finds the types and operators then; a new connection writes it, and so does this."""
    database = Pg8000Database(renewed_url)
    with database.bind_ctx([Renewed]), database.connection_context(), connect(renewed_url) as other:
        other.run("DROP TABLE IF EXISTS renewed")
        database.create_tables([Renewed])
        fill(20)
        for _ in range(AGAIN):
            assert nearest_three() == [3]
        other.run("ALTER EXTENSION vector SET SCHEMA hidden")
        new = Pg8000Database(renewed_url)
        with new.bind_ctx([Renewed]), new.connection_context():
            fill(5)
            assert nearest_three() == [3]
        for _ in range(AGAIN):
            fill(5)
            assert nearest_three() == [3]


def test_the_extension_is_dropped(renewed_url: str) -> None:
    """And comes no more: the error says so; when it is there again, all goes on."""
    with connect(renewed_url) as connection, connect(renewed_url) as other:
        for _ in range(AGAIN):
            connection.run("SELECT CAST(:v AS vector)", v=V)
        other.run("DROP EXTENSION vector CASCADE")
        for _ in range(2):
            with pytest.raises(LightvecError, match="CREATE EXTENSION"):
                connection.run("SELECT CAST(:v AS vector)", v=V)
        assert connection.run("SELECT CAST(:n AS int)", n=1) == [[1]]
        other.run("CREATE EXTENSION vector")
        for _ in range(AGAIN):
            assert connection.run("SELECT CAST(:v AS vector)", v=V) == [[V]]


def test_an_enum_is_renewed(renewed_url: str) -> None:
    """Not only pgvector's types come and go."""
    sql = "SELECT CAST(:v AS letter), CAST(CAST(:a AS letter[]) AS text[])"
    with connect(renewed_url) as connection, connect(renewed_url) as other:
        for labels in ("'a', 'b'", "'b', 'c'"):
            other.run(f"DROP TYPE IF EXISTS letter; CREATE TYPE letter AS ENUM ({labels})")
            for _ in range(AGAIN):
                assert connection.run(sql, v="b", a=["b"]) == [["b", ["b"]]]


# A table


def test_a_load_after_a_table_changed(renewed_url: str) -> None:
    """What COPY knows of the columns is not older than the statement."""
    with connect(renewed_url) as connection, connect(renewed_url) as other:
        other.run("CREATE TABLE loaded (id int, x int, v vector(2))")
        rows = [[1, 5, [1, 2]]]
        assert connection.copy_rows("loaded", ["id", "x", "v"], rows) == 1
        for change, found in [
            ("ALTER TABLE loaded ALTER COLUMN x TYPE bigint", [[1, 5, V]]),
            ("ALTER TABLE loaded ALTER COLUMN x TYPE text", [[1, "5", V]]),
            ("ALTER TABLE loaded ALTER COLUMN v TYPE halfvec(2)", [[1, "5", H]]),
            ("DROP TABLE loaded; CREATE TABLE loaded (v vector(2), x numeric, id bigint)", [[1, Decimal(5), V]]),
        ]:
            other.run(change)
            other.run("TRUNCATE loaded")
            value = "5" if found[0][1] == "5" else 5
            assert connection.copy_rows("loaded", ["id", "x", "v"], [[1, value, [1, 2]]]) == 1
            assert connection.run("SELECT id, x, v FROM loaded") == found


def test_a_setting_that_literals_are_read_under(url: str) -> None:
    sql = "SELECT '01/02/2024'::date::text"
    with connect(url) as connection:
        for _ in range(AGAIN):
            assert connection.run(sql) == [["2024-01-02"]]
        connection.run("SET DateStyle TO 'ISO, DMY'")
        for _ in range(AGAIN):
            assert connection.run(sql) == [["2024-02-01"]]
