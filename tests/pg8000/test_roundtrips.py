"""Every statement is one round trip, one write and one Sync; the login and the first vector take two."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import DataError
from lightvec.wire.transport import Transport
from tests.pg8000.roundtrips import CLIENT, SERVER, Relay

LARGE = Vector([index / 7 for index in range(768)])
SETTINGS = {"hnsw.ef_search": 77, "work_mem": "5MB"}


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of each write to the socket."""
    lengths: list[int] = []
    send = Transport.send

    def counting(self: Transport, data: bytes) -> None:
        lengths.append(len(data))
        send(self, data)

    monkeypatch.setattr(Transport, "send", counting)
    return lengths


@pytest.mark.parametrize(
    ("sql", "options"),
    [
        ("SELECT 1", {}),
        ("SELECT 1;", {}),
        ("SELECT ';'", {}),
        ("SELECT :a + 1", {"a": 1}),
        ("SELECT :v <-> :v", {"v": LARGE}),
        ("SELECT '[1,2,3]'::vector", {}),
        ("SELECT :v", {"v": [LARGE] * 40}),
        ("SELECT :a", {"a": "x" * 1_000_000}),
        ("SELECT repeat('x', 1000000)", {}),
        ("SELECT generate_series(1, 10000)", {}),
        ("SELECT 1", {"settings": SETTINGS}),
        ("SELECT :v", {"v": LARGE, "settings": SETTINGS}),
        ("CREATE TEMPORARY TABLE one_trip (id int)", {}),
        ("", {}),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_statement_is_one_round_trip_one_write_and_one_sync(
    sql: str, options: dict[str, Any], inside: bool, relay: Relay, relayed: Connection, sends: list[int]
) -> None:
    if inside:
        relayed.run("BEGIN")
    for _ in range(1 if sql.startswith("CREATE") else 2):
        sends.clear()
        with relay.recording() as record:
            relayed.run(sql, **options)
        assert record.round_trips == 1
        assert len(sends) == 1
        assert record.codes(CLIENT).count("S") == 1
        assert record.codes(CLIENT)[-1] == "S"
        assert record.codes(SERVER).count("Z") == 1
        assert relayed.in_transaction == inside


def test_commit_and_rollback_are_one_round_trip(relay: Relay) -> None:
    with dbapi.connect(relay.url) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        for end in (connection.commit, connection.rollback):
            with relay.recording() as record:
                cursor.execute("SELECT %s", (LARGE,))
            assert record.round_trips == 1, "BEGIN travels with the first statement"
            with relay.recording() as record:
                end()
            assert record.round_trips == 1
            with relay.recording() as record:
                end()
            assert record.round_trips == 0


def test_a_transaction_that_begins_by_itself_has_its_settings_in_the_same_write(relay: Relay) -> None:
    with dbapi.connect(relay.url) as connection:
        connection.extension()
        with relay.recording() as record:
            cursor = connection.cursor()
            cursor.execute("SELECT current_setting('hnsw.ef_search')", settings=SETTINGS)
            assert cursor.fetchone() == ("77",)
        assert record.round_trips == 1
        assert record.codes(CLIENT) == "PBDE" * 4 + "S", "BEGIN, settings, query, settings"


def test_the_first_statement_carries_the_question_for_the_types(relay: Relay, sends: list[int]) -> None:
    with connect(relay.url) as connection:
        sends.clear()
        with relay.recording() as record:
            assert connection.run("SELECT :a::vector", a="[1,2]") == [[Vector([1, 2])]]
        assert (record.round_trips, len(sends)) == (1, 1)
        assert record.codes(CLIENT) == "PBDE" * 3 + "S", "the look-up is two statements"
        with relay.recording() as record:
            connection.run("SELECT :v", v=LARGE)
        assert record.codes(CLIENT) == "PBDES"
        assert record.round_trips == 1


def test_two_round_trips_from_the_login_to_the_first_vector(relay: Relay) -> None:
    with connect(relay.url) as connection:
        with relay.recording() as record:
            assert connection.run("SELECT :v", v=LARGE) == [[LARGE]]
        assert record.round_trips == 2
        assert record.codes(CLIENT).count("S") == 2


def test_the_login_is_one_round_trip(relay: Relay) -> None:
    with relay.recording() as record, connect(relay.url):
        assert record.round_trips == 1
    assert record.messages(CLIENT)[0].code == "startup"


@pytest.mark.parametrize("sql", ["VACUUM", "CREATE DATABASE round_trips", "DROP DATABASE round_trips"])
def test_what_cannot_share_a_sync_is_sent_alone(sql: str, relay: Relay) -> None:
    with connect(relay.url) as connection:
        with relay.recording() as record:
            connection.run(sql)
        assert record.codes(CLIENT) == "PBDES"


def test_a_list_of_statements_is_one_round_trip(relay: Relay, relayed: Connection, sends: list[int]) -> None:
    sends.clear()
    with relay.recording() as record:
        relayed.run("SELECT 1; SELECT 2; SELECT 3")
    assert (record.round_trips, len(sends), record.codes(CLIENT)) == (1, 1, "Q")


def test_an_error_is_one_round_trip(relay: Relay, relayed: Connection) -> None:
    with relay.recording() as record, pytest.raises(DataError):
        relayed.run("SELECT 1/0", settings=SETTINGS)
    assert record.round_trips == 1


def test_a_page_of_a_server_cursor_is_one_round_trip(relay: Relay) -> None:
    with dbapi.connect(relay.url) as connection:
        cursor = connection.cursor("pages")
        cursor.execute("SELECT generate_series(1, 50)")
        with relay.recording() as record:
            assert len(cursor.fetchmany(20)) == 20
        assert record.round_trips == 1


# --- exact bytes -------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_statement_with_a_vector(relay: Relay, relayed: Connection) -> None:
    oid = relayed.extension().oids["vector"].to_bytes(4, "big")
    with relay.recording() as record:
        relayed.run("SELECT :v, :n", v=Vector([1, -2]), n=7)
    assert record.data(CLIENT) == (
        b"P\x00\x00\x00\x1d" + b"\x00" + b"SELECT $1, $2\x00" + b"\x00\x02" + oid + b"\x00\x00\x00\x15"
        b"B\x00\x00\x00\x25" + b"\x00" + b"\x00" + b"\x00\x02\x00\x01\x00\x00" + b"\x00\x02"
        b"\x00\x00\x00\x0c" + b"\x00\x02\x00\x00\x3f\x80\x00\x00\xc0\x00\x00\x00"
        b"\x00\x00\x00\x01" + b"7" + b"\x00\x00"
        b"D\x00\x00\x00\x06P\x00"
        b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"
        b"S\x00\x00\x00\x04"
    )
    with relay.recording() as record:
        relayed.run("SELECT :v, :n", v=Vector([1, -2]), n=7)
    bind = record.messages(CLIENT)[1]
    assert bind.code == "B"
    assert bind.body.endswith(b"7" + b"\x00\x02" + b"\x00\x01\x00\x00"), "the vector comes back as binary now"


def test_a_null_and_a_text(relay: Relay, relayed: Connection) -> None:
    with relay.recording() as record:
        relayed.run("SELECT :a, :b", a=None, b="é")
    parse, bind = record.messages(CLIENT)[:2]
    assert parse.body == b"\x00SELECT $1, $2\x00" + b"\x00\x02" + bytes(8)
    assert bind.body == (
        b"\x00\x00"
        + b"\x00\x02"
        + bytes(4)
        + b"\x00\x02"
        + b"\xff\xff\xff\xff"
        + b"\x00\x00\x00\x02\xc3\xa9"
        + b"\x00\x00"
    )


def test_the_bytes_of_a_login(relay: Relay) -> None:
    with relay.recording() as record, connect(relay.url, application_name="app"):
        pass
    code, body = record.messages(CLIENT)[0]
    assert code == "startup"
    assert body.startswith(b"\x00\x03\x00\x00")
    words = body[4:].split(b"\x00")
    assert dict(zip(words[::2], words[1::2], strict=False)) == {
        b"user": b"postgres",
        b"database": urlsplit(relay.url).path[1:].encode(),
        b"application_name": b"app",
        b"client_encoding": b"UTF8",
        b"DateStyle": b"ISO",
        b"": b"",
    }


@pytest.mark.parametrize(
    "value",
    [Vector([1, -2.5, 1e-30]), HalfVector([0.5, -2]), SparseVector({0: 1.5, 5: -2}, 7), Bit("1010000011")],
)
def test_the_server_says_vectors_in_the_same_bytes(
    value: Vector | HalfVector | SparseVector | Bit, relay: Relay
) -> None:
    with connect(relay.url, prepare=False) as relayed:
        assert relayed.run("SELECT :v", v=value) == [[value]]
        with relay.recording() as record:
            assert relayed.run("SELECT :v", v=value) == [[value]]
    row = next(message.body for message in record.messages(SERVER) if message.code == "D")
    data = value.to_binary()
    assert row == b"\x00\x01" + len(data).to_bytes(4, "big") + data
    bind = record.messages(CLIENT)[1].body
    assert bind[2:8] == b"\x00\x01\x00\x01\x00\x01", "one format, binary, for one value"
    assert bind[8 : 12 + len(data)] == len(data).to_bytes(4, "big") + data
