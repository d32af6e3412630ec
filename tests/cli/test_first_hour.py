"""What somebody new meets in the first hour: what happened, why, and what to type next, in one sentence each.

Each message is provoked as it is met, and compared whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pytest
from peewee import Model, TextField

import lightvec
from lightvec import Vector
from lightvec.errors import LightvecError
from lightvec.peewee import HnswIndex, Pg8000Database, VectorField
from lightvec.pg8000 import connect
from tests.cli.conftest import Run
from tests.tls.postgres import DATABASE, PASSWORD, Postgres


class Hour(NamedTuple):
    """A database with a table ``doc`` of one row, one without pgvector, and the first as somebody who may little."""

    url: str
    bare: str
    reader: str

    @property
    def read_only(self) -> str:
        return f"{self.url}&options=-c%20default_transaction_read_only%3Don"


@pytest.fixture(scope="module")
def hour(make_database: Callable[[], str]) -> Iterator[Hour]:
    url, bare = make_database(), make_database()
    with connect(url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE ROLE first_hour LOGIN")
        conn.run("CREATE TABLE doc (id serial PRIMARY KEY, title text NOT NULL, embedding vector(3))")
        conn.run("INSERT INTO doc (title, embedding) VALUES ('a', '[1,0,0]')")
        conn.run(
            "CREATE TABLE half (embedding vector(3)); CREATE TABLE part (n int, e vector(3)) PARTITION BY LIST (n)"
        )
        conn.run("CREATE INDEX ON half USING hnsw ((embedding::halfvec(3)) halfvec_cosine_ops)")
        conn.run("CREATE TABLE seen (embedding vector(3)); GRANT SELECT ON seen TO first_hour")
        conn.run("CREATE TABLE plain (name text)")
        conn.run("CREATE MATERIALIZED VIEW mv AS SELECT * FROM doc")
    yield Hour(url, bare, url.replace("postgres@", "first_hour@"))
    with connect(url) as conn:
        conn.run("DROP OWNED BY first_hour; DROP ROLE first_hour")


@pytest.fixture
def files(tmp_path: Path) -> None:
    """Files, right and wrong."""
    for name, text in {
        "d.jsonl": '{"title": "b", "embedding": [1, 0, 0]}\n',
        "again.jsonl": '{"id": 1, "title": "b", "embedding": [1, 0, 0]}\n',
        "short.jsonl": '{"title": "b", "embedding": [1, 0]}\n',
        "titel.jsonl": '{"titel": "b", "embedding": [1, 0, 0]}\n',
        "x.txt": "hello",
        "junk.jsonl": "hello",
        "junk.npy": "hello",
        "index.csv": ",title\n0,a\n",
        "models.py": "from peewee import *\nfrom lightvec.peewee import *\n"
        "class Doc(Model):\n    title = TextField()\n    embedding = VectorField(3, metric='cosine')\n",
    }.items():
        (tmp_path / name).write_text(text)
    np.save(tmp_path / "m.npy", np.eye(3, dtype="f4"))


GRANT = "connect as the owner or a superuser, or ask them to GRANT the privilege"
READ_ONLY = (
    "a standby, BEGIN READ ONLY or default_transaction_read_only makes it read-only: connect "
    "to the primary (target_session_attrs=read-write), or begin it READ WRITE"
)
WHERE_TABLES_ARE = "(`lightvec init-db` creates tables, --schema and --url say where to look)"
TABLES = "doc, half, part, plain, seen"
MODEL = "the value is from another model, or the column must change"
OTHER_DIMENSIONS = (
    "vectors of other dimensions are from another model than the column's: `lightvec doctor` shows the column's"
)
SEARCH = ("search", "doc", "--vector", "[1,2,3]")

#: Where it is run, what is typed, the exit status, and what is said.
COMMANDS: list[tuple[str, tuple[str, ...], int, str]] = [
    # Names
    ("url", ("search", "dok", "--vector", "[1,2,3]"), 1, f"there is no table dok; the tables there are: {TABLES} {WHERE_TABLES_ARE}"),  # noqa: E501
    ("bare", SEARCH, 1, f"there is no table doc; the tables there are: none {WHERE_TABLES_ARE}"),
    ("url", (*SEARCH, "--schema", "nosuch"), 1, "there is no schema nosuch; the schemas are: information_schema, public"),  # noqa: E501
    ("url", ("doctor", "--schema", "nosuch"), 1, "there is no schema nosuch; the schemas are: information_schema, public"),  # noqa: E501
    ("url", (*SEARCH, "--where", "titel = a"), 2, "--where 'titel = a': expected COLUMN OP VALUE, with an OP of = != < <= > >= ~ like and a COLUMN of id, title"),  # noqa: E501
    ("url", (*SEARCH, "--where", "id = a"), 1, 'invalid input syntax for type integer: "a" (SQLSTATE 22P02); the value of --where \'id = a\' is read as its column\'s type is'),  # noqa: E501
    ("url", (*SEARCH, "--column", "titel"), 1, "the table doc has no column titel: it has id, title, embedding"),
    ("url", ("search", "plain", "--vector", "[1,2,3]"), 1, "the table plain has no vector column: `lightvec init-db --table NAME --dimensions N` creates a table with one"),  # noqa: E501
    ("url", ("search", "half", "--text", "a"), 1, "the columns of text in the table half are: none; search by --like or --vector"),  # noqa: E501
    ("url", (*SEARCH, "--metric", "far"), 2, "'far' is not a metric here: expected 'l2', 'ip', 'cosine' or 'l1'"),
    ("url", ("search", "doc", "--like", "7"), 1, "the table doc has no row 7: --like takes a value of its primary key, id"),  # noqa: E501
    # Vectors
    ("url", ("search", "doc", "--vector", "[1,2]"), 1, f"doc.embedding expected 3 dimensions, not 2: {MODEL}"),
    ("url", ("search", "doc", "--vector", "1,2,3"), 1, "--vector: Vector.from_text expected a str like '[1.5,2,3]' and got '1,2,3' (str)."),  # noqa: E501
    ("url", ("search", "doc", "--vector", "[0,0,0]"), 1, "doc.embedding.nearest got a vector of zeros, which has no direction, so cosine cannot order by it: check where it comes from, or use another metric"),  # noqa: E501
    ("url", ("search", "doc", "--vector", "@nofile"), 2, "--vector @nofile: expected a file with a vector, such as [1,2,3], which cannot be read: No such file or directory"),  # noqa: E501
    ("url", ("search", "half", "--vector", "[1e6,1,1]"), 1, '"1e+06" is out of range for type halfvec (SQLSTATE 22003); a halfvec, as an index with quantize=\'halfvec\' holds, has numbers up to 65,504: scale the vectors down (Vector(...).normalized()), or search with exact=True (--exact)'),  # noqa: E501
    # Files
    ("url", ("load", "doc", "x.txt"), 2, "x.txt: expected a file that ends in .jsonl, .jsonl.gz, .csv, .vec, .csv.gz, .vec.gz, .npz, .npy, .hdf5, .fvecs, .ivecs, .bvecs, .fbin, .parquet, .feather, or --format"),  # noqa: E501
    ("url", ("load", "doc", "junk.npy"), 2, "junk.npy: expected a .npy file of numbers, as numpy.save(FILE, MATRIX) writes"),  # noqa: E501
    ("url", ("load", "doc", "junk.jsonl"), 2, "junk.jsonl, line 1: expected a JSON object: Expecting value: line 1 column 1 (char 0)"),  # noqa: E501
    ("url", ("load", "doc", "short.jsonl"), 1, 'expected 3 dimensions, not 2 (SQLSTATE 22000); short.jsonl, line 1, column embedding: "[1,0]"'),  # noqa: E501
    ("url", ("load", "doc", "titel.jsonl"), 1, "titel.jsonl, line 1: the file has 'titel', and the table doc no such column: it has id, title, embedding (--map titel:COLUMN loads it into one, --skip titel leaves it out)"),  # noqa: E501
    ("url", ("load", "doc", "index.csv"), 1, "the file has a column without a name: name it, or leave it out with --skip ''"),  # noqa: E501
    ("url", ("load", "doc", "again.jsonl"), 1, 'duplicate key value violates unique constraint "doc_pkey" (SQLSTATE 23505); Key (id)=(1) already exists; again.jsonl, line 1; --on-conflict ignore keeps the row that exists, --on-conflict update overwrites it'),  # noqa: E501
    ("url", ("load", "mv", "d.jsonl"), 1, 'cannot copy to materialized view "mv" (SQLSTATE 42809); load the rows into the table behind it (and REFRESH MATERIALIZED VIEW)'),  # noqa: E501
    # Privileges
    ("reader", SEARCH, 1, f"permission denied for table doc (SQLSTATE 42501); {GRANT}"),
    ("reader", ("load", "doc", "d.jsonl"), 1, f"permission denied for table doc (SQLSTATE 42501); {GRANT}"),
    ("reader", ("create-index", "seen"), 1, f"must be owner of table seen (SQLSTATE 42501); {GRANT}"),
    ("reader", ("init-db", "--table", "new", "--dimensions", "3"), 1, f"permission denied for schema public (SQLSTATE 42501); {GRANT}"),  # noqa: E501
    ("read_only", ("load", "doc", "d.jsonl"), 1, f"cannot execute COPY FROM in a read-only transaction (SQLSTATE 25006); {READ_ONLY}"),  # noqa: E501
    ("read_only", ("create-index", "doc"), 1, f"cannot execute CREATE INDEX in a read-only transaction (SQLSTATE 25006); {READ_ONLY}"),  # noqa: E501
    ("url", ("create-index", "part", "--concurrently"), 2, 'cannot build part_e_cosine_hnsw concurrently (cannot create index on partitioned table "part" concurrently (SQLSTATE 0A000)): leave that out'),  # noqa: E501
    # Set-up
    ("bare", ("init-db", "models", "--no-create-extension"), 1, "the database has no type vector, because pgvector is not installed in it: run `lightvec init-db` or CREATE EXTENSION vector"),  # noqa: E501
    ("url", ("init-db", "models:Dok"), 2, "models:Dok: the module models has no model Dok: did you mean Doc?"),
    ("url", ("init-db", "models.py"), 2, "expected package.module or package.module:Model, got 'models.py': write models"),  # noqa: E501
    ("url", ("init-db", "--table", "t", "--dimensions", "99999"), 2, "a column of Vector has at most 16,000 dimensions, got 99,999: declare as many as your embedding model returns"),  # noqa: E501
]  # fmt: skip


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("where", "typed", "status", "said"), COMMANDS, ids=lambda value: str(value)[:60])
def test_a_command(run: Run, hour: Hour, where: str, typed: tuple[str, ...], status: int, said: str) -> None:
    sys.modules.pop("models", None)
    outcome = run(*typed, "--url", getattr(hour, where))
    told = outcome.err.splitlines()
    assert (outcome.status, outcome.out, told[-1]) == (status, "", f"lightvec: {said}")
    # create-index says before what memory it needs.
    assert len(told) == 1 or typed[0] == "create-index"


@pytest.mark.parametrize(
    ("typed", "command", "said"),
    [
        (("serch",), "", "No such command 'serch'."),
        (("search",), "search", "Missing argument 'TABLE'."),
        (("load", "doc", "nofile.jsonl"), "load", "Invalid value for 'FILE': File 'nofile.jsonl' does not exist."),
        (("init-db",), "init-db", "name a model (package.module or package.module:Model) or a table (--table NAME)"),
        (("search", "doc"), "search", "say what to search with: one of --vector or --like or --text, or WORDS"),
    ],
)
def test_a_call_that_cannot_be(run: Run, typed: tuple[str, ...], command: str, said: str) -> None:
    outcome = run(*typed)
    first, hint, blank, last = outcome.err.splitlines()
    assert (outcome.status, blank, last.partition(" (Did you mean")[0]) == (2, "", f"Error: {said}")
    assert first.startswith(f"Usage: lightvec {command}".rstrip())
    assert hint == f"Try '{f'lightvec {command}'.rstrip()} --help' for help."


def test_an_option_that_is_mistyped(run: Run) -> None:
    """click's words differ by its version."""
    outcome = run(*SEARCH, "--vektor", "x")
    assert (outcome.status, "--vektor" in outcome.err, "--vector" in outcome.err) == (2, True, True)


