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
from math import dist
from pathlib import Path
from typing import Any

import pytest
from peewee import PeeweeException, ProgrammingError

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import Pg8000Database
from lightvec.peewee.brief_locks import run_briefly
from lightvec.peewee.invalid_indexes import sqlstate_of
from lightvec.peewee.schema import plan
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.search.switching import Switch
from tests.cli.conftest import Run
from tests.search.test_citus_shards import CITUS

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
            conn.run(
                "INSERT INTO doc (body) SELECT 'text ' || n FROM generate_series(1, :rows) n",
                rows=rows,
            )
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
    assert (again.out, again.status) == ("nothing to do: there is no column doc.embedding\n", 0)
    check_is_as_declared(app, TWO)


def test_the_old_name_stays(app: App) -> None:
    app.move()
    renamed = app.switch("--rename")
    assert renamed.status == 0, renamed.err
    again = app.switch("--rename")
    assert (again.out, again.status) == ("nothing to do: doc.embedding has the new vectors\n", 0)
    check_is_as_declared(app, RENAMED)
    with bound(app, app.module(RENAMED)) as model:
        assert model.embedding.pending().count() == 0


def test_it_is_taken_back(app: App) -> None:
    app.move()
    assert app.switch("--abandon").out == "dropped: doc.embedding_v2\n"
    assert app.switch("--abandon", "--json").out == '{"done": "abandon", "sql": []}\n'
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
    # With the function, they are filled first.
    assert "filled: 1 rows" in app.move("--finish").err
    check_is_as_declared(app, TWO)


# embed_2 leaves the last element out; turned() turns by a right angle in each of three planes.
SPREAD = """
from random import Random

class Doc(Model):
    body = TextField(null=True)
{fields}

def embed_1(texts):
    return [[random.gauss(0, 1) for _ in range(6)] for random in map(Random, texts)]

def embed_2(texts):
    return [vector[:5] for vector in embed_1(texts)]

def turned(texts):
    return [[-vector[1], vector[0], -vector[3], vector[2], -vector[5], vector[4]] for vector in embed_1(texts)]
"""
OF_SIX = '    embedding = VectorField(6, metric="l2", model="one", source="body")\n'
NEXT = '    embedding_v2 = VectorField({}, metric="l2", model="two", source="body", index="hnsw")'


