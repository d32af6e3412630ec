"""``lightvec switch``: nobody gets an answer of two models, and an interrupted switch goes on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import peewee
import pytest
from peewee import AutoField, ProgrammingError, TextField

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import HalfVectorField, Pg8000Database, VectorField
from lightvec.peewee.brief_locks import run_briefly
from lightvec.peewee.invalid_indexes import sqlstate_of
from lightvec.peewee.reflect import model_with
from lightvec.peewee.schema import plan
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.search.switching import Switch
from tests.cli.conftest import Run

#: The number of the model is the last element of its vectors.
MODULE = """
from itertools import count

OLD = dict(metric="cosine", model="one", source="body", index="hnsw")
NEW = dict(metric="l2", model="two", source="body", index="hnsw")

class Doc(Model):
    body = TextField(null=True)
{fields}

def vector(text, number, size):
    numbers = [(hash_of(text) >> 4 * place) % 16 for place in range(size - 1)]
    return [*numbers, number]

def hash_of(text):
    from zlib import crc32
    return crc32(text.encode()) << 32 | crc32(text[::-1].encode())

def embed_1(texts):
    return [vector(text, 1, 4) for text in texts]

def embed_2(texts):
    return [vector(text, 2, 6) for text in texts]
"""
ONE = "    embedding = VectorField(4, **OLD)"
BOTH = ONE + "\n    embedding_v2 = HalfVectorField(6, **NEW)"
TWO = "    embedding_v2 = HalfVectorField(6, **NEW)"
RENAMED = "    embedding = HalfVectorField(6, **NEW)"


class App:
    """The user's module, with the table of its first version filled."""

    def __init__(self, run: Run, write_module: Callable[[str], str], url: str, rows: int = 120) -> None:
        self._run, self._write, self.url = run, write_module, url
        self.one, self.both = self.module(ONE), self.module(BOTH)
        assert run("init-db", self.one, "--url", url).status == 0
        with connect(url) as conn:
            conn.run("INSERT INTO doc (body) SELECT 'text ' || n FROM generate_series(1, :rows) n", rows=rows)
            conn.run("INSERT INTO doc (body) VALUES (NULL)")
        assert run("fill", self.one, "--with", f"{self.one}:embed_1", "--url", url).status == 0

    def module(self, fields: str, text: str = MODULE) -> str:
        return self._write(text.replace("{fields}", fields))

    def switch(self, *options: object, module: str = "") -> Any:
        module = module or self.both
        return self._run("switch", f"{module}:Doc.embedding", "embedding_v2", *options, "--url", self.url)

    def move(self, *options: object) -> Any:
        return self.switch("--with", f"{self.both}:embed_2", *options)

    def model(self, module: str) -> Any:
        return import_module(module).Doc


@pytest.fixture
def app(run: Run, write_module: Callable[[str], str], empty_url: str) -> App:
    return App(run, write_module, empty_url)


@contextmanager
def bound(app: App, module: str) -> Iterator[Any]:
    database, model = Pg8000Database(app.url), app.model(module)
    with database.connection_context(), database.bind_ctx([model]):
        yield model


def check_is_as_declared(app: App, fields: str) -> None:
    """All that the class declares exists, and nothing else of vectors does."""
    module = app.module(fields)
    with bound(app, module) as model:
        database = model._meta.database
        assert [step for step in plan(database, [model]) if not step.exists] == []
        columns = {column.name for column in database.get_columns("doc")}
        assert columns == {field.column_name for field in model._meta.sorted_fields}
        indexes = {index.name for index in database.get_indexes("doc")} - {"doc_pkey"}
        assert len(indexes) == fields.count("Field(") * 2
        assert model.select().where(model.body.is_null(False)).count() == 120


