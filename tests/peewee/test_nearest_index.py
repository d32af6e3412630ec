"""The nearest-neighbour query and its index: settings, round trips, and as many rows as were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from peewee import SQL, IntegerField, Model
from playhouse.postgres_ext import ServerSide

from lightvec.errors import InvalidOption
from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database, VectorField, run_many
from lightvec.pg8000 import Connection, connect
from tests.peewee.brute import Matrix

SIZE = 5_000
SETTINGS = ("hnsw.ef_search", "hnsw.iterative_scan", "ivfflat.probes", "ivfflat.iterative_scan")


class Big(Model):
    """5,000 rows with an HNSW index; one in a hundred is ``rare``."""

    id: Any
    distance: float
    number = IntegerField(index=True)
    rare = IntegerField()
    place = VectorField(8, metric="l2")
    listed = VectorField(8, metric="l2")

    class Meta:
        table_name = "peewee_big"


Big.add_index(HnswIndex(Big.place, m=8, ef_construction=32))


@pytest.fixture(scope="module")
def big(make_database: Callable[[], str]) -> tuple[str, Matrix]:
    url = make_database()
    with connect(url) as admin:
        admin.run("CREATE EXTENSION vector")
    numbers = np.random.default_rng(11).normal(size=(SIZE, 8))
    db = Pg8000Database(url)
    with db.bind_ctx([Big]), db.connection_context():
        db.create_tables([Big])
        with db.atomic():
            for start in range(0, SIZE, 1_000):
                Big.insert_many(
                    {"number": n, "rare": n % 100, "place": numbers[n], "listed": numbers[n]}
                    for n in range(start, start + 1_000)
                ).execute()
        model: Any = Big
        db.execute(model._schema._create_index(IvfflatIndex(Big.listed, lists=50)))
        db.execute_sql("ANALYZE peewee_big")
    return url, numbers


@pytest.fixture
def db(big: tuple[str, Matrix]) -> Iterator[Pg8000Database]:
    # The planner would rather sort a table that is this small for many rows.
    database = Pg8000Database(big[0], options="-c enable_seqscan=off -c enable_sort=off")
    database.connect()
    Big.bind(database)
    yield database
    database.close()


@pytest.fixture
def query(big: tuple[str, Matrix]) -> Any:
    return np.asarray(np.random.default_rng(12).normal(size=8)).tolist()


def truth(numbers: Matrix, query: Any, k: int) -> list[int]:
    return [int(n) for n in np.argsort(np.linalg.norm(numbers - np.array(query), axis=1))[:k]]


def plan(db: Pg8000Database, query: Any) -> str:
    text, values = query.sql()
    return "\n".join(line for (line,) in db.execute_sql("EXPLAIN " + text, values).fetchall())


def session(db: Pg8000Database) -> list[str | None]:
    return [value(db, name) for name in SETTINGS]


def value(db: Pg8000Database, name: str) -> Any:
    return (db.execute_sql("SELECT nullif(current_setting(%s, true), '')", (name,)).fetchone() or [None])[0]


def used(query: Any, *names: str) -> list[str]:
    """What the settings are while the query runs."""
    columns = [SQL(f"current_setting('{name}', true)").alias(name.replace(".", "_")) for name in names]
    row = query.select(*columns).dicts()[0]
    return [row[name.replace(".", "_")] for name in names]


# The index


def test_the_index_serves_it_and_exact_does_not(db: Pg8000Database, query: Any) -> None:
    assert "Index Scan using peewee_big_place_l2_hnsw" in plan(db, Big.place.nearest(query))
    assert "Index Scan using peewee_big_place_l2_hnsw" in plan(db, Big.place.nearest(query).where(Big.rare == 1))
    assert "hnsw" not in plan(db, Big.place.nearest(query, exact=True))
    assert "Index Scan using peewee_big_listed_l2_ivfflat" in plan(db, Big.listed.nearest(query))
    assert "ivfflat" not in plan(db, Big.listed.nearest(query, exact=True))


def test_exact_is_exact(db: Pg8000Database, big: tuple[str, Matrix], query: Any) -> None:
    found: Any = Big.place.nearest(query, 60, exact=True)
    assert [row.number for row in found] == truth(big[1], query, 60)


def test_the_index_finds_most_of_them(db: Pg8000Database, big: tuple[str, Matrix], query: Any) -> None:
    found: Any = list(Big.place.nearest(query, 20, ef_search=400))
    assert len({row.number for row in found} & set(truth(big[1], query, 20))) >= 18
    assert [row.distance for row in found] == sorted(row.distance for row in found)


# As many rows as were asked for


@pytest.mark.parametrize("k", [1, 40, 41, 300, 1_000, 1_500])
@pytest.mark.parametrize("field", ["place", "listed"])
def test_k_rows_come(db: Pg8000Database, query: Any, field: str, k: int) -> None:
    vectors: Any = getattr(Big, field)
    assert f"Index Scan using peewee_big_{field}" in plan(db, vectors.nearest(query, k))
    assert len(vectors.nearest(query, k)) == k


def test_without_settings_they_would_not(db: Pg8000Database, query: Any) -> None:
    assert len(Big.select().order_by(Big.place.distance(query)).limit(100)) < 100


def test_a_later_limit_counts(db: Pg8000Database, query: Any) -> None:
    assert len(Big.place.nearest(query).limit(100)) == 100
    assert len(Big.place.nearest(query).offset(100)) == 10
    assert len(Big.place.nearest(query).paginate(7, 25)) == 25
    assert len(Big.place.nearest(query, 100).limit(5)) == 5


@pytest.mark.parametrize("field", ["place", "listed"])
def test_a_filter_leaves_k_rows(db: Pg8000Database, query: Any, field: str) -> None:
    vectors: Any = getattr(Big, field)
    found = vectors.nearest(query, 10).where(Big.rare == 7)
    assert f"peewee_big_{field}" in plan(db, found)
    assert len(found) == 10
    assert {row.rare for row in found} == {7}
    few = vectors.nearest(query, 10, iterative_scan=False, exact=False).where(Big.rare == 7)
    assert len(few) < 10
    assert few.fallback is None


@pytest.mark.parametrize("field", ["place", "listed"])
def test_an_exact_search_finds_what_the_index_did_not(
    db: Pg8000Database, big: tuple[str, Matrix], query: Any, field: str, sent: list[bytes]
) -> None:
    vectors: Any = getattr(Big, field)
    found = vectors.nearest(query, 10, iterative_scan=False).where(Big.rare == 7)
    list(vectors.nearest(query))
    sent.clear()
    rare = np.arange(SIZE) % 100 == 7
    distances = np.linalg.norm(big[1] - np.array(query), axis=1)
    wanted = np.flatnonzero(rare)[np.argsort(distances[rare])[:10]].tolist()
    assert [row.number for row in found] == wanted
    assert len(sent) == 2
    assert "of 10 rows, so the search ran again with exact=True" in str(found.fallback)
    assert found.shortfall is None
    assert [row.score for row in found] == [1 / (1 + row.distance) for row in found]
    assert [row.number for row in found.clone()] == wanted
    assert [row[:1] for row in found.select(Big.number).tuples()] == [(n,) for n in wanted]
    assert [row["number"] for row in found.dicts().iterator()] == wanted
    page: Any = found.offset(5).limit(3)
    assert [row.number for row in page] == wanted[5:8]
    assert vectors.nearest(query, 10).fallback is None


def test_the_fallback_is_for_searches_that_an_index_may_cut_short(
    db: Pg8000Database, query: Any, sent: list[bytes]
) -> None:
    """Where few rows are what was asked for, the search is not repeated."""
    near = min(row.distance for row in Big.place.nearest(query, 1))
    score = 1 / (1 + near) - 0.001
    one_row: list[Any] = [
        Big.place.nearest(query, 10, min_score=score),
        Big.place.nearest(query, 10, min_score=score).where(Big.rare >= 0),
        Big.place.nearest(query, 10, exact=True).where(Big.rare == 7, Big.number < 100),
        Big.place.nearest(query, 10).where(Big.rare == 7, Big.number < 100).order_by(Big.id),
    ]
    for search in one_row:
        sent.clear()
        assert len(search) == 1
        assert len(sent) == 1
        assert search.fallback is None
    sent.clear()
    assert Big.select().where(Big.id.in_(Big.place.nearest(query, 10).where(Big.number < 2))).count() == 2
    assert len(sent) == 1, "inside another statement"


def test_many_searches_of_which_one_finds_too_few(db: Pg8000Database, query: Any) -> None:
    plain: Any = Big.place.nearest(query, 10)
    short: Any = Big.place.nearest(query, 10, iterative_scan=False).where(Big.rare == 7)
    alone: Any = short.clone()
    found = run_many([plain, short])
    assert [len(rows) for rows in found] == [10, 10]
    assert [row.score for row in short] == [row.score for row in alone]
    assert (plain.fallback, bool(short.fallback)) == (None, True)


def test_rows_of_a_fallback_are_dropped_with_the_query(db: Pg8000Database, query: Any) -> None:
    found: Any = Big.place.nearest(query, 10, iterative_scan=False).where(Big.rare == 7)
    assert len(found) == 10
    wider = found.orwhere(Big.rare >= 0)
    assert len(wider) == 10
    assert wider.fallback is None


@pytest.mark.parametrize("number", range(5))
def test_the_nearest_come_first_however_the_index_gives_them(db: Pg8000Database, number: int) -> None:
    query: Any = np.random.default_rng(number).normal(size=8)
    every: list[Any] = [
        Big.listed.nearest(query, 10).where(Big.rare == 7),
        Big.listed.nearest(query, 10).where(Big.rare == 7).select(SQL("*")),
        Big.listed.nearest(query, 400),
        Big.place.nearest(query, 10, iterative_scan="relaxed_order").where(Big.rare == 7),
    ]
    for found in every:
        distances = [row["distance"] for row in found.dicts()]
        assert len(distances) >= 10
        assert distances == sorted(distances)
    by_number: Any = Big.listed.nearest(query, 400).order_by(Big.number)
    assert [row.number for row in by_number] == sorted(row.number for row in by_number)


def test_a_filter_by_a_join_leaves_k_rows(db: Pg8000Database, query: Any) -> None:
    other: Any = Big.alias()
    found: Any = Big.place.nearest(query, 10).join(other, on=(Big.number == other.number)).where(other.rare == 7)
    assert len(found) == 10


def test_inside_other_queries(db: Pg8000Database, query: Any) -> None:
    near = Big.place.nearest(query, 100)
    assert Big.select().where(Big.id.in_(near.select(Big.id))).count() == 100
    assert len(near.select_from(SQL("id"))) == 100
    assert len(near | Big.place.nearest(query, 90)) == 100
    few = Big.place.nearest(query, 10).where(Big.rare == 7)
    assert Big.select().where(Big.id.in_(few)).count() == 10
    assert Big.update(rare=Big.rare).where(Big.id.in_(Big.place.nearest(query, 100))).execute() == 100


# Settings


def test_ef_search_follows_k(db: Pg8000Database, query: Any) -> None:
    assert used(Big.place.nearest(query, 40), "hnsw.ef_search") == ["40"]
    assert used(Big.place.nearest(query, 41), "hnsw.ef_search") == ["41"]
    assert used(Big.place.nearest(query, 5_000, exact=False), "hnsw.ef_search") == ["1000"]


def test_a_higher_ef_search_stays(db: Pg8000Database, big: tuple[str, Matrix], query: Any) -> None:
    db.execute_sql("SET hnsw.ef_search = 200")
    assert used(Big.place.nearest(query, 100), "hnsw.ef_search") == ["200"]
    assert used(Big.place.nearest(query, 300), "hnsw.ef_search") == ["300"]
    assert value(db, "hnsw.ef_search") == "200"
    with connect(big[0]) as admin:
        name = admin.run("SELECT current_database()")
        assert name is not None
        admin.run(f"ALTER DATABASE {name[0][0]} SET hnsw.ef_search = 150")
    try:
        db.close()
        assert used(Big.place.nearest(query, 100), "hnsw.ef_search") == ["150"]
    finally:
        db.execute_sql(f"ALTER DATABASE {name[0][0]} RESET hnsw.ef_search")


def test_what_is_said_counts(db: Pg8000Database, query: Any) -> None:
    assert used(Big.place.nearest(query, 10, ef_search=20), "hnsw.ef_search") == ["20"]
    assert used(Big.place.nearest(query, 100, ef_search=20), "hnsw.ef_search") == ["100"], "it follows k"
    assert used(Big.listed.nearest(query, probes=9), "ivfflat.probes") == ["9"]
    assert used(Big.place.nearest(query, iterative_scan="relaxed_order"), "hnsw.iterative_scan") == ["relaxed_order"]
    strict = Big.place.nearest(query, iterative_scan="strict_order")
    assert used(strict, "hnsw.iterative_scan") == ["strict_order"]
    list(Big.place.nearest(query))  # loads the library, which gives the settings their defaults
    assert used(Big.place.nearest(query), "hnsw.iterative_scan") == ["off"]
    assert used(Big.place.nearest(query, min_score=0.01), "hnsw.iterative_scan") == ["off"]
    off = Big.place.nearest(query, iterative_scan=False).where(Big.rare >= 0)
    assert used(off, "hnsw.iterative_scan") == ["off"]


def test_the_order_of_iterative_scans(db: Pg8000Database, query: Any) -> None:
    """Relaxed, which finds more, where rows are sorted afterwards."""
    filtered: Any = Big.place.nearest(query).where(Big.rare < 50)
    relaxed: list[Any] = [filtered, filtered.order_by_extend(Big.id), Big.place.nearest(query, iterative_scan=True)]
    strict: list[Any] = [filtered.offset(1), filtered.limit(None), filtered.paginate(2, 3)]
    for order, queries in (("relaxed_order", relaxed), ("strict_order", strict)):
        for each in queries:
            assert each.settings(db)["hnsw.iterative_scan"] == order
            assert each.settings(db)["ivfflat.iterative_scan"] == "relaxed_order"
            distances = [row.distance for row in each]
            assert distances == sorted(distances)


def test_probes_follow_the_lists_that_the_model_declares(db: Pg8000Database, query: Any) -> None:
    class Listed(Model):
        id: Any
        rare = IntegerField()
        listed = VectorField(8, metric="l2")

        class Meta:
            database = db
            table_name = "peewee_big"
            indexes = (IvfflatIndex("listed", lists=50),)

    assert used(Listed.listed.nearest(query), "ivfflat.probes") == ["8"]
    assert used(Listed.listed.nearest(query, probes=2), "ivfflat.probes") == ["2"]
    assert used(Listed.listed.nearest(query, metric="l1"), "ivfflat.probes") == ["1"], "no such index"
    rare: Any = Listed.rare == 7
    assert used(Listed.listed.nearest(query).where(rare), "ivfflat.probes") == ["32"]
    assert used(Listed.listed.nearest(query, probes=2).where(rare), "ivfflat.probes") == ["2"]
    db.execute_sql("SET ivfflat.probes = 20")
    assert used(Listed.listed.nearest(query), "ivfflat.probes") == ["20"]
    db.execute_sql("RESET ivfflat.probes")
    assert used(Big.listed.nearest(query), "ivfflat.probes") == ["1"], "the model does not know of it"


def test_iterative_scans_need_a_newer_pgvector(db: Pg8000Database, query: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = db.extension()
    monkeypatch.setattr(db, "extension", lambda: known._replace(version=(0, 7, 4)))
    for scan in (True, "strict_order", "relaxed_order"):
        message = r"iterative_scan needs pgvector 0\.8, .* 0\.7\.4: .*ALTER EXTENSION vector UPDATE"
        with pytest.raises(InvalidOption, match=message):
            list(Big.place.nearest(query, iterative_scan=scan))
    plain: Any = Big.place.nearest(query, iterative_scan=False)
    assert plain.settings(db) is None
    filtered: Any = Big.place.nearest(query).where(Big.rare == 7)
    assert filtered.settings(db) is None
    assert len(filtered) == 10, "by the exact search"
    assert filtered.fallback


def test_exact_needs_none(db: Pg8000Database, query: Any) -> None:
    exact: Any = Big.place.nearest(query, 100, exact=True, ef_search=7)
    assert exact.settings(db) is None


def test_nothing_stays(db: Pg8000Database, query: Any) -> None:
    list(Big.place.nearest(query))
    before = session(db)
    for _ in range(2):
        list(Big.place.nearest(query, 100, probes=3, iterative_scan=True).where(Big.rare == 7))
        assert session(db) == before
    with db.atomic():
        db.execute_sql("SET LOCAL hnsw.ef_search = 77")
        list(Big.place.nearest(query, 100, ef_search=500, probes=3, iterative_scan=True))
        assert session(db) == ["77", *before[1:]]
    assert session(db) == before


def test_server_side_cursors_keep_the_settings(db: Pg8000Database, big: tuple[str, Matrix], query: Any) -> None:
    with db.atomic():
        assert len(list(ServerSide(Big.place.nearest(query, 100), array_size=10))) == 100
    database = Pg8000Database(big[0], server_side_cursors=True, options="-c enable_seqscan=off -c enable_sort=off")
    with database.bind_ctx([Big]), database.connection_context(), database.atomic():
        assert len(list(Big.place.nearest(query, 100).iterator())) == 100


# The wire


@pytest.mark.parametrize("in_transaction", [False, True])
def test_one_round_trip(db: Pg8000Database, query: Any, sent: list[bytes], in_transaction: bool) -> None:
    list(Big.place.nearest(query))
    transaction = db.atomic()
    if in_transaction:
        transaction.__enter__()
    try:
        every: list[dict[str, Any]] = [{}, {"k": 100}, {"k": 100, "probes": 5, "min_score": 0.1}, {"exact": True}]
        for options in every:
            sent.clear()
            found: Any = Big.place.nearest(query, **options).where(Big.rare < 50)
            assert len(list(found)) > 0
            assert len(sent) == 1
    finally:
        if in_transaction:
            transaction.__exit__(None, None, None)


def test_connected_to_first_result_is_two_round_trips(big: tuple[str, Matrix], query: Any, sent: list[bytes]) -> None:
    database = Pg8000Database(big[0])
    database.connect()
    sent.clear()
    with database.bind_ctx([Big]):
        assert len(Big.place.nearest(query, 100).where(Big.rare < 50)) == 100
    assert len(sent) <= 2
    database.close()


def test_the_vector_is_sent_once(db: Pg8000Database, query: Any, sent: list[bytes]) -> None:
    vector = Big.place.db_value(query)
    every: list[dict[str, Any]] = [{}, {"k": 100}, {"min_score": 0.1}, {"exact": True, "min_score": 0.1}]
    for options in every:
        sent.clear()
        list(Big.place.nearest(query, **options))
        assert b"".join(sent).count(vector.to_binary()) == 1


def test_rows_come_the_same_from_every_connection(conn: Connection, db: Pg8000Database, query: Any) -> None:
    # The first answer of a connection comes as text, the second as binary.
    answers = [list(Big.place.nearest(query, 5).tuples()) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