@pytest.mark.usefixtures("files")
def test_an_extra_that_is_missing(run: Run, hour: Hour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    outcome = run("load", "doc", "m.npy", "--url", hour.url)
    assert outcome == (
        "",
        "lightvec: reading m.npy needs a library that is not installed: pip install 'lightvec[numpy]'\n",
        1,
    )


# The way to the server


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://localhost:1/x",
            "nothing listens on localhost port 1: is the server running and is the port right?",
        ),
        (
            "postgresql://nosuch.invalid/x",
            "no address is known for the host 'nosuch.invalid': is the name right, and does this machine reach its "
            "name server?",
        ),
        (
            "postgresq://x",
            "the connection string begins with postgresq://, expected postgresql:// or embedded:PATH",
        ),
        (
            "host=x foo=bar",
            "'foo' in the connection string is no connection parameter: expected libpq's names, like host, sslmode or "
            "options",
        ),
    ],
)
def test_a_server_that_is_not_there(run: Run, url: str, said: str) -> None:
    outcome = run("doctor", "--url", url)
    assert (outcome.status in (1, 2), outcome.err) == (True, f"lightvec: {said}\n")
    with pytest.raises(LightvecError) as refused:
        lightvec.connect(url)
    assert str(refused.value) == said


def test_an_embedded_server_that_does_not_run(run: Run) -> None:
    assert run("server", "url").err == ("lightvec: no server runs in .lightvec: start it with lightvec server start\n")
    assert run("server", "url", "--path", "a b").err == (
        "lightvec: no server runs in a b: start it with lightvec server start --path 'a b'\n"
    )