def test_a_whole_run(app: App) -> None:
    moved = app.move()
    assert moved.status == 0, moved.err
    assert "120 rows have a vector in embedding_v2, 0 are pending\n" in moved.out
    assert re.search(r"^recall@10 of \S*embedding_v2 by l2: (1\.0|0\.9)", moved.out, re.MULTILINE), moved.out
    assert "--finish" in moved.out
    assert "filled: 120 rows of doc.embedding_v2" in moved.err
    again = app.move("--json")
    assert json.loads(again.out) | {"kept": 0, "recall": 1} == {
        "filled": 120,
        "pending": 0,
        "sample": 50,
        "kept": 0,
        "recall": 1,
    }
    # Readers and the class have moved.
    two = app.module(TWO)
    finished = app.switch("--finish", module=two)
    assert (finished.out, finished.status) == ("dropped: doc.embedding\n", 0)
    again = app.switch("--finish", module=two)
    assert (again.out, again.status) == ("nothing to drop: doc has no column embedding\n", 0)
    check_is_as_declared(app, TWO)


def test_the_old_name_stays(app: App) -> None:
    app.move()
    renamed = app.switch("--rename")
    assert renamed.status == 0, renamed.err
    again = app.switch("--rename")
    assert (again.out, again.status) == ("nothing to do: doc.embedding_v2 was renamed to embedding\n", 0)
    check_is_as_declared(app, RENAMED)
    with bound(app, app.module(RENAMED)) as model:
        assert model.embedding.pending().count() == 0


def test_it_is_taken_back(app: App) -> None:
    app.move()
    assert app.switch("--abandon").out == "dropped: doc.embedding_v2\n"
    assert app.switch("--abandon").status == 0
    check_is_as_declared(app, ONE)


def test_a_dry_run_changes_nothing(app: App) -> None:
    shown = app.switch("--dry-run")
    assert (shown.err, shown.status) == ("", 0)
    before = shown.out
    assert before.splitlines() == [
        'ALTER TABLE "doc" ADD COLUMN IF NOT EXISTS "embedding_v2" halfvec(6), '
        'ADD COLUMN IF NOT EXISTS "embedding_v2_hash" UUID;',
        """COMMENT ON COLUMN "doc"."embedding_v2" IS 'lightvec: {"model": "two", "source": ["body"]}';""",
        *[line for line in before.splitlines() if "doc_embedding_v2_pending" in line],
        "-- fill 121 rows of Doc.embedding_v2",
        'CREATE INDEX CONCURRENTLY "doc_embedding_v2_l2_hnsw" ON "doc" USING hnsw ("embedding_v2" halfvec_l2_ops);',
    ]
    check_is_as_declared(app, ONE)
    app.move()
    assert app.switch("--dry-run").out == "-- fill 0 rows of Doc.embedding_v2\n"
    assert app.switch("--dry-run", "--finish").out.splitlines() == [
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."doc_embedding_cosine_hnsw";',
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."doc_embedding_pending";',
        'ALTER TABLE "doc" DROP COLUMN IF EXISTS "embedding", DROP COLUMN IF EXISTS "embedding_hash";',
    ]
    assert "RENAME COLUMN" in app.switch("--dry-run", "--rename").out


def test_what_is_pending_is_not_left_behind(app: App) -> None:
    app.move()
    with connect(app.url) as conn:
        conn.run("UPDATE doc SET body = 'new' WHERE id = 5")
    for ending in ("--finish", "--rename"):
        refused = app.switch(ending)
        assert refused.status == 1
        assert "1 rows of Doc.embedding_v2 have no vector of their present text" in refused.err
    assert "filled: 1 rows" in app.move().err
    assert app.switch("--finish").status == 0


