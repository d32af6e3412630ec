"""After a fork a connection is its parent's only: a child neither reads its rows nor ends it.

Each test is a program of its own, so that the children have nothing of pytest's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lightvec

ROOT = Path(lightvec.__file__).parents[1]

PROGRAM = """
import gc, json, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context

import peewee
from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.pg8000 import connect, dbapi

url = sys.argv[1]


def child(work, leave=os._exit):
    'What work() returns or raises in a child.'
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        try:
            told = work()
        except BaseException as error:
            told = [type(error).__name__, str(error)]
        os.write(writing, json.dumps(told, default=repr).encode())
        os.close(writing)
        leave(0)
    os.close(writing)
    with open(reading, 'rb') as pipe:
        told = pipe.read()
    os.waitpid(process, 0)
    time.sleep(0.05)  # a Terminate from the child has arrived then
    return json.loads(told)



def native_process(connection):
    return connection.run('SELECT pg_backend_pid()')[0][0]


def peewee_process(database):
    return database.execute_sql('SELECT pg_backend_pid()').fetchone()[0]


def dbapi_process(connection):
    return connection.cursor().execute('SELECT pg_backend_pid()').fetchone()[0]
"""


def ran(code: str, url: str) -> Any:
    """What a program prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + code, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


NATIVE_USES = {
    "run": "connection.run('SELECT 1')",
    "several": "connection.run('SELECT 1; SELECT 2')",
    "parameter": "connection.run('SELECT CAST(:a AS int)', a=1)",
    "transaction": "connection.transaction().__enter__()",
    "stream": "list(connection.stream('SELECT 1'))",
    "copy_rows": "connection.copy_rows('pg_class', ['oid'], [[1]])",
    "fetch_columns": "connection.fetch_columns('SELECT 1 AS a')",
}
DBAPI_USES = {
    "execute": "connection.cursor().execute('SELECT 1')",
    "executemany": "connection.cursor().executemany('SELECT %s', [(1,)])",
    "commit": "connection.commit()",
}


@pytest.mark.parametrize("use", NATIVE_USES)
def test_a_native_connection_is_refused(use: str, url: str) -> None:
    code = f"""
connection = connect(url)
mine = native_process(connection)
told = child(lambda: {NATIVE_USES[use]})
print(json.dumps([told, mine == native_process(connection)]))
connection.close()
"""
    (name, message), same = ran(code, url)
    assert name == "InterfaceError"
    assert "another process" in message
    assert same


@pytest.mark.parametrize("use", DBAPI_USES)
def test_a_pep_249_connection_is_refused(use: str, url: str) -> None:
    """In the middle of a transaction, which goes on in the parent."""
    code = f"""
connection = dbapi.connect(url)
cursor = connection.cursor()
cursor.execute('CREATE TEMPORARY TABLE forked (id int)')
mine = dbapi_process(connection)
told = child(lambda: {DBAPI_USES[use]})
cursor.execute('INSERT INTO forked VALUES (1)')
connection.commit()
print(json.dumps([told, mine == dbapi_process(connection), cursor.execute('SELECT id FROM forked').fetchall()]))
connection.close()
"""
    (name, message), same, rows = ran(code, url)
    assert name == "InterfaceError"
    assert "another process" in message
    assert same
    assert rows == [[1]]


ENDS = {
    "exits": ("None", "sys.exit"),
    "exits_at_once": ("None", "os._exit"),
    "closes": ("connection.close()", "os._exit"),
    "closes_the_socket_too": ("(connection.close(), connection.close())[0]", "sys.exit"),
    "leaves_a_block": ("connection.__exit__(None, None, None)", "os._exit"),
    "collects": ("(globals().pop('connection'), gc.collect())[1] * 0", "os._exit"),
    "uses_and_exits": ("connection.run('SELECT 1')", "sys.exit"),
}


