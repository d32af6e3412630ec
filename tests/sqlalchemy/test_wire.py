"""SQLAlchemy on lightvec's own wire: one round trip a query, vectors in binary, and all of what an engine does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as upsert

from lightvec import Vector
from lightvec.pg8000 import connect, exceptions
from tests.pg8000.roundtrips import CLIENT, SERVER, Relay
from tests.sqlalchemy.conftest import engine_of, item


@pytest.fixture
def relay(url: str, wire: Engine) -> Iterator[Relay]:
    """A relay in front of the database in which the table is."""
    with Relay(url) as relay:
        yield relay


@pytest.fixture
def relayed(relay: Relay) -> Iterator[Engine]:
    """An engine through the relay, with one connection that knows pgvector's types."""
    engine = engine_of("lightvec", relay.url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(sa.insert(item), [{"id": number, "dense": [number, 1, 1]} for number in range(1, 4)])
    yield engine
    engine.dispose()


def test_a_query_is_one_round_trip_and_its_vectors_are_binary(relay: Relay, relayed: Engine) -> None:
    query = select(item.c.id, item.c.dense).order_by(item.c.dense.l2_distance([3, 1, 1])).limit(2)
    with relayed.connect() as connection:
        for _ in range(2):
            with relay.recording() as record:
                rows = connection.execute(query).all()
            assert record.round_trips == 1
            assert Vector([3, 1, 1]).to_binary() in record.data(CLIENT)
        assert rows == [(3, [3, 1, 1]), (2, [2, 1, 1])]
        assert Vector([2, 1, 1]).to_binary() in record.data(SERVER)
        with relay.recording() as record:
            connection.commit()
        assert record.round_trips == 1


@pytest.mark.parametrize("count", [1, 500])
def test_inserts_are_one_round_trip(count: int, relay: Relay, relayed: Engine) -> None:
    rows: list[dict[str, Any]] = [{"id": 10 + number, "dense": [number, 2, 3]} for number in range(count)]
    with relayed.begin() as connection:
        connection.execute(select(1))
        with relay.recording() as record:
            connection.execute(sa.insert(item), rows)
        assert record.round_trips == 1
        assert Vector([count - 1, 2, 3]).to_binary() in record.data(CLIENT)
        inserted = sa.insert(item).returning(item.c.id, sort_by_parameter_order=True)
        with relay.recording() as record:
            ids = connection.scalars(inserted, [row | {"id": row["id"] + 1000} for row in rows]).all()
        assert record.round_trips == 1
        assert ids == [1010 + number for number in range(count)]


def test_transactions_and_savepoints(wire: Engine) -> None:
    with wire.begin() as connection:
        connection.execute(sa.insert(item).values(id=1))
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.insert(item).values(id=1))
        with connection.begin_nested() as savepoint:
            connection.execute(sa.insert(item).values(id=2))
            savepoint.rollback()
        connection.execute(sa.insert(item).values(id=3))
    with wire.connect() as connection:
        connection.execute(sa.insert(item).values(id=4))
        connection.rollback()
        assert connection.scalars(select(item.c.id).order_by(item.c.id)).all() == [1, 3]


def test_a_commit_of_a_failed_transaction_is_an_error(wire: Engine) -> None:
    with wire.connect() as connection:
        with pytest.raises(sa.exc.DataError, match="division by zero"):
            connection.execute(text("SELECT 1/0"))
        with pytest.raises(sa.exc.InternalError, match="rolled back, not committed"):
            connection.commit()


