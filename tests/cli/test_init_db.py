"""init-db: what it makes, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run

MODELS = """
class Base(Model):
    class Meta:
        legacy_table_names = False

class Doc(Base):
    title = TextField(index=True)
    embedding = VectorField(3, metric="cosine", index="hnsw")

class Note(Base):
    doc = ForeignKeyField(Doc)
    embedding = HalfVectorField(4)

    class Meta:
        indexes = (IvfflatIndex("embedding", metric="l2", lists=5),)
"""

Write = Callable[[str], str]


def relations(url: str) -> dict[str, str]:
    """Name and kind of every table and index of the user's."""
    with connect(url) as conn:
        rows = conn.run(
            "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'i')"
        )
    return dict(rows or [])


def test_makes_all_that_the_models_need(run: Run, write_module: Write, empty_url: str) -> None:
    outcome = run("init-db", write_module(MODELS), "--url", empty_url)
    assert outcome.status == 0, outcome.err
    made = [line.split() for line in outcome.out.splitlines()]
    assert ["created", "extension", "vector"] in made
    assert ["created", "index", "doc_embedding_cosine_hnsw"] in made
    assert ["created", "index", "note_embedding_l2_ivfflat"] in made
    found = relations(empty_url)
    assert found["doc"] == found["note"] == "r"
    assert found["doc_embedding_cosine_hnsw"] == found["note_embedding_l2_ivfflat"] == "i"
    assert "base" not in found


def test_can_be_repeated(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(MODELS)
    first = run("init-db", module, "--url", empty_url, "--json")
    before = relations(empty_url)
    again = run("init-db", module, "--url", empty_url, "--json")
    assert (first.status, again.status) == (0, 0)
    assert all(step["created"] for step in json.loads(first.out))
    assert not any(step["created"] for step in json.loads(again.out))
    assert relations(empty_url) == before


def test_one_model_by_name(run: Run, write_module: Write, empty_url: str) -> None:
    assert run("init-db", f"{write_module(MODELS)}:Doc", "--url", empty_url).status == 0
    assert "note" not in relations(empty_url)


def test_dry_run_prints_sql_that_works_and_changes_nothing(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(MODELS)
    outcome = run("init-db", module, "--url", empty_url, "--dry-run")
    assert outcome.status == 0
    assert relations(empty_url) == {}
    with connect(empty_url) as conn:
        conn.run(outcome.out)
    steps = json.loads(run("init-db", module, "--url", empty_url, "--json").out)
    assert not any(step["created"] for step in steps)


def test_a_table_without_a_model(run: Run, url: str, empty_url: str) -> None:
    outcome = run(
        *("init-db", "--url", empty_url, "--table", "doc", "--dimensions", 5, "--metric", "l2"),
        *("--column", "title:text", "--column", "tags:json", "--column", "price:numeric"),
    )
    assert outcome.status == 0, outcome.err
    with connect(empty_url) as conn:
        conn.run("INSERT INTO doc (title, tags, price, embedding) VALUES ('a', '[1]', 1234567.12345678, '[1,2,3,4,5]')")
        assert conn.run("SELECT CAST(price AS text) FROM doc") == [["1234567.12345678"]]
        index = conn.run("SELECT indexdef FROM pg_indexes WHERE indexname = 'doc_embedding_l2_hnsw'")
    assert index is not None
    assert "vector_l2_ops" in index[0][0]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("int", "integer"),
        ("integer", "integer"),
        ("BIGINT", "bigint"),
        ("double precision", "double precision"),
        ("boolean", "boolean"),
        ("timestamptz", "timestamp with time zone"),
        ("jsonb", "jsonb"),
        ("bytea", "bytea"),
    ],
)
def test_types_of_columns(run: Run, empty_url: str, given: str, kind: str) -> None:
    described = ("--table", "t", "--dimensions", 8, "--index", "none", "--column", f"n:{given}")
    assert run("init-db", "--url", empty_url, *described).status == 0
    with connect(empty_url) as conn:
        rows = conn.run("SELECT data_type FROM information_schema.columns WHERE column_name = 'n' AND table_name = 't'")
    assert rows == [[kind]]