@pytest.mark.parametrize(("size", "function"), [(6, "turned"), (5, "embed_2")])
def test_the_neighbors_that_stay(
    run: Run, write_module: Callable[[str], str], empty_url: str, size: int, function: str
) -> None:
    module = write_module(SPREAD.replace("{fields}", OF_SIX + NEXT.format(size)))
    once = write_module(SPREAD.replace("{fields}", OF_SIX))
    assert run("init-db", once, "--url", empty_url).status == 0
    texts = [f"text {number}" for number in range(60)]
    with connect(empty_url) as conn:
        conn.copy_rows("doc", ["body"], ([text] for text in texts))
    assert run("fill", once, "--with", f"{module}:embed_1", "--url", empty_url).status == 0
    name = f"{module}:{function}"
    move = [
        "switch",
        f"{module}:Doc.embedding",
        "embedding_v2",
        "--with",
        name,
        "--sample",
        100,
        "--url",
        empty_url,
    ]
    compared = json.loads(run(*move, "--json").out)

    def neighbors(vectors: list[list[float]]) -> list[set[int]]:
        order = [sorted(range(60), key=lambda other: dist(vector, vectors[other])) for vector in vectors]
        return [set(found[1:11]) for found in order]

    functions = import_module(module)
    pairs = zip(
        neighbors(functions.embed_1(texts)),
        neighbors(getattr(functions, function)(texts)),
        strict=True,
    )
    kept = sum(len(old & new) for old, new in pairs) / 600
    assert kept == 1.0 if function == "turned" else 0.3 < kept < 0.95
    assert compared == {
        "filled": 60,
        "pending": 0,
        "sample": 60,
        "kept": pytest.approx(kept),
        "recall": 1.0,
    }
    assert f"{100 * kept:.0f} % of the ten nearest rows stay (mean of 60 rows)\n" in run(*move).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{both}:Doc.embedding", "embedding_v2"], "name the function that makes the new vectors"),
        (
            ["{both}:Doc.embedding", "nothing", "--finish"],
            "Doc has no vector field nothing: declare it beside embedding",
        ),
        (["{both}:Doc.embedding", "body", "--finish"], "Doc has no vector field body"),
        (
            ["{both}:Doc.embedding", "embedding", "--finish"],
            "expected two fields of Doc, got embedding twice",
        ),
        (["{both}:Doc", "embedding_v2", "--finish"], "expected PACKAGE.MODULE:MODEL.FIELD"),
        (
            ["{both}:Doc.embedding", "embedding_v2", "--finish", "--abandon"],
            "expected one of --finish, --rename and",
        ),
        (
            ["{both}:Doc.embedding", "embedding_v2", "--finish"],
            "has no column embedding_v2: run the switch first",
        ),
        (
            ["{both}:Doc.embedding", "embedding_v2", "--rename"],
            "has no column embedding_v2: run the switch first",
        ),
        (
            ["{both}:Doc.nothing", "embedding_v2", "--with", "{both}:embed_2"],
            "Doc has no vector field nothing: name the",
        ),
        (["{both}:Doc.nothing", "embedding_v2", "--dry-run"], "Doc has no vector field nothing"),
        (
            ["{both}:Doc.body", "embedding_v2", "--with", "{both}:embed_2"],
            "Doc has no vector field body",
        ),
        (
            ["{plain}:Doc.embedding", "embedding_v2", "--dry-run"],
            "Doc.embedding_v2 says no text that it is made of",
        ),
        (
            ["{same}:Doc.embedding", "embedding_v2", "--with", "{both}:embed_1"],
            "Doc.embedding_v2 is what Doc.embedding is, vector(4) of the model one: expected another model, source",
        ),
        (["{both}:.embedding", "embedding_v2", "--finish"], "expected PACKAGE.MODULE:MODEL.FIELD"),
        (
            ["{blank}:Doc.embedding", "embedding_v2", "--with", "{both}:embed_1"],
            "Doc.embedding_v2 declares no metric",
        ),
        (["{both}:Doc.body", "embedding_v2", "--abandon"], ""),
    ],
)
def test_wrong_usage(app: App, run: Run, arguments: list[str], message: str) -> None:
    modules = {
        "both": app.both,
        "plain": app.module(ONE + '\n    embedding_v2 = VectorField(4, metric="l2")'),
        "blank": app.module(ONE + '\n    embedding_v2 = VectorField(4, model="two", source="body")'),
        "same": app.module(ONE + "\n    embedding_v2 = VectorField(4, **OLD)"),
    }
    done = run("switch", *[each.format(**modules) for each in arguments], "--url", app.url)
    assert message in done.err
    assert done.status in ((1, 2) if message else (0,))
    check_is_as_declared(app, ONE)


def test_only_what_is_ours_is_dropped(app: App) -> None:
    app.move()
    with connect(app.url) as conn:
        conn.run("ALTER TABLE doc ADD COLUMN older vector(3), ADD COLUMN older_hash text")
    with bound(app, app.both) as model:
        with pytest.raises(SchemaMismatch, match="body is text, expected one of vectors"):
            Switch(model.embedding_v2, "body").finish()
        with pytest.raises(SchemaMismatch, match=r'the table "doc" has no column oldest$'):
            Switch(model.embedding_v2, "oldest").rename()
        with (
            model._meta.database.atomic(),
            pytest.raises(InvalidOption, match="leave the transaction first"),
        ):
            Switch(model.embedding_v2, "embedding")
        assert Switch(model.embedding_v2, "oldest").finish() == []
        assert Switch(model.embedding_v2, "older").finish() == ['ALTER TABLE "doc" DROP COLUMN IF EXISTS "older"']
    with connect(app.url) as conn:
        conn.run("ALTER TABLE doc DROP COLUMN older_hash")
    app.switch("--abandon")
    check_is_as_declared(app, ONE)