def test_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    # Where the machine has a server of its own, there is something.
    monkeypatch.setattr("lightvec.wire.libpq.target._SOCKET_FOLDERS", ())
    monkeypatch.setattr("socket.socket.connect", _refuse)
    with pytest.raises(LightvecError) as refused:
        lightvec.connect(dbname="shop")
    assert str(refused.value) == (
        "no server is named, and nothing listens on localhost port 5432: name one by a connection string, DATABASE_URL "
        "or PGHOST (embedded:PATH starts one)"
    )
    with pytest.raises(LightvecError, match=r"^nothing listens on localhost port 5432"):
        lightvec.connect(host="localhost")


def _refuse(*_: object) -> None:
    raise ConnectionRefusedError


def refusals(run: Run, url: str) -> set[str]:
    """What is said of a server that does not let one in: by a command, a connection, and a model's database."""
    told = {run("doctor", "--url", url).err}
    for way_in in (lightvec.connect, lambda url: Pg8000Database(url).connect()):
        with pytest.raises(Exception) as refused:  # noqa: PT011
            way_in(url)
        told.add(f"lightvec: {refused.value}\n")
    return told


def test_a_database_and_a_user_that_are_not_there(run: Run, url: str) -> None:
    nowhere = url.replace(url.partition("?")[0].rpartition("/")[2], "nosuch")
    assert refusals(run, nowhere) == {
        'lightvec: database "nosuch" does not exist (SQLSTATE 3D000); create the database or name another\n'
    }
    assert refusals(run, url.replace("postgres@", "nobody@")) == {
        'lightvec: role "nobody" does not exist (SQLSTATE 28000); create the role with LOGIN '
        "(ALTER ROLE where it exists), or connect as another user (user=, PGUSER)\n"
    }