def test_a_commit_behind_an_error_does_not_hide_it(wire: Engine) -> None:
    """As of DataFrame.to_sql of pandas, whose __exit__ commits by an ExitStack that does not know of the error."""

    stack = ExitStack()

    @contextmanager
    def writer() -> Iterator[sa.Connection]:
        connection = stack.enter_context(wire.connect())
        stack.enter_context(connection.begin())
        try:
            yield connection
        finally:
            stack.close()

    first = r'had failed \(duplicate key .*"sqla_item_pkey"'
    with pytest.raises(sa.exc.InternalError, match=first) as caught, writer() as connection:
        connection.execute(sa.insert(item), [{"id": 1}, {"id": 1}])
    orig: Any = caught.value.orig
    assert isinstance(orig.__cause__, exceptions.IntegrityError)
    assert orig.__cause__.constraint == "sqla_item_pkey"


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_isolation_levels(level: Any, wire: Engine) -> None:
    with wire.connect().execution_options(isolation_level=level) as connection:
        assert connection.get_isolation_level() == level
        assert connection.scalar(text("SHOW transaction_isolation")) == level.lower()
    with wire.connect() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_autocommit_behind_a_ping_commits(url: str, wire: Engine) -> None:
    engine = engine_of("lightvec", url, pool_pre_ping=True)
    for number in (1, 2):  # The second time the connection comes from the pool, and is asked whether it is alive.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.insert(item).values(id=number))
            if number == 2:
                connection.execute(text("VACUUM sqla_item"))
    engine.dispose()
    with wire.connect() as connection:
        assert connection.scalars(select(item.c.id).order_by(item.c.id)).all() == [1, 2]


def test_rows_are_streamed(wire: Engine) -> None:
    with wire.begin() as connection:
        connection.execute(sa.insert(item), [{"id": number, "dense": [number, 0, 0]} for number in range(95)])
        query = select(item.c.id, item.c.dense).order_by(item.c.id).where(item.c.id >= 0)
        streamed = connection.execution_options(yield_per=10).execute(query)
        pages = list(streamed.partitions())
        assert [len(page) for page in pages] == [10] * 9 + [5]
        assert pages[9][4] == (94, [94, 0, 0])
        with connection.execution_options(stream_results=True).execute(query) as result:
            assert result.fetchmany(2)[1].dense == [1, 0, 0]
        assert connection.scalar(select(sa.func.count()).select_from(item)) == 95


def test_streamed_vectors_are_binary_from_the_second_page_on(relay: Relay, relayed: Engine) -> None:
    query = select(item.c.dense, item.c.bits).order_by(item.c.id)
    with relayed.begin() as connection:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=1)
        for last in (3, 2):  # Another cursor of other columns begins anew.
            with relay.recording() as record:
                rows = streaming.execute(query).all()
            assert rows[2 if last == 3 else 1][0] == [last, 1, 1]
            assert Vector([last, 1, 1]).to_binary() in record.data(SERVER)
            query = select(item.c.dense).where(item.c.id < 3).order_by(item.c.id)


class Mood(Enum):
    """A native enum."""

    good = "good"
    bad = "bad"


