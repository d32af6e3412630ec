"""In a forked process a database connects anew, and the parent's connection stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from lightvec.peewee import Pg8000Database, PooledPg8000Database

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

_FORKED = """
import os, sys
from threading import Thread
from lightvec.peewee import Pg8000Database, PooledPg8000Database

def ask(db, number):
    return db.execute_sql("SELECT %s, pg_backend_pid()", (number,)).fetchone()

def in_child(work):
    '''What a child makes of it, as a text.'''
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = repr(work())
        except BaseException as error:
            said = repr(error)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return eval(said)

url = sys.argv[1]
"""


def run(code: str, url: str) -> None:
    """The code in a process of its own, which forks."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKED + code, url], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


DATABASES = pytest.mark.parametrize("kind", ["Pg8000Database", "PooledPg8000Database"])


@DATABASES
def test_an_open_connection(url: str, kind: str) -> None:
    run(
        f"""
db = {kind}(url)
_, here = ask(db, 0)
for number in range(1, 4):
    answer, there = in_child(lambda: [ask(db, number), ask(db, number)][1])
    assert answer == number and there != here
    assert ask(db, -number) == (-number, here), "the parent's is untouched"
db.close()
""",
        url,
    )


@DATABASES
def test_it_is_closed_in_the_child(url: str, kind: str) -> None:
    run(
        f"""
db = {kind}(url)
db.connect()
_, here = ask(db, 0)
def work():
    assert db.is_closed() and not db.close()
    db.connect()
    with db.atomic():
        return ask(db, 1)
answer, there = in_child(work)
assert answer == 1 and there != here
assert ask(db, 2) == (2, here)
""",
        url,
    )


@DATABASES
def test_a_transaction_is_the_parents(url: str, kind: str) -> None:
    run(
        f"""
db = {kind}(url)
with db.atomic():
    db.execute_sql("CREATE TABLE pg_temp.mine (n int)")
    def work():
        assert not db.in_transaction()
        with db.atomic():
            return db.execute_sql("SELECT to_regclass('pg_temp.mine') IS NULL").fetchone()
    assert in_child(work) == (True,)
    db.execute_sql("INSERT INTO pg_temp.mine VALUES (1)")
assert db.execute_sql("SELECT count(*) FROM pg_temp.mine").fetchone() == (1,)
""",
        url,
    )


def test_a_pool_whose_connections_are_idle(url: str) -> None:
    """As gunicorn's --preload and celery leave it: closed before the workers are forked."""
    run(
        """
pool = PooledPg8000Database(url, max_connections=2)
def other():
    with pool.connection_context():
        ask(pool, 0)
with pool.connection_context():
    _, here = ask(pool, 0)
    thread = Thread(target=other)
    thread.start()
    thread.join()
def work():
    with pool.connection_context():
        return ask(pool, 1)
pids = {in_child(work)[1] for _ in range(3)}
assert here not in pids
with pool.connection_context():
    assert ask(pool, 2)[0] == 2
pool.close_all()
""",
        url,
    )


def test_a_pool_that_other_threads_use(url: str) -> None:
    """Their connections, and the lock that one of them holds, are not the child's."""
    run(
        """
from threading import Event
pool = PooledPg8000Database(url, max_connections=2)
started, done = Event(), Event()
def other():
    with pool.connection_context():
        ask(pool, 0)
        with pool._pool_lock, pool._lock:
            started.set()
            done.wait()
threads = [Thread(target=other)]
for thread in threads:
    thread.start()
started.wait()
def work():
    answers = []
    def one():
        with pool.connection_context():
            answers.append(ask(pool, 1)[0])
    inner = [Thread(target=one) for _ in range(2)]
    for thread in inner:
        thread.start()
    for thread in inner:
        thread.join(20)
    return answers
assert in_child(work) == [1, 1]
done.set()
for thread in threads:
    thread.join()
pool.close_all()
""",
        url,
    )


def test_a_fork_that_python_knows_nothing_of(url: str) -> None:
    """As uWSGI forks: no hook runs, and the connection tells."""
    run(
        """
import ctypes
db, pool = Pg8000Database(url), PooledPg8000Database(url)
_, here = ask(db, 0)
with pool.connection_context():
    _, idle = ask(pool, 0)
hook_free = ctypes.PyDLL(None).fork
os.fork = hook_free
def work():
    with pool.connection_context():
        return [ask(db, 1), ask(pool, 2)]
(one, there), (two, other) = in_child(work)
assert (one, two) == (1, 2)
assert there != here and other != idle
assert ask(db, 3) == (3, here)
""",
        url,
    )


_database: Any = None


def _answer(number: int) -> tuple[int, int]:
    with _database.connection_context():
        answer: tuple[int, int] = _database.execute_sql("SELECT %s, pg_backend_pid()", (number,)).fetchone()
        return answer


@pytest.mark.parametrize("kind", [Pg8000Database, PooledPg8000Database])
def test_a_process_pool(url: str, kind: Any) -> None:
    global _database
    _database = kind(url)
    _database.connect()
    own = _database.connection().backend_pid
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as executor:
        answers = list(executor.map(_answer, range(30)))
    assert [number for number, _ in answers] == list(range(30))
    assert own not in {pid for _, pid in answers}
    assert _database.execute_sql("SELECT pg_backend_pid()").fetchone() == (own,)
    _database.close()