def test_a_wrong_password_and_no_tls(run: Run) -> None:
    with Postgres() as server:
        address = f"{server.host}:{server.port}/{DATABASE}"
        assert refusals(run, f"postgresql://me:wrong@{address}") == {
            'lightvec: password authentication failed for user "me" (SQLSTATE 28P01); check the user and the password\n'
        }
        assert refusals(run, f"postgresql://me@{address}") == {
            "lightvec: the server asks for a password and none was given: put it into the connection string, "
            "password=, PGPASSWORD or the password file\n"
        }
        assert refusals(run, f"postgresql://me:{quote(PASSWORD)}@{address}?sslmode=require") == {
            f"lightvec: {server.host} port {server.port} does not speak TLS, which sslmode=require requires: switch "
            f"ssl on in the server, or say sslmode=disable if the network between is trusted\n"
        }


# Python


class Doc(Model):
    title = TextField()
    embedding = VectorField(3, metric="cosine", null=True)


class Dok(Model):
    embedding = VectorField(3, metric="cosine")


class Long(Model):
    """What the program takes the table for, whose vectors have three dimensions."""

    title = TextField()
    embedding = VectorField(4, metric="cosine")

    class Meta:
        table_name = "doc"


class Unbound(Model):
    embedding = VectorField(3, metric="cosine")


