"""PgBouncer in each of its modes: ten thousand queries that come again, no wrong answer, and no named statement.

PgBouncer up to 1.20 knows no named statements: one that a client prepared is on one of the sessions, under a name that
the next client may have for another text.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from lightvec import Vector
from lightvec.pg8000 import connect
from lightvec.server import Server
from tests.pg8000.faces import FACES, Face, opened
from tests.pg8000.pgbouncer import PgBouncer
from tests.pg8000.roundtrips import CLIENT, Chunk, Message, Record, Relay
from tests.scale import scaled

THREADS = 8
SESSIONS = 3
#: Mode to queries: clients of the mode session wait for each other.
MODES = {"transaction": 4_000, "session": 2_000, "statement": 4_000}
#: Queries of one connection.
TURN = 50

#: Each client has texts of its own: with one text for all, a stranger's statement would give the right answer.
TEXTS = [
    "SELECT CAST(:a AS int), {client}, 'first'",
    "SELECT {client}, CAST(:v AS vector), CAST(:a AS int)",
    "SELECT CAST(:a AS text), CAST(:v AS vector), {client} WHERE CAST(:b AS int) IS NULL OR CAST(:b AS int) < 0",
    "SELECT g, {client} FROM generate_series(1, CAST(:a AS int)) g",
]


class RecordingRelay(Relay):
    """A relay that keeps what each client says by itself."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._said: list[Record] = []

    def clients(self) -> list[list[Message]]:
        """The messages of each client."""
        return [record.messages(CLIENT) for record in self._said]

    def _pass_on(self, side: str, source: socket.socket, target: socket.socket) -> None:
        record = Record()
        if side == CLIENT:
            self._said.append(record)
        with suppress(OSError):
            while data := source.recv(1 << 20):
                record.chunks.append(Chunk(side, data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pooler(mode: str, server: Server) -> Iterator[PgBouncer]:
    settings = {"pool_mode": mode, "default_pool_size": str(SESSIONS), "server_round_robin": "1"}
    with PgBouncer(server, settings=settings) as pooler:
        yield pooler


@pytest.fixture
def relay(pooler: PgBouncer, url: str) -> Iterator[RecordingRelay]:
    with RecordingRelay(pooler.url(url)) as relay:
        yield relay


def asked(face: Face, client: int, number: int) -> list[Any]:
    """One query; what was wrong with its answer."""
    a, v = number % 7, Vector([client, number])
    cases: list[tuple[dict[str, Any], list[tuple[Any, ...]]]] = [
        ({"a": a}, [(a, client, "first")]),
        ({"a": a, "v": v}, [(client, v, a)]),
        ({"a": str(a), "v": v, "b": None if number % 3 else -1}, [(str(a), v, client)]),
        ({"a": a}, [(g, client) for g in range(1, a + 1)]),
    ]
    kind = number % len(cases)
    params, expected = cases[kind]
    found = face.run(TEXTS[kind].format(client=client), **params)
    return [] if found == expected else [(found, expected)]


def test_ten_thousand_queries(mode: str, relay: RecordingRelay, pooler: PgBouncer, url: str) -> None:
    each = scaled(MODES[mode], 20 * MODES[mode]) // THREADS

    def work(client: int) -> list[Any]:
        wrong: list[Any] = []
        name = list(FACES)[client % len(FACES)]
        for first in range(0, each, TURN):
            with opened(name, relay.url) as face:
                for number in range(first, first + TURN):
                    wrong += asked(face, client, number)
        return wrong

    with ThreadPoolExecutor(THREADS) as threads:
        assert [wrong for found in threads.map(work, range(THREADS)) for wrong in found] == []
    clients = relay.clients()
    assert len(clients) >= THREADS * each // TURN
    parsed = [message.body for messages in clients for message in messages if message.code == "P"]
    assert len(parsed) >= THREADS * each
    assert [body for body in parsed if body[:1] != b"\0"] == []
    assert prepared(pooler.url(url)) == [[0]] * SESSIONS


def prepared(url: str) -> list[Any]:
    """How many statements are on each of the sessions, asked for by as many clients at once."""
    start = threading.Barrier(SESSIONS)

    def ask(_: int) -> Any:
        with connect(url) as connection:
            start.wait(10)
            return connection.run("SELECT count(*), pg_sleep(0.1) FROM pg_prepared_statements")[0][:1]

    with ThreadPoolExecutor(SESSIONS) as threads:
        return list(threads.map(ask, range(SESSIONS)))


def test_prepare_does_not_overrule(mode: str, relay: RecordingRelay) -> None:
    """It says no more than that preparing is allowed where it is safe."""
    with opened("native", relay.url, prepare=True) as face:
        for number in range(20):
            assert asked(face, 1, number) == []
    assert [m.body for m in relay.clients()[0] if m.code == "P" and m.body[:1] != b"\0"] == []


def test_psycopgs_named_statements_go_wrong_here(mode: str, pooler: PgBouncer, url: str) -> None:
    """What this is for; in the mode session they are right."""

    def work(client: int) -> int:
        with psycopg.connect(pooler.url(url), autocommit=True, prepare_threshold=0) as theirs:
            try:
                return sum(
                    theirs.execute(f"SELECT %s::int, {client}", [number]).fetchone() != (number, client)
                    for number in range(100)
                )
            except psycopg.Error:
                return 1

    with ThreadPoolExecutor(THREADS) as threads:
        wrong = sum(threads.map(work, range(THREADS)))
    assert (wrong == 0) == (mode == "session")