@pytest.mark.parametrize(
    ("vector_type", "index", "operator_class"),
    [
        ("halfvec", "ivfflat", "halfvec_cosine_ops"),
        ("sparsevec", "hnsw", "sparsevec_cosine_ops"),
        ("bit", "hnsw", "bit_hamming_ops"),
        ("vector", "none", None),
    ],
)
def test_types_and_indexes_without_a_model(
    run: Run, empty_url: str, vector_type: str, index: str, operator_class: str | None
) -> None:
    described = ("--table", "t", "--dimensions", 8, "--type", vector_type, "--index", index)
    assert run("init-db", "--url", empty_url, *described).status == 0
    with connect(empty_url) as conn:
        found = conn.run("SELECT indexdef FROM pg_indexes WHERE tablename = 't' AND indexname LIKE '%embedding%'")
    assert [operator_class in row[0] for row in found or [] if operator_class] == [True] * bool(operator_class)


def test_schema(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(MODELS)
    for made in (True, False):
        outcome = run("init-db", module, "--url", empty_url, "--schema", 'my "app"', "--json")
        assert outcome.status == 0, outcome.err
        tables = [step for step in json.loads(outcome.out) if step["kind"] in ("schema", "table", "index")]
        assert [step["created"] for step in tables] == [made] * len(tables)
    assert relations(empty_url) == {}
    with connect(empty_url) as conn:
        assert conn.run('SELECT count(*) FROM "my ""app""".doc') == [[0]]


def test_concurrently(run: Run, write_module: Write, empty_url: str) -> None:
    outcome = run("init-db", write_module(MODELS), "--url", empty_url, "--concurrently")
    assert outcome.status == 0, outcome.err
    assert (
        "CONCURRENTLY"
        in run("init-db", "--url", empty_url, "--table", "x", "--dimensions", 3, "--dry-run", "--concurrently").out
    )
    assert "doc_embedding_cosine_hnsw" in relations(empty_url)


def test_an_invalid_index_is_built_again(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(MODELS)
    run("init-db", module, "--url", empty_url)
    with connect(empty_url) as conn:
        conn.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'doc_embedding_cosine_hnsw'::regclass")
    outcome = run("init-db", module, "--url", empty_url)
    assert "created  index      doc_embedding_cosine_hnsw" in outcome.out
    with connect(empty_url) as conn:
        assert conn.run("SELECT indisvalid FROM pg_index WHERE indexrelid = 'doc_embedding_cosine_hnsw'::regclass") == [
            [True]
        ]


@pytest.mark.parametrize("concurrently", [(), ("--concurrently",)])
def test_the_extension_in_another_schema(
    run: Run, write_module: Write, empty_url: str, concurrently: tuple[str, ...]
) -> None:
    with connect(empty_url) as conn:
        conn.run('CREATE SCHEMA "ex t"; CREATE EXTENSION vector SCHEMA "ex t"')
    module = write_module(MODELS)
    assert run("init-db", module, "--url", empty_url, *concurrently).status == 0
    assert "created" not in run("init-db", module, "--url", empty_url).out


def test_the_models_own_database_is_used_when_no_other_is_named(run: Run, write_module: Write, empty_url: str) -> None:
    body = f"db = Pg8000Database({empty_url!r})\nclass Own(Model):\n    v = VectorField(2)\n"
    outcome = run("init-db", write_module(f"{body}    class Meta:\n        database = db\n"))
    assert (outcome.status, outcome.err) == (0, "")
    assert "own" in relations(empty_url)


def test_a_package_gives_the_models_of_its_modules(run: Run, tmp_path: Path, empty_url: str) -> None:
    package = tmp_path / "shop_of_models"
    package.mkdir()
    (package / "__init__.py").write_text("from shop_of_models.things import Thing\n")
    (package / "things.py").write_text(
        "from peewee import Model\nfrom lightvec.peewee import VectorField\n\n"
        "class Thing(Model):\n    v = VectorField(2)\n"
    )
    assert run("init-db", "shop_of_models", "--url", empty_url).status == 0
    assert "thing" in relations(empty_url)


# What is refused, with the database as it was before


def test_a_failure_leaves_nothing(run: Run, write_module: Write, empty_url: str) -> None:
    body = (
        MODELS
        + "\nclass Bad(Model):\n    v = VectorField(2)\n    class Meta:\n        constraints = [Check('nonsense')]\n"
    )
    outcome = run("init-db", write_module(body), "--url", empty_url)
    assert outcome.status == 1
    assert 'column "nonsense" does not exist' in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert relations(empty_url) == {}
    with connect(empty_url) as conn:
        assert conn.run("SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == [[0]]


def test_dimensions_that_do_not_fit_the_column(run: Run, write_module: Write, empty_url: str) -> None:
    run("init-db", write_module(MODELS), "--url", empty_url)
    before = relations(empty_url)
    outcome = run("init-db", write_module(MODELS.replace("VectorField(3", "VectorField(768")), "--url", empty_url)
    assert outcome.status == 1
    assert "doc.embedding of Doc: it is vector(3), expected vector(768): `lightvec diff`" in outcome.err
    assert relations(empty_url) == before


def test_a_column_that_the_table_lacks(run: Run, write_module: Write, empty_url: str) -> None:
    run("init-db", write_module(MODELS), "--url", empty_url)
    body = MODELS.replace("title = TextField(index=True)", "title = TextField(index=True)\n    author = TextField()")
    outcome = run("init-db", write_module(body), "--url", empty_url)
    assert outcome.status == 1
    assert "the column doc.author of Doc: it is missing: `lightvec diff` prints how" in outcome.err


def test_no_privilege_to_create_the_extension(run: Run, write_module: Write, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("DROP ROLE IF EXISTS lowly; CREATE ROLE lowly LOGIN")
        conn.run("GRANT CREATE ON SCHEMA public TO lowly")
    lowly = empty_url.replace("postgres@", "lowly@")
    module = write_module(MODELS)
    outcome = run("init-db", module, "--url", lowly)
    assert outcome.status == 1
    assert "must run `CREATE EXTENSION vector`" in outcome.err
    assert relations(empty_url) == {}
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
    assert run("init-db", module, "--url", lowly).status == 0


def test_no_create_extension(run: Run, write_module: Write, empty_url: str) -> None:
    outcome = run("init-db", write_module(MODELS), "--url", empty_url, "--no-create-extension")
    assert outcome.status == 1
    assert "CREATE EXTENSION vector" in outcome.err
    assert relations(empty_url) == {}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nowhere.models", "there is no module nowhere"),
        ("json", "holds no Peewee model"),
        ("examples.models:Glos", "did you mean Gloss?"),
        ("examples/models.py", "write examples.models"),
        ("", "expected package.module"),
        ("a b", "expected package.module"),
    ],
)
def test_model_paths_that_name_nothing(run: Run, path: str, told: str, url: str) -> None:
    outcome = run("init-db", path, "--url", url)
    assert outcome.status == 2
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("column", ["Meta", "save", "select", "_meta", "DoesNotExist", "id_", "score"])
def test_a_column_may_have_any_name(run: Run, empty_url: str, column: str) -> None:
    outcome = run(
        *("init-db", "--url", empty_url, "--table", "t", "--dimensions", 2),
        *("--column", f"{column}:text", "--column", "save_:int"),
    )
    assert outcome.status == 0, outcome.err
    with connect(empty_url) as conn:
        names = conn.run("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0")
    assert [name for (name,) in names or []] == ["id", column, "save_", "embedding"]


def test_a_dry_run_as_json(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(MODELS)
    steps = json.loads(run("init-db", f"{module}:Doc", "--url", empty_url, "--dry-run", "--json").out)
    extension = {"kind": "extension", "name": "vector", "created": False, "exists": False}
    assert steps[0] == {**extension, "sql": ["CREATE EXTENSION vector"]}
    assert relations(empty_url) == {}


def test_what_exists_and_differs(run: Run, empty_url: str) -> None:
    """It is neither claimed to exist nor changed; what does not exist is created."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
        conn.run("CREATE TABLE t (id bigserial PRIMARY KEY, title varchar(9), embedding vector(2))")
    arguments = ["init-db", "--url", empty_url, "--table", "t", "--dimensions", "2", "--column", "title:text"]
    difference = "it is character varying(9), expected text"
    dry = run(*arguments, "--dry-run")
    assert f"-- type t.title differs: {difference}\n" in dry.out
    first = run(*arguments)
    assert first.status == 1
    assert f"differs  type       t.title: {difference}\n" in first.out
    assert "created  index      t_embedding_cosine_hnsw\n" in first.out
    steps = {step["name"]: step for step in json.loads(run(*arguments, "--json").out)}
    assert steps["t.title"] == {"kind": "type", "name": "t.title", "created": False, "differs": difference}
    assert "t" not in steps
    other = run(*arguments, "--metric", "l2")
    assert "differs  index      t_embedding_cosine_hnsw: t does not declare it" in other.out


def test_a_model_that_the_module_takes_from_another(run: Run, tmp_path: Path, empty_url: str) -> None:
    (tmp_path / "models_of_an_app.py").write_text(
        "from peewee import Model\nfrom lightvec.peewee import VectorField\n\n"
        "class Thing(Model):\n    v = VectorField(2)\n"
    )
    (tmp_path / "an_app.py").write_text("from models_of_an_app import Thing as Doc\n")
    assert run("init-db", "an_app:Doc", "--url", empty_url).status == 0
    assert "thing" in relations(empty_url)


# Which database


def module_on(declaration: str) -> str:
    return f"db = {declaration}\nclass Own(Model):\n    v = VectorField(2)\n    class Meta:\n        database = db\n"


@pytest.mark.parametrize("variable", ["DATABASE_URL", "PGUSER", "PGHOST"])
def test_models_that_name_their_database_come_before_the_environment(
    run: Run, write_module: Write, empty_url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "nowhere")
    outcome = run("init-db", write_module(module_on(f"Pg8000Database({empty_url!r})")))
    assert (outcome.status, outcome.err) == (0, "")
    assert "own" in relations(empty_url)


@pytest.mark.parametrize(
    "declaration", ["Pg8000Database()", "Pg8000Database(None)", "Pg8000Database(sslmode='disable')"]
)
def test_models_that_leave_it_open_go_by_the_environment(
    run: Run, write_module: Write, empty_url: str, declaration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    assert run("init-db", write_module(module_on(declaration))).status == 0
    assert "own" in relations(empty_url)


def test_models_that_leave_it_open_get_the_embedded_server(
    run: Run, write_module: Write, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightvec.cli.options._start_embedded", lambda dsn: empty_url)
    outcome = run("init-db", write_module(module_on("Pg8000Database()")))
    assert outcome.status == 0
    assert "using the embedded server" in outcome.err
    assert "own" in relations(empty_url)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (module_on("SqliteDatabase(':memory:')"), "belong to a SqliteDatabase"),
        (module_on("PostgresqlDatabase('x')"), "belong to a PostgresqlDatabase"),
        (module_on("Pg8000Database('a')") + module_on("Pg8000Database('b')").replace("Own", "Two"), "different"),
    ],
)
def test_models_on_a_database_that_cannot_be_meant(
    run: Run, write_module: Write, empty_url: str, body: str, told: str
) -> None:
    module = write_module(body)
    outcome = run("init-db", module)
    assert outcome.status == 1
    assert told in outcome.err
    assert "--url" in outcome.err
    assert run("init-db", module, "--url", empty_url).status == 0


@pytest.mark.parametrize("body", ["import not_installed_anywhere", "1/0", "def broken(:", "import sys; sys.exit()"])
def test_a_module_that_cannot_be_imported(run: Run, write_module: Write, url: str, body: str) -> None:
    outcome = run("init-db", write_module(body), "--url", url)
    assert outcome.status == 2
    assert "cannot be imported" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a model"),
        (("--table", "t"), "needs --dimensions"),
        (("--dimensions", "3"), "needs --table"),
        (("--table", "t", "--dimensions", "0"), "0 is not in the range"),
        (("examples.models", "--table", "t", "--dimensions", "3"), "not both"),
        (("--table", "t", "--dimensions", "3", "--column", "x"), "expected NAME:TYPE"),
        (("--table", "t", "--dimensions", "3", "--column", "x:varchar2"), "expected NAME:TYPE"),
        (("--table", "t", "--dimensions", "3", "--column", "embedding:text"), "has a column embedding already"),
        (("--type", "bit"), "--type describes a table, so it needs --table"),
        (("examples.models", "--index", "none"), "--index describes a table, so it needs --table"),
        (("examples.models", "--dimensions", "3"), "--dimensions describes a table, so it needs --table"),
        (("--table", "t", "--dimensions", "3", "--metric", "euclid"), "'euclid' is not a metric here"),
        (("--table", "t", "--dimensions", "3", "--metric", "hamming"), "'hamming' is not a metric here"),
        (("--table", "t", "--dimensions", "70000"), "at most 16,000"),
    ],
)
def test_wrong_calls(run: Run, arguments: tuple[str, ...], told: str, url: str) -> None:
    outcome = run("init-db", *arguments, "--url", url)
    assert outcome.status == 2
    assert told in outcome.err
    assert outcome.out == ""


def test_hostile_names_are_quoted(run: Run, empty_url: str) -> None:
    name = 'x"; DROP TABLE y; --'
    column = "c'; SELECT 1; --:text"
    for _ in range(2):
        outcome = run("init-db", "--url", empty_url, "--table", name, "--dimensions", 2, "--column", column)
        assert outcome.status == 0, outcome.err
    assert name in relations(empty_url)


def test_more_dimensions_than_an_index_takes(run: Run, empty_url: str) -> None:
    arguments = ("init-db", "--table", "page", "--dimensions", "3072", "--metric", "ip", "--url", empty_url)
    outcome = run(*arguments)
    assert "page_embedding_ip_halfvec_hnsw" in outcome.out
    assert outcome.err.startswith("note: ")
    assert "3,072 dimensions" in outcome.err
    assert run(*arguments).err == "", "it is said when it is made"


# In the way of a build


@contextmanager
def writing(url: str, seconds: float) -> Iterator[None]:
    """Somebody writes to the table for so long."""
    with connect(url) as other:
        other.run("BEGIN")
        other.run("INSERT INTO doc DEFAULT VALUES")
        timer = Timer(seconds, other.run, ["COMMIT"])
        timer.start()
        try:
            yield
        finally:
            timer.join()


@pytest.mark.parametrize("concurrently", [(), ("--concurrently",)])
def test_a_role_with_a_statement_timeout(run: Run, empty_url: str, concurrently: tuple[str, ...]) -> None:
    table = ("--table", "doc", "--dimensions", 3)
    assert run("init-db", *table, "--index", "none", "--url", empty_url).status == 0
    with writing(empty_url, 1.5):
        where = f"{empty_url}&options=-c%20statement_timeout%3D500ms"
        outcome = run("init-db", *table, *concurrently, "--url", where)
    assert outcome.status == 0, outcome.err
    assert "doc_embedding_cosine_hnsw" in relations(empty_url)


def test_what_a_build_that_failed_left_is_told(run: Run, empty_url: str) -> None:
    table = ("--table", "doc", "--dimensions", 3, "--concurrently")
    assert run("init-db", *table, "--index", "none", "--url", empty_url).status == 0
    with writing(empty_url, 1.5):
        outcome = run("init-db", *table, "--url", f"{empty_url}&options=-c%20lock_timeout%3D300ms")
    assert outcome.status == 1
    assert outcome.err.startswith(
        "an index may be left invalid, which no query uses: run the command again, which drops and rebuilds it\n"
        "lightvec: canceling statement due to lock timeout (SQLSTATE 55P03)"
    )
    assert run("init-db", *table, "--url", empty_url).status == 0


def test_no_concurrent_build_on_a_partitioned_table(run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
        conn.run("CREATE TABLE doc (id bigserial PRIMARY KEY, embedding vector(3)) PARTITION BY LIST (id)")
    outcome = run("init-db", "--table", "doc", "--dimensions", 3, "--concurrently", "--url", empty_url)
    assert outcome.status == 1
    assert outcome.err == (
        "lightvec: the index doc_embedding_cosine_hnsw cannot be built concurrently (cannot create index on "
        'partitioned table "doc" concurrently (SQLSTATE 0A000)): leave concurrently out\n'
    )
    assert run("init-db", "--table", "doc", "--dimensions", 3, "--url", empty_url).status == 0