def test_a_distributed_table_is_refused(app: App) -> None:
    with connect(app.url) as conn:
        conn.run(CITUS)
        conn.run("CREATE TABLE doc_101 (LIKE doc); INSERT INTO pg_dist_partition VALUES ('doc', 'id', 's')")
        conn.run("INSERT INTO pg_dist_shard VALUES ('doc', 101); INSERT INTO pg_dist_placement VALUES (101, 1)")
    for option in ("--dry-run", "--finish", "--abandon"):
        refused = app.switch(option)
        assert "the table doc is distributed: a switch does not work on Citus" in refused.err
        assert refused.status == 2
    assert "does not work on Citus" in app.move().err


def test_a_column_of_another_type(app: App) -> None:
    with connect(app.url) as conn:
        conn.run("ALTER TABLE doc ADD COLUMN embedding_v2 vector(3)")
    assert "embedding_v2 is vector(3), expected halfvec(6): --abandon drops it" in app.move().err
    assert app.switch("--abandon").status == 0
    assert app.move().status == 0


def test_killed_at_any_time_it_converges(app: App, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lightvec",
        "switch",
        f"{app.both}:Doc.embedding",
        "embedding_v2",
    ]
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


@pytest.mark.parametrize("kind", ["pending", "hnsw"])
def test_killed_while_an_index_is_built(app: App, tmp_path: Path, kind: str) -> None:
    """The invalid index that is left is dropped, and built by the next run."""
    if kind == "hnsw":
        with bound(app, app.both) as model:
            switch = Switch(model.embedding_v2, "embedding")
            switch.prepare()
            switch.fill(sys.modules[app.both].embed_2)
    command = [
        sys.executable,
        "-m",
        "lightvec",
        "switch",
        f"{app.both}:Doc.embedding",
        "embedding_v2",
    ]
    command += ["--with", f"{app.both}:embed_2", "--url", app.url]
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    # A build waits for older snapshots, with an index that is not valid yet.
    with connect(app.url) as other:
        other.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        with (
            subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
            connect(app.url) as admin,
        ):
            for _ in range(600):
                if found := admin.run(invalid):
                    break
                time.sleep(0.05)
            process.kill()
            assert [name.endswith(kind) for (name,) in found] == [True]
            if kind == "hnsw":
                # The server does not know yet that the process is gone.
                assert "is being built by another session: wait until that is done" in app.move().err
            admin.run(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'CREATE INDEX%'"
            )
            assert admin.run(invalid) == found
    assert app.move().status == 0
    assert app.switch("--finish").status == 0
    check_is_as_declared(app, TWO)