@pytest.mark.parametrize("kind", ["connect(url)", "dbapi.connect(url)"])
@pytest.mark.parametrize("end", ENDS)
def test_the_parents_connection_outlives_the_child(end: str, kind: str, url: str) -> None:
    """No Terminate goes to the server, however the child ends."""
    work, leave = ENDS[end]
    code = f"""
connection = {kind}
mine = native_process if {kind.startswith("connect")} else dbapi_process
before = mine(connection)
told = [child(lambda: {work}, {leave}) for _ in range(3)]
print(json.dumps([told, before == mine(connection), connection.is_alive()]))
connection.close()
"""
    told, same, alive = ran(code, url)
    assert same
    assert alive
    if end != "uses_and_exits":
        assert told in ([None] * 3, [0] * 3), "closing raises nothing"


def test_it_is_not_alive_in_a_child(url: str) -> None:
    code = """
connection = connect(url)
print(json.dumps([child(connection.is_alive), connection.is_alive()]))
connection.close()
"""
    assert ran(code, url) == [False, True]


def test_rows_that_are_being_streamed(url: str) -> None:
    """The parent reads on; the child can neither read nor end them."""
    code = """
connection = connect(url)
rows = connection.stream('SELECT generate_series(1, 1000)', batch=10)
first = [next(rows)[0] for _ in range(15)]
told = child(lambda: list(rows))
child(lambda: rows.close(), sys.exit)
rest = [row[0] for row in rows]
print(json.dumps([told, first + rest == list(range(1, 1001)), connection.run('SELECT 1')]))
connection.close()
"""
    told, right, row = ran(code, url)
    assert told[0] == "InterfaceError"
    assert right
    assert row == [[1]]


def test_a_transaction_that_is_open(url: str) -> None:
    """The child leaves the block by an exception: nothing is rolled back in the parent."""
    code = """
connection = connect(url)
connection.run('CREATE TEMPORARY TABLE forked (id int)')
def leave():
    block.__exit__(RuntimeError, RuntimeError('x'), None)
block = connection.transaction()
block.__enter__()
connection.run('INSERT INTO forked VALUES (1)')
child(leave, sys.exit)
connection.run('INSERT INTO forked VALUES (2)')
block.__exit__(None, None, None)
print(json.dumps(connection.run('SELECT id FROM forked ORDER BY id')))
connection.close()
"""
    assert ran(code, url) == [[1], [2]]


DATABASES = {
    "plain": "Pg8000Database(url)",
    "not_thread_safe": "Pg8000Database(url, thread_safe=False)",
    "pool": "PooledPg8000Database(url, max_connections=4)",
}


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("kind", DATABASES)
def test_a_peewee_database_connects_anew(kind: str, closed: bool, url: str) -> None:
    """Also a pool whose connections were given back before the fork."""
    code = f"""
database = {DATABASES[kind]}
mine = peewee_process(database)
if {closed}:
    database.close()
def work():
    seen = []
    for number in range(20):
        ours, same = database.execute_sql('SELECT pg_backend_pid(), %s::int', (number,)).fetchone()
        seen.append(ours)
        assert same == number
    database.close()
    return seen
told = [child(work, leave) for leave in (os._exit, sys.exit)]
print(json.dumps([mine, told, peewee_process(database)]))
database.close()
"""
    mine, told, after = ran(code, url)
    for seen in told:
        assert len(set(seen)) == 1
        assert seen[0] != mine
    assert told[0][0] != told[1][0]
    if not closed or kind == "pool":
        assert after == mine, "the parent's connection is as it was"


@pytest.mark.parametrize("kind", DATABASES)
def test_processes_at_once(kind: str, url: str) -> None:
    """As gunicorn --preload and celery fork: all of them work at the same time, the parent, too."""
    code = f"""
database = {DATABASES[kind]}
mine = peewee_process(database)
def work(number):
    wrong = 0
    for step in range(100):
        with database.atomic() if step % 10 == 0 else nullcontext():
            row = database.execute_sql('SELECT %s::int, %s::text', (number, str(step) * number)).fetchone()
            wrong += row != (number, str(step) * number)
    return wrong
processes = []
for number in range(1, 5):
    process = os.fork()
    if process == 0:
        try:
            os._exit(min(work(number), 100))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(101)
    processes.append(process)
wrong = [work(9)]
wrong += [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
print(json.dumps(wrong))
database.close()
"""
    assert ran(code, url) == [0] * 5