def test_other_types(wire: Engine) -> None:
    metadata = sa.MetaData()
    moment = datetime(2024, 1, 2, 3, 4, 5, 6, timezone.utc)
    values: dict[str, tuple[Any, Any]] = {
        "json": (sa.JSON, {"a": [1, None, "ü"]}),
        "jsonb": (postgresql.JSONB, {"b": {"c": 1}}),
        "numbers": (sa.ARRAY(sa.Integer), [1, None, 3]),
        "texts": (postgresql.ARRAY(sa.Text), ["a", 'b"', "{,}"]),
        "moods": (sa.ARRAY(sa.Enum(Mood, name="sqla_mood", metadata=metadata)), [Mood.good, Mood.bad]),
        "mood": (sa.Enum(Mood, name="sqla_mood", metadata=metadata), Mood.bad),
        "uuid": (sa.Uuid, UUID(int=7)),
        "money": (sa.Numeric(8, 2), Decimal("12.34")),
        "real": (sa.Float, 1.5),
        "moment": (sa.DateTime(timezone=True), moment),
        "naive": (sa.DateTime, moment.replace(tzinfo=None)),
        "day": (sa.Date, date(2024, 1, 2)),
        "span": (sa.Interval, timedelta(days=1, seconds=2)),
        "raw": (sa.LargeBinary, b"\x00\xff"),
        "yes": (sa.Boolean, True),
        "text": (sa.String(20), "50% %s"),
        "spreads": (postgresql.INT4MULTIRANGE, [postgresql.Range(1, 5), postgresql.Range(7, 9)]),
        "spread": (postgresql.INT4RANGE, postgresql.Range(1, 5)),
    }
    columns = [sa.Column(name, kind) for name, (kind, _) in values.items()]
    table = sa.Table("sqla_types", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
    metadata.drop_all(wire)
    metadata.create_all(wire)
    row = {name: value for name, (_, value) in values.items()}
    with wire.begin() as connection:
        assert connection.scalars(sa.insert(table).returning(table.c.id), [row, row]).all() == [1, 2]
        found = connection.execute(select(*columns).where(table.c.id == 2)).one()
        assert found._asdict() == row
        assert connection.scalar(select(table.c.jsonb["b"]["c"].as_integer()).where(table.c.id == 1)) == 1
        assert connection.scalar(select(table.c.id % 2).where(table.c.text == "50% %s", table.c.id == 1)) == 1
        assert connection.scalar(select(sa.literal_column("'%% %'"))) == "%% %"
    reflected = sa.Table("sqla_types", sa.MetaData(), autoload_with=wire)
    assert [type(reflected.c[name].type).__name__ for name in ("json", "uuid", "mood")] == ["JSON", "UUID", "ENUM"]
    metadata.drop_all(wire)


def test_sqlalchemys_own_bits_are_text(wire: Engine) -> None:
    with wire.connect() as connection:
        for _ in range(2):
            row = connection.execute(
                select(
                    sa.literal("101", postgresql.BIT(3)),
                    sa.cast("011", postgresql.BIT(3)),
                    sa.cast(["1"], sa.ARRAY(postgresql.BIT(1))),
                )
            ).one()
            assert tuple(row) == ("101", "011", ["1"])
            assert isinstance(row[1], str)


def test_upsert_and_row_counts(wire: Engine) -> None:
    with wire.begin() as connection:
        for dense in ([1, 2, 3], [4, 5, 6]):
            statement = upsert(item).values(id=1, dense=dense)
            changed = statement.on_conflict_do_update(index_elements=["id"], set_={"dense": statement.excluded.dense})
            assert connection.execute(changed).rowcount == 1
        assert connection.scalar(select(item.c.dense)) == [4, 5, 6]
        many = sa.update(item).where(item.c.id == sa.bindparam("key")).values(dense=sa.bindparam("new"))
        assert connection.execute(many, [{"key": 1, "new": [7, 8, 9]}, {"key": 2, "new": [1, 1, 1]}]).rowcount == 1
        assert connection.execute(sa.delete(item)).rowcount == 1


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT 1/0", sa.exc.DataError),
        ("SELEC", sa.exc.ProgrammingError),
        ("INSERT INTO sqla_item (id) VALUES (1), (1)", sa.exc.IntegrityError),
        ("SELECT set_config('lock_timeout', 'x', true)", sa.exc.DataError),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", sa.exc.OperationalError),
        ("CREATE TABLE sqla_no (v vector) PARTITION BY LIST (v, v)", sa.exc.ProgrammingError),
    ],
)
def test_errors_are_of_sqlalchemys_classes(sql: str, wanted: type[sa.exc.DBAPIError], wire: Engine) -> None:
    with wire.connect() as connection, pytest.raises(wanted) as caught:
        connection.execute(text(sql))
    assert type(caught.value) is wanted
    assert isinstance(caught.value.orig, exceptions.Error)
    assert not caught.value.connection_invalidated


@pytest.mark.parametrize("how", ["in use", "idle", "cut", "pinged"])
def test_the_pool_recovers_when_a_backend_ends(how: str, url: str) -> None:
    engine = engine_of("lightvec", url, pool_pre_ping=how == "pinged", pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        raw: Any = connection.connection.dbapi_connection
        if how == "in use":
            _end(url, pid)
            _fails(connection)
    if how == "cut":
        raw.session.transport.socket.shutdown(2)
    elif how != "in use":
        _end(url, pid)
    if how in ("idle", "cut"):
        with engine.connect() as connection:
            _fails(connection)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != pid
    engine.dispose()


def _end(url: str, pid: Any) -> None:
    with connect(url) as admin:
        admin.run("SELECT pg_terminate_backend(:pid)", pid=pid)
        while admin.run("SELECT 1 FROM pg_stat_activity WHERE pid = :pid", pid=pid):
            time.sleep(0.01)


def _fails(connection: sa.Connection) -> None:
    with pytest.raises(sa.exc.OperationalError) as caught:
        connection.scalar(text("SELECT 1"))
    assert caught.value.connection_invalidated
    assert "connection is closed" in str(caught.value.orig)