@pytest.mark.parametrize("step", ["prepare", "fill", "build", "finish", "rename", "abandon"])
def test_interrupted_at_any_statement(app: App, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it, after it, and by the server: it ends the session."""
    execute = Pg8000Database.execute_sql
    with bound(app, app.both) as model:
        if step != "prepare":
            Switch(model.embedding_v2, "embedding").prepare()
    if step in ("finish", "rename", "abandon"):
        assert app.move().status == 0
    embedder = [sys.modules[app.both].embed_2] if step == "fill" else []
    statement, interrupted = 0, 0
    while True:
        for how in ("before", "after", "session"):
            left = statement

            def interrupts(self: Pg8000Database, *args: Any, how: str = how, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left != -1:
                    return execute(self, *args, **options)
                if how == "session":
                    with connect(app.url) as admin:
                        admin.run(
                            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                if how != "before":
                    execute(self, *args, **options)
                raise OperationalError("the connection is lost")

            with bound(app, app.both) as model, monkeypatch.context() as patch:
                switch = Switch(model.embedding_v2, "embedding")
                patch.setattr(Pg8000Database, "execute_sql", interrupts)
                try:
                    getattr(switch, step)(*embedder)
                except (OperationalError, PeeweeException):
                    interrupted += 1
        if left >= 0:
            break
        statement += 1
    assert interrupted >= 2
    if step in ("prepare", "fill", "build"):
        assert app.move().status == 0
    endings = {"finish": TWO, "rename": RENAMED, "abandon": ONE}
    ending = step if step in endings else "finish"
    assert app.switch(f"--{ending}").status == 0
    check_is_as_declared(app, endings[ending])


def test_readers_and_writers_throughout(app: App, tmp_path: Path) -> None:
    """No answer has vectors of two models, and no writer waits long."""
    end, errors, answers, waits, added = (
        threading.Event(),
        list[BaseException](),
        [0],
        list[float](),
        ["x"],
    )

    def guarded(task: Callable[[], None]) -> Callable[[], None]:
        def work() -> None:
            try:
                while not end.is_set():
                    task()
            except BaseException as error:
                errors.append(error)

        return work

    def read() -> None:
        for field, number, query in list(searches):
            try:
                rows = list(field.nearest(query, k=5).select(field))
            except ProgrammingError as error:
                # Before the column is added, the reader of it is not deployed.
                if number == 1 or sqlstate_of(error) != "42703":
                    raise
            else:
                assert all(getattr(row, field.name).to_list()[-1] == number for row in rows)
                answers[0] += len(rows)
            end.wait(0.01)

    def write() -> None:
        with connect(app.url) as conn:
            for number in range(20):
                begin = time.monotonic()
                conn.run(
                    "UPDATE doc SET body = body || :text WHERE id = :id",
                    text=added[0],
                    id=number + 1,
                )
                waits.append(time.monotonic() - begin)
                end.wait(0.01)

    command = [
        sys.executable,
        "-m",
        "lightvec",
        "switch",
        f"{app.both}:Doc.embedding",
        "embedding_v2",
        "--batch",
        "8",
    ]
    with bound(app, app.both) as model:
        database = model._meta.database
        searches = [(model.embedding, 1, [1, 2, 3, 1]), (model.embedding_v2, 2, [1, 2, 3, 4, 5, 2])]
        reader = database.connection_context()(guarded(read))
        threads = [threading.Thread(target=task) for task in (reader, reader, guarded(write))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                subprocess.run(
                    [*command, "--with", f"{app.both}:embed_2", "--url", app.url],
                    cwd=tmp_path,
                    check=True,
                )
            # The readers move, and the texts rest, though the writer does not.
            del searches[0]
            added[0] = ""
            end.wait(1)
            ending = ["--with", f"{app.both}:embed_2", "--finish", "--url", app.url]
            subprocess.run([*command, *ending], cwd=tmp_path, check=True)
            answered = answers[0]
            end.wait(0.3)
        finally:
            end.set()
            for thread in threads:
                thread.join(30)
    assert errors == []
    assert answers[0] > answered > 20
    assert len(waits) > 20
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


@pytest.mark.parametrize("options", [["--with", "{both}:embed_2"], ["--finish"], ["--rename"], ["--abandon"]])
def test_each_change_waits_for_its_lock(app: App, options: list[str]) -> None:
    """A long transaction delays the command, and nobody else."""
    if options[0] != "--with":
        app.move()
    with connect(app.url) as other:
        other.run("BEGIN; SELECT count(*) FROM doc")
        timer = threading.Timer(1.0, lambda: other.run("COMMIT"))
        timer.start()
        waits = []

        def write() -> None:
            with connect(app.url) as conn:
                while timer.is_alive():
                    begin = time.monotonic()
                    conn.run("UPDATE doc SET body = body WHERE id = 1")
                    waits.append(time.monotonic() - begin)
                    time.sleep(0.005)

        writer = threading.Thread(target=write)
        writer.start()
        begin = time.monotonic()
        done = app.switch(*[option.format(both=app.both) for option in options])
        took = time.monotonic() - begin
        writer.join(30)
        timer.join()
    assert done.status == 0, done.err
    assert took > 0.5
    # 50 ms at a time; the machine may be busy.
    assert max(waits) < 0.5
