"""Filling while texts are edited, connections cut and workers killed: at rest each vector is that of its text."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from peewee import DatabaseError, InterfaceError

from lightvec.peewee import Pg8000Database, fill
from lightvec.peewee.reflect import model_of
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import connect
from tests.faults.proxy import Proxy

_SECONDS = 4

_MODULE = """\
from peewee import Model, TextField
from lightvec.peewee import Pg8000Database, VectorField

database = Pg8000Database(None)

class Page(Model):
    body = TextField(null=True)
    embedding = VectorField(2, metric="l2", model="lengths", source="body", index="hnsw")

    class Meta:
        database = database

def embed(texts):
    return [[len(text), sum(text.encode()) % 1_000] for text in texts]
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_url: str) -> Any:
    """A module with a model of 300 rows and an embedder."""
    (tmp_path / "app.py").write_text(_MODULE)
    namespace: dict[str, Any] = {"__name__": "app"}
    exec(compile(_MODULE, "app.py", "exec"), namespace)
    database = namespace["database"]
    database.init(empty_url)
    with database.connection_context():
        set_up(database, [namespace["Page"]])
        namespace["Page"].insert_many([{"body": f"text {n}"} for n in range(300)]).execute()
        yield namespace


def check(app: Any) -> None:
    """No row is pending, and each vector is that of its text."""
    assert app["Page"].embedding.pending().count() == 0
    for page in app["Page"].select():
        text = page.body if page.body and page.body.strip() else None
        assert (page.embedding and page.embedding.to_list()) == (app["embed"]([text])[0] if text else None)


@contextmanager
def running(*tasks: Callable[[threading.Event], None]) -> Iterator[None]:
    """The tasks in threads; a task that fails fails the test."""
    end, errors = threading.Event(), list[BaseException]()

    def guarded(task: Callable[[threading.Event], None]) -> None:
        try:
            task(end)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join(30)
    assert errors == []


def edits(url: str, seed: int) -> Callable[[threading.Event], None]:
    """Change, insert and delete rows at random."""
    choose = random.Random(seed)

    def edit(end: threading.Event) -> None:
        with connect(url) as conn:
            while not end.wait(0.002):
                key, text = choose.randrange(1, 400), choose.choice(["", None, " ", "a" * choose.randrange(50)])
                match choose.randrange(10):
                    case 0:
                        conn.run("INSERT INTO page (body) VALUES (:text)", text=text)
                    case 1:
                        conn.run("DELETE FROM page WHERE id = :key", key=key)
                    case 2:
                        # Two rows in one transaction, in any order.
                        other = choose.randrange(1, 400)
                        conn.run("BEGIN")
                        for each in (key, other):
                            conn.run("UPDATE page SET body = :text WHERE id = :key", text=text, key=each)
                        conn.run("COMMIT")
                    case _:
                        conn.run("UPDATE page SET body = :text WHERE id = :key", text=text, key=key)

    return edit


@pytest.mark.parametrize("seed", range(3))
def test_edits_and_cut_connections(app: Any, empty_url: str, seed: int) -> None:
    choose = random.Random(seed)

    def fills(url: str) -> Callable[[threading.Event], None]:
        def work(end: threading.Event) -> None:
            while not end.is_set():
                database = Pg8000Database(url)
                try:
                    model: Any = model_of(database, "page")
                    filled = fill(model.embedding, app["embed"], batch=16)
                    assert not filled.failed
                except (DatabaseError, InterfaceError):
                    pass  # As a scheduled job would: the next run goes on.
                finally:
                    database.close()

        return work

    def cuts(proxy: Proxy) -> Callable[[threading.Event], None]:
        def cut(end: threading.Event) -> None:
            while not end.wait(choose.uniform(0.01, 0.3)):
                proxy.cut()

        return cut

    with Proxy(empty_url) as proxy:
        worker = fills(proxy.url)
        with running(edits(empty_url, seed), worker, worker, worker, cuts(proxy)):
            time.sleep(_SECONDS)
    assert app["Page"].select().where(app["Page"].embedding.is_null(False)).count() > 0
    fill(app["Page"].embedding, app["embed"])
    check(app)


def test_killed_workers(app: Any, empty_url: str, tmp_path: Path) -> None:
    choose = random.Random(5)
    command = [sys.executable, "-m", "lightvec", "fill", "app:Page", "--with", "app:embed", "--batch", "4"]
    with running(edits(empty_url, 5)):
        for _ in range(5):
            with subprocess.Popen([*command, "--url", empty_url], cwd=tmp_path, stderr=subprocess.DEVNULL) as worker:
                time.sleep(choose.uniform(0.3, 0.8))
                worker.kill()
    done = subprocess.run([*command, "--url", empty_url], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    check(app)