def test_the_same_neighbors_stay(app: App, run: Run) -> None:
    turned = MODULE.replace("vector(text, 2, 6)", "vector(text, 1, 4)[::-1]").replace('metric="l2"', 'metric="cosine"')
    module = app.module(BOTH.replace("HalfVectorField(6", "VectorField(4"), turned)
    done = run("switch", f"{module}:Doc.embedding", "embedding_v2", "--with", f"{module}:embed_2", "--url", app.url)
    assert "100 % of the ten nearest rows stay (mean of 50 rows)" in done.out, done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{both}:Doc.embedding", "embedding_v2"], "name the function that makes the new vectors"),
        (
            ["{both}:Doc.embedding", "nothing", "--finish"],
            "Doc has no vector field nothing: declare it beside embedding",
        ),
        (["{both}:Doc.embedding", "body", "--finish"], "Doc has no vector field body"),
        (["{both}:Doc.embedding", "embedding", "--finish"], "expected two fields of Doc, got embedding twice"),
        (["{both}:Doc", "embedding_v2", "--finish"], "expected PACKAGE.MODULE:MODEL.FIELD"),
        (["{both}:.embedding", "embedding_v2", "--finish"], "expected PACKAGE.MODULE:MODEL.FIELD"),
        (["{both}:Doc.embedding", "embedding_v2", "--finish", "--abandon"], "expected one of --finish, --rename and"),
        (["{both}:Doc.embedding", "embedding_v2", "--finish"], "has no column embedding_v2: run the switch first"),
        (["{both}:Doc.embedding", "embedding_v2", "--rename"], "has no column embedding_v2: run the switch first"),
        (["{both}:Doc.body", "embedding_v2", "--abandon"], ""),
    ],
)
def test_wrong_usage(app: App, run: Run, arguments: list[str], message: str) -> None:
    done = run("switch", *[each.format(both=app.both) for each in arguments], "--url", app.url)
    assert message in done.err
    assert done.status in ((1, 2) if message else (0,))
    check_is_as_declared(app, ONE)


def test_only_vectors_are_dropped(app: App) -> None:
    app.move()
    done = app.switch("--dry-run")
    with bound(app, app.both) as model, pytest.raises(SchemaMismatch, match="body is text, expected one of vectors"):
        Switch(model.embedding_v2, "body").finish()
    with (
        bound(app, app.both) as model,
        model._meta.database.atomic(),
        pytest.raises(InvalidOption, match="transaction"),
    ):
        Switch(model.embedding_v2, "embedding")
    assert done.status == 0


def test_a_column_of_another_type(app: App) -> None:
    with connect(app.url) as conn:
        conn.run("ALTER TABLE doc ADD COLUMN embedding_v2 vector(3)")
    assert "embedding_v2 is vector(3), expected halfvec(6): --abandon drops it" in app.move().err
    assert app.switch("--abandon").status == 0
    assert app.move().status == 0