#: Where it is run, what is written, and what is said.
PROGRAMS: dict[str, tuple[str, Callable[[], Any], str]] = {
    "dimensions in": ("url", lambda: Doc.create(title="a", embedding=[1, 2]), f"Doc.embedding expected 3 dimensions, not 2: {MODEL}"),  # noqa: E501
    "dimensions asked": ("url", lambda: Doc.embedding.nearest([1, 2]), f"Doc.embedding expected 3 dimensions, not 2: {MODEL}"),  # noqa: E501
    "dimensions of the table": ("url", lambda: Long.create(title="a", embedding=[1, 2, 3, 4]), f"expected 3 dimensions, not 4 (SQLSTATE 22000); {OTHER_DIMENSIONS}"),  # noqa: E501
    "dimensions asked of the table": ("url", lambda: list(Long.embedding.nearest([1, 2, 3, 4])), f"different vector dimensions 3 and 4 (SQLSTATE 22000); {OTHER_DIMENSIONS}"),  # noqa: E501
    "no database": ("url", lambda: list(Unbound.embedding.nearest([1, 2, 3])), "Unbound has no database: set it in its Meta (database = Pg8000Database()) or by database.bind([Unbound])"),  # noqa: E501
    "no table": ("url", lambda: list(Dok.select()), 'relation "dok" does not exist (SQLSTATE 42P01); create it (lightvec init-db creates the tables of models), or correct its name or the search_path'),  # noqa: E501
    "no extension": ("bare", lambda: Doc._meta.database.execute_sql("CREATE TABLE doc (embedding vector(3))"), 'type "vector" does not exist (SQLSTATE 42704); pgvector is not installed in this database: run `lightvec init-db` or CREATE EXTENSION vector'),  # noqa: E501
    "no extension to ask": ("bare", lambda: list(Doc.embedding.nearest([1, 2, 3])), "the database has no type vector, because pgvector is not installed in it: run `lightvec init-db` or CREATE EXTENSION vector"),  # noqa: E501
    "no privilege": ("reader", lambda: list(Doc.select()), f"permission denied for table doc (SQLSTATE 42501); {GRANT}"),  # noqa: E501
    "read-only": ("read_only", lambda: Doc.create(title="a"), f"cannot execute INSERT in a read-only transaction (SQLSTATE 25006); {READ_ONLY}"),  # noqa: E501
    "metric": ("url", lambda: Doc.embedding.nearest([1, 2, 3], metric="far"), "'far' is not a metric here: expected 'l2', 'ip', 'cosine' or 'l1'"),  # noqa: E501
    "k": ("url", lambda: Doc.embedding.nearest([1, 2, 3], k=0), "expected k, the number of rows, to be at least 1, got 0 (int)"),  # noqa: E501
    "min_score": ("url", lambda: Doc.embedding.nearest([1, 2, 3], min_score=float("nan")), "expected min_score to be a number, got nan"),  # noqa: E501
    "m": ("url", lambda: HnswIndex("embedding", m=1), "expected m from 2 to 100, got 1"),
    "dimensions of a field": ("url", lambda: VectorField(99_999), "a column of Vector has at most 16,000 dimensions, got 99,999: declare as many as your embedding model returns"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(hour: Hour, name: str) -> None:
    where, run, said = PROGRAMS[name]
    database = Pg8000Database(getattr(hour, where))
    with database.bind_ctx([Doc, Dok, Long]), database.connection_context(), pytest.raises(Exception) as failed:  # noqa: PT011
        run()
    assert str(failed.value) == said


def test_sql_of_ones_own(hour: Hour) -> None:
    with connect(hour.url) as conn, pytest.raises(LightvecError) as failed:
        conn.run("SELECT titel FROM doc")
    assert str(failed.value) == (
        'column "titel" does not exist (SQLSTATE 42703); Perhaps you meant to reference the column "doc.title"; '
        "correct its name, or add the column to the table (\\d TABLE in psql lists its columns)"
    )
    with connect(hour.url) as conn, pytest.raises(LightvecError) as failed:
        conn.run("SELECT * FROM doc ORDER BY embedding <=> :v", v=[1, 2, 3])
    assert str(failed.value) == (
        "operator does not exist: vector <=> integer[] (SQLSTATE 42883); No operator matches the given name and "
        "argument types. You might need to add explicit type casts; a list is sent as an array: write "
        "lightvec.Vector([...]) for a vector"
    )
    with connect(hour.url) as conn, pytest.raises(LightvecError) as failed:
        conn.run("SELECT * FROM doc ORDER BY embedding <=> :v", v=Vector([1, 2]))
    assert str(failed.value) == f"different vector dimensions 3 and 2 (SQLSTATE 22000); {OTHER_DIMENSIONS}"
    with connect(hour.url) as conn, pytest.raises(LightvecError) as failed:
        conn.run("SELECT pg_sleep(5)", settings={"statement_timeout": 50})
    assert str(failed.value) == (
        "canceling statement due to statement timeout (SQLSTATE 57014); if nobody canceled it, it ran longer than "
        "statement_timeout: raise that, or ask for less"
    )


@pytest.mark.parametrize(
    ("sql", "at", "left"),
    [
        ("SELECT '%s', title FROM doc WHERE id = %s", "%", "%s"),
        ("SELECT title FROM doc WHERE id % 2 = :odd", ":", ":odd"),
    ],
)
def test_a_placeholder_without_a_value(hour: Hour, sql: str, at: str, left: str) -> None:
    with connect(hour.url) as conn, pytest.raises(LightvecError) as failed:
        conn.run(sql)
    assert str(failed.value) == (
        f'syntax error at or near "{at}" (SQLSTATE 42601); {left} was sent unchanged: give its value with the '
        f"statement, as conn.run(sql, name=value) for :name and cursor.execute(sql, values) for %s"
    )
    with connect(hour.url) as conn, pytest.raises(LightvecError) as failed:
        conn.run("SELEC '%s', ':odd'")
    assert str(failed.value) == 'syntax error at or near "SELEC" (SQLSTATE 42601)'