def test_a_block_that_is_open_at_the_fork(url: str) -> None:
    """The child is in no transaction of the parent; what it does is in none or is refused."""
    code = """
database = Pg8000Database(url)
database.execute_sql('DROP TABLE IF EXISTS forked_block')
database.execute_sql('CREATE TABLE forked_block (id int)')
def work():
    try:
        ours = peewee_process(database)
    except peewee.InterfaceError as error:
        return str(error)
    return ours
with database.atomic():
    mine = peewee_process(database)
    database.execute_sql('INSERT INTO forked_block VALUES (1)')
    told = child(work, sys.exit)
    database.execute_sql('INSERT INTO forked_block VALUES (2)')
rows = database.execute_sql('SELECT id FROM forked_block ORDER BY id').fetchall()
database.execute_sql('DROP TABLE forked_block')
print(json.dumps([mine, told, rows, peewee_process(database)]))
database.close()
"""
    mine, told, rows, after = ran(code, url)
    assert told != mine
    assert isinstance(told, int) or "another process" in told
    assert rows == [[1], [2]]
    assert after == mine


def test_a_select_that_is_read_later(url: str) -> None:
    """Rows that the parent has in hand are the parent's and, as data, the child's too."""
    code = """
database = Pg8000Database(url)
cursor = database.execute_sql('SELECT generate_series(1, 3000)')
first = [cursor.fetchone()[0] for _ in range(10)]
told = child(lambda: database.execute_sql('SELECT 7').fetchone(), sys.exit)
rest = [row[0] for row in cursor.fetchall()]
print(json.dumps([told, first + rest == list(range(1, 3001))]))
database.close()
"""
    assert ran(code, url) == [[7], True]


def test_a_process_pool(url: str) -> None:
    code = """
database = PooledPg8000Database(url, max_connections=4)
connection = connect(url)
def query(number):
    with database.connection_context():
        row = database.execute_sql('SELECT pg_backend_pid(), %s::int', (number,)).fetchone()
    return row[0], row[1] == number
def direct(number):
    try:
        return connection.run('SELECT CAST(:n AS int)', n=number)[0][0]
    except dbapi.InterfaceError as error:
        return str(error)
with database.connection_context():
    mine = peewee_process(database)
with ProcessPoolExecutor(3, mp_context=get_context('fork')) as processes:
    rows = list(processes.map(query, range(200)))
    told = set(processes.map(direct, range(20)))
with database.connection_context():
    after = peewee_process(database)
print(json.dumps([mine, rows, list(told), after, connection.run('SELECT 1')]))
database.close_all()
connection.close()
"""
    mine, rows, told, after, row = ran(code, url)
    assert all(right for _, right in rows)
    assert mine not in {ours for ours, _ in rows}
    assert len(told) == 1
    assert "another process" in told[0]
    assert after == mine
    assert row == [[1]]


def test_sqlalchemys_pool(url: str) -> None:
    """Its rule is to dispose of the engine in a child; who does not gets an error, never the parent's rows."""
    code = """
import sqlalchemy
engine = sqlalchemy.create_engine('postgresql+pg8000://', module=dbapi, creator=lambda: dbapi.connect(url))
def query():
    with engine.connect() as opened:
        return opened.execute(sqlalchemy.text('SELECT pg_backend_pid()')).scalar()
def disposed():
    engine.dispose(close=False)
    return query()
def undisposed():
    try:
        return query()
    except sqlalchemy.exc.DBAPIError as error:
        return str(error)
print(json.dumps([query(), child(disposed), child(undisposed, sys.exit), query()]))
engine.dispose()
"""
    mine, disposed, undisposed, after = ran(code, url)
    assert disposed != mine
    assert undisposed != mine
    assert isinstance(undisposed, int) or "another process" in undisposed
    assert after == mine