def test_killed_at_any_time_it_converges(app: App, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightvec", "switch", f"{app.both}:Doc.embedding", "embedding_v2"]
    command += ["--with", f"{app.both}:embed_2", "--batch", "3", "--url", app.url]
    done = 0
    for step in range(12):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(0.35 + 0.06 * step)
            done += process.poll() == 0
            process.kill()
    assert app.move().status == 0
    assert app.switch("--finish").status == 0
    check_is_as_declared(app, TWO)


@pytest.mark.parametrize("step", ["prepare", "fill", "build"])
def test_sessions_ended_at_a_step(app: App, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement of a step fails once, by the end of all sessions before it."""
    statements = 0
    execute = Pg8000Database.execute_sql
    while True:
        left = statements

        def fails(self: Pg8000Database, *args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                raise OperationalError("the connection is lost")
            return execute(self, *args, **options)

        with bound(app, app.both) as model, monkeypatch.context() as patch:
            switch = Switch(model.embedding_v2, "embedding")
            if step != "prepare":
                switch.prepare()
            patch.setattr(Pg8000Database, "execute_sql", fails)
            arguments = [sys.modules[app.both].embed_2] if step == "fill" else []
            try:
                getattr(switch, step)(*arguments)
            except (OperationalError, peewee.OperationalError):
                statements += 1
                continue
        break
    assert statements >= 2
    assert app.move().status == 0
    assert app.switch("--finish").status == 0
    check_is_as_declared(app, TWO)


def test_readers_and_writers_throughout(app: App, tmp_path: Path) -> None:
    """No answer has vectors of two models, and no writer waits long."""
    end, errors, answers, waits = threading.Event(), list[BaseException](), [0], list[float]()

    def guarded(task: Callable[[], None]) -> Callable[[], None]:
        def work() -> None:
            try:
                while not end.is_set():
                    task()
            except BaseException as error:
                errors.append(error)

        return work

    def read() -> None:
        for field, number, query in searches:
            try:
                rows = list(field.nearest(query, k=5).select(field))
            except ProgrammingError as error:
                # Before the column is added, the reader of it is not deployed.
                if number == 1 or sqlstate_of(error) != "42703":
                    raise
            else:
                assert all(getattr(row, field.name).to_list()[-1] == number for row in rows)
                answers[0] += len(rows)

    def write() -> None:
        with connect(app.url) as conn:
            for number in range(20):
                begin = time.monotonic()
                conn.run("UPDATE doc SET body = body || :text WHERE id = :id", text="x", id=number + 1)
                waits.append(time.monotonic() - begin)
                end.wait(0.01)

    command = [sys.executable, "-m", "lightvec", "switch", f"{app.both}:Doc.embedding", "embedding_v2", "--batch", "8"]
    with bound(app, app.both) as model:
        searches = [(model.embedding, 1, [1, 2, 3, 1]), (model.embedding_v2, 2, [1, 2, 3, 4, 5, 2])]
        database = model._meta.database
        reader = database.connection_context()(guarded(read))
        threads = [threading.Thread(target=task) for task in (reader, reader, guarded(write))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                subprocess.run([*command, "--with", f"{app.both}:embed_2", "--url", app.url], cwd=tmp_path, check=True)
        finally:
            end.set()
            for thread in threads:
                thread.join(30)
    assert errors == []
    assert answers[0] > 20
    assert len(waits) > 20
    assert app.move().status == 0
    assert app.switch("--finish").status == 0
    check_is_as_declared(app, TWO)


def test_a_lock_that_is_held(app: App) -> None:
    with connect(app.url, application_name="a report") as other, bound(app, app.both) as model:
        other.run("BEGIN; SELECT count(*) FROM doc")
        database = model._meta.database
        begin = time.monotonic()
        with pytest.raises(OperationalError, match=r"process \d+ of the server \(a report, idle in transaction\)"):
            run_briefly(database, '"doc"', ["ALTER TABLE doc ADD COLUMN more int"], patience=0.5)
        assert time.monotonic() - begin < 5
        # Nobody waits behind the attempts.
        timer = threading.Timer(0.4, lambda: other.run("COMMIT"))
        timer.start()
        run_briefly(database, '"doc"', ["ALTER TABLE doc ADD COLUMN more int"])
        timer.join()
        database.execute_sql("ALTER TABLE doc DROP COLUMN more")


def test_the_hash_column_of_a_user_stays(run: Run, write_module: Callable[[str], str], empty_url: str) -> None:
    own = """
class Doc(Model):
    body = TextField()
    embedding = VectorField(2, metric="l2")
    embedding_hash = UUIDField(null=True, index=True)
    v2 = VectorField(2, metric="l2", model="two", source="body")

def embed(texts):
    return [[len(text), 1] for text in texts]
"""
    module = write_module(own)
    assert run("init-db", module, "--url", empty_url).status == 0
    hashed = "INSERT INTO doc (body, embedding, embedding_hash) VALUES ('a', '[1,1]', md5('a')::uuid)"
    arguments = (f"{module}:Doc.embedding", "v2", "--url", empty_url)
    with connect(empty_url) as conn:
        conn.run(hashed)
        assert run("switch", *arguments, "--with", f"{module}:embed").status == 0
        refused = run("switch", *arguments, "--rename")
        assert '"doc".embedding_hash is not lightvec\'s: rename it first' in refused.err
        assert run("switch", *arguments, "--finish").out == "dropped: doc.embedding\n"
        assert conn.run("SELECT embedding_hash = md5('a')::uuid FROM doc") == [[True]]
        indexes = conn.run("SELECT indexname::text FROM pg_indexes WHERE tablename = 'doc' ORDER BY 1")
        assert indexes == [["doc_embedding_hash"], ["doc_pkey"], ["doc_v2_pending"]]
        # The hash of the new column is lightvec's.
        assert run("switch", *arguments, "--abandon").out == "dropped: doc.v2\n"
        assert "v2_hash" not in conn.run("SELECT array_agg(attname::text) FROM pg_attribute")[0][0]


def test_what_depends_on_the_old_column_keeps_its_index(app: App) -> None:
    app.move()
    with connect(app.url) as conn:
        conn.run("CREATE VIEW seen AS SELECT embedding FROM doc")
        refused = app.switch("--finish")
        assert 'the column "doc".embedding is in use by rule _RETURN on view seen: change' in refused.err
        assert conn.run("SELECT to_regclass('doc_embedding_cosine_hnsw') IS NULL") == [[False]]
        conn.run("DROP VIEW seen")
    assert app.switch("--finish").status == 0


def test_an_old_field_that_is_none(app: App, run: Run) -> None:
    for ending in ([], ["--dry-run"]):
        arguments = ("embedding_v2", "--with", f"{app.both}:embed_2", "--url", app.url, *ending)
        refused = run("switch", f"{app.both}:Doc.embeding", *arguments)
        assert "expected a field of vectors of Doc to switch from, got embeding" in refused.err
        refused = run("switch", f"{app.both}:Doc.body", *arguments)
        assert '"doc".body is text, expected one of vectors' in refused.err
    check_is_as_declared(app, ONE)
    app.move()
    arguments = ("embedding_v2", "--url", app.url)
    assert "got embeding" in run("switch", f"{app.both}:Doc.embeding", *arguments, "--rename").err
    nothing = run("switch", f"{app.both}:Doc.embeding", *arguments, "--finish")
    assert (nothing.out, nothing.status) == ("nothing to drop: doc has no column embeding\n", 0)
    check_is_as_declared(app, BOTH)


def test_switches_at_the_same_time_prepare_once(app: App) -> None:
    errors = []

    def both(database: Pg8000Database) -> Any:
        fields: dict[str, Any] = {
            "id": AutoField(),
            "body": TextField(null=True),
            "embedding": VectorField(4, metric="cosine", model="one", source="body", index="hnsw"),
            "embedding_v2": HalfVectorField(6, metric="l2", model="two", source="body", index="hnsw"),
        }
        return model_with("doc", fields, database=database)

    def prepare() -> None:
        database = Pg8000Database(app.url)
        try:
            with database.connection_context():
                Switch(both(database).embedding_v2, "embedding").prepare()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_next_step_names_the_old_column(app: App, run: Run) -> None:
    """The class does not declare the field any more, when it is run."""
    with connect(app.url) as conn:
        conn.run('ALTER TABLE doc RENAME embedding TO "Old one"')
        conn.run('ALTER TABLE doc RENAME embedding_hash TO "Old one_hash"')
    module = app.module(BOTH.replace("(4, ", "(4, column_name='Old one', "))
    moved = run("switch", f"{module}:Doc.embedding", "embedding_v2", "--with", f"{module}:embed_2", "--url", app.url)
    assert f"lightvec switch '{module}:Doc.Old one' embedding_v2 --finish\n" in moved.out
    finished = run("switch", f"{app.module(TWO)}:Doc.Old one", "embedding_v2", "--finish", "--url", app.url)
    assert finished.out == "dropped: doc.Old one\n"
    check_is_as_declared(app, TWO)
