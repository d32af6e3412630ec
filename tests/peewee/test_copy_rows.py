"""Rows into a model's table by COPY: the same as by insert_many, and what is refused."""

from __future__ import annotations

import enum
import math
import re
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peewee import (
    BigBitField,
    BigIntegerField,
    BinaryUUIDField,
    BitField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    DateField,
    DateTimeField,
    DecimalField,
    DoubleField,
    FixedCharField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    IPField,
    Model,
    SmallIntegerField,
    TextField,
    TimeField,
    TimestampField,
    UUIDField,
    fn,
)
from peewee import JSONField as PlainJSONField
from playhouse.postgres_ext import (
    ArrayField,
    BinaryJSONField,
    DateTimeTZField,
    IntervalField,
    JSONField,
    TSVectorField,
)

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    Pg8000Database,
    PooledPg8000Database,
    SparseVectorField,
    VectorField,
)
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000 import exceptions as wire
from tests.peewee.conftest import Use
from tests.peewee.models import Author, Doc, Four


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class ColourField(TextField):
    """A field with a conversion of its own."""

    def db_value(self, value: Any) -> Any:
        if value is not None and not isinstance(value, Colour):
            raise ValueError("it is no colour")
        return None if value is None else value.value

    def python_value(self, value: Any) -> Any:
        return None if value is None else Colour(value)


class Every(Model):
    """Every kind of field."""

    id: Any
    integer = IntegerField(null=True)
    big = BigIntegerField(null=True)
    small = SmallIntegerField(null=True)
    real = FloatField(null=True)
    double = DoubleField(null=True)
    numeric = DecimalField(20, 4, null=True)
    rounded = DecimalField(10, 2, auto_round=True, null=True)
    text = TextField(null=True)
    char = CharField(20, null=True)
    fixed = FixedCharField(4, null=True)
    boolean = BooleanField(null=True)
    blob = BlobField(null=True)
    uuid = UUIDField(null=True)
    binary_uuid = BinaryUUIDField(null=True)
    day = DateField(null=True)
    clock = TimeField(null=True)
    moment = DateTimeField(null=True)
    zoned = DateTimeTZField(null=True)
    seconds = TimestampField(null=True, default=None)
    micros = TimestampField(null=True, resolution=6, utc=True, default=None)
    span = IntervalField(null=True)
    ip = IPField(null=True)
    json = JSONField(null=True)
    jsonb = BinaryJSONField(null=True)
    plain_json = PlainJSONField(null=True)
    numbers = ArrayField(IntegerField, null=True)
    words = ArrayField(TextField, null=True)
    grid = ArrayField(IntegerField, dimensions=2, null=True)
    flags = BitField(null=True)  # type: ignore[call-arg]
    many_flags = BigBitField(null=True)  # type: ignore[call-arg]
    colour = ColourField(null=True)
    author = ForeignKeyField(Author, null=True)
    dense = VectorField(3, null=True)
    half = HalfVectorField(3, null=True)
    sparse = SparseVectorField(3, null=True)
    bits = FixedBitField(3, null=True)
    vectors = ArrayField(VectorField, {"dimensions": 2}, null=True, index=False)

    class Meta:
        table_name = "peewee_every"


class Searched(Model):
    """A column that has no binary form: the load is text."""

    id: Any
    body = TextField()
    search = TSVectorField(null=True)
    dense = VectorField(2, null=True)

    class Meta:
        table_name = "peewee_searched"


class Item(Model):
    """Defaults, a column of another name, a key that counts up."""

    id: Any
    title = TextField(column_name="item title")
    note = TextField(null=True)
    number = IntegerField(default=7)
    token = UUIDField(default=uuid.uuid4, null=True)
    unique = IntegerField(null=True, unique=True)

    class Meta:
        table_name = 'peewee "item'


class Pair(Model):
    """A key of two columns, one of them a foreign key."""

    author_id: Any
    author = ForeignKeyField(Author)
    place = IntegerField()
    text = TextField(null=True)

    class Meta:
        table_name = "peewee_pair"
        primary_key = CompositeKey("author", "place")


class Keyless(Model):
    number = IntegerField()

    class Meta:
        table_name = "peewee_keyless"
        primary_key = False


class Elsewhere(Model):
    """In a schema, with names that must be quoted."""

    key = IntegerField(primary_key=True, column_name='the "key')

    class Meta:
        table_name = "Select"
        schema = "peewee else"


def items(*fields: Any) -> list[Any]:
    return list(Item.select(*fields).order_by(Item.id).tuples())


@pytest.fixture
def item(use: Use) -> None:
    use(Item)


# The same as by insert_many

FULL: dict[str, Any] = {
    "integer": -5,
    "big": 2**40,
    "small": 7,
    "real": 0.1,
    "double": 0.1 + 0.2,
    "numeric": Decimal("12.3456"),
    "rounded": 1.005,
    "text": "tab\t\\N 'é' \U0001f600",
    "char": "chars",
    "fixed": "ab",
    "boolean": True,
    "blob": b"\x00\xff",
    "uuid": uuid.UUID(int=5),
    "binary_uuid": uuid.UUID(int=6),
    "day": date(2024, 2, 29),
    "clock": time(1, 2, 3, 4),
    "moment": datetime(2024, 2, 29, 1, 2, 3, 4),
    "zoned": datetime(2024, 2, 29, 1, tzinfo=timezone(timedelta(hours=5))),
    "seconds": datetime(2024, 2, 29, 1, 2, 3),
    "micros": datetime(2024, 2, 29, 1, 2, 3, 456),
    "span": timedelta(days=-3, microseconds=5),
    "ip": "10.0.0.255",
    "json": {"a": [1, None]},
    "jsonb": "text, not JSON",
    "plain_json": [1, {"b": "é"}],
    "numbers": [1, None, 3],
    "words": ["a", None, 'b"\\,'],
    "grid": [[1, 2], [3, 4]],
    "flags": 5,
    "many_flags": b"\x01\x80",
    "colour": Colour.BLUE,
    "dense": [1, 2, 3],
    "half": [0.1, 2, 3],
    "sparse": [0, 2, 0],
    "bits": "101",
    "vectors": [[1, 2], [3, 4]],
}

#: What a field takes beside its own type.
OTHERS: dict[str, list[Any]] = {
    "integer": ["12", 3.9, True, np.int32(4), Decimal(5)],
    "real": ["1.5", 1, Decimal("0.1"), math.inf, np.float32(0.1)],
    "double": ["1.5", 10**20],
    "numeric": ["12.5", 3, 0, 0.1, "", Decimal("1E+3")],
    "rounded": ["1.239", 2, Decimal("0.995")],
    "text": [5, b"bytes", "", 1.5],
    "fixed": [" a ", "abcdefgh"],
    "boolean": [0, "x", "", np.bool_(True)],
    "blob": ["text é", memoryview(b"ab"), bytearray(b"cd"), b""],
    "uuid": [str(uuid.UUID(int=7)), uuid.UUID(int=8).hex, uuid.UUID(int=9).bytes],
    "binary_uuid": [uuid.UUID(int=8).hex, uuid.UUID(int=9).bytes],
    "day": ["2024-02-29", datetime(2024, 2, 29, 5), "2024-02-29 01:02:03"],
    "clock": ["01:02", datetime(2024, 2, 29, 5), timedelta(hours=3)],
    "moment": ["2024-02-29 01:02:03.5", "2024-02-29", date(2024, 2, 29)],
    "zoned": ["2024-02-29T01:02:03Z"],
    "seconds": [5, date(2024, 2, 29), "2024-02-29 01:02:03", 1.5],
    "micros": [5, datetime(2024, 2, 29, 1, 2, 3, tzinfo=timezone.utc)],
    "json": ["null", 5, True, [], "\U0001f600"],
    "jsonb": [{}, 1.5, False],
    "plain_json": ["text", 1.5, {"a": None}],
    "numbers": [(1, 2), [], range(3)],
    "many_flags": [bytearray(b"\x03"), b""],
    "dense": [
        *[(1, 2, 3), array("f", [1, 2, 3]), array("d", [0.1, 2, 3]), Vector([1, 2, 3]), HalfVector([1, 2, 3])],
        *[np.array([0.1, 2, 3], dtype) for dtype in ("f2", "f4", "f8", ">f4", "i8", "u1")],
        *[np.arange(6, dtype="f4")[::2], [np.float32(0.1), 2, True]],
    ],
    "half": [(1, 2, 3), np.array([0.1, 2, 3], "f2"), np.array([0.1, 2, 3]), Vector([1, 2, 3])],
    "sparse": [SparseVector({1: 5}, 3), np.array([0, 1, 0]), Vector([0, 1, 0])],
    "bits": [Bit("011"), [True, False, True], np.array([True, False, False])],
    "vectors": [[Vector([1, 2])], [[1, 2], None], np.array([[1, 2], [3, 4]]), []],
}


def raw() -> list[Any]:
    """The stored rows as text, as the server has them, without their keys."""
    rows: Any = Every._meta.database.execute_sql("SELECT to_jsonb(e) - 'id' FROM peewee_every e ORDER BY id")
    return [row[0] for row in rows.fetchall()]


def both(db: Pg8000Database, rows: list[dict[str, Any]]) -> None:
    """Load rows in both ways and compare what is stored, and what Peewee reads."""
    Every.delete().execute()
    for row in rows:
        Every.insert_many([row]).execute()
    expected, read = raw(), list(Every.select(*Every._meta.sorted_fields[1:]).order_by(Every.id).tuples())
    Every.delete().execute()
    for row in rows:
        assert db.copy_rows(Every, [row]) == 1
    assert raw() == expected
    again = list(Every.select(*Every._meta.sorted_fields[1:]).order_by(Every.id).tuples())
    assert again == read


def test_every_kind_of_field(use: Use, db: Pg8000Database) -> None:
    use(Author, Every)
    assert {*FULL, "author", "id"} == set(Every._meta.fields)
    author = Author.create(name="Ann")
    rows = [{**FULL, "author": author}, dict.fromkeys([*FULL, "author"]), {**FULL, "author_id": author.id}]
    both(db, rows)
    stored = Every.select().order_by(Every.id).first()
    assert (stored.author, stored.colour, stored.dense) == (author, Colour.BLUE, Vector([1, 2, 3]))
    assert (stored.ip, stored.uuid, stored.jsonb) == ("10.0.0.255", uuid.UUID(int=5), "text, not JSON")


def test_whatever_else_a_field_takes(use: Use, db: Pg8000Database) -> None:
    use(Author, Every)
    both(db, [{name: value} for name, values in OTHERS.items() for value in values])


def _texts(**options: Any) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), **options)


_numbers = st.floats(-1e4, 1e4, width=16)
_jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts(), inner, max_size=3),
    max_leaves=5,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-(2**15), 2**15 - 1),
    "real": st.floats(width=32),
    "double": st.floats(),
    "numeric": st.decimals(-(10**15), 10**15, allow_nan=False, places=4),
    "text": _texts(),
    "boolean": st.booleans(),
    "blob": st.binary(),
    "uuid": st.uuids(),
    "binary_uuid": st.uuids(),
    "day": st.dates(),
    "clock": st.times(),
    "moment": st.datetimes(),
    "zoned": st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(timezone.utc)),
    "micros": st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),
    "span": st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6)),
    "ip": st.ip_addresses(v=4).map(str),
    "json": _jsons,
    "jsonb": _jsons,
    "plain_json": _jsons,
    "numbers": st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)),
    "words": st.lists(st.none() | _texts()),
    "flags": st.integers(0, 2**62),
    "colour": st.sampled_from(Colour),
    "dense": st.lists(_numbers, min_size=3, max_size=3),
    "half": st.lists(_numbers, min_size=3, max_size=3),
    "sparse": st.lists(_numbers, min_size=3, max_size=3),
    "bits": st.lists(st.booleans(), min_size=3, max_size=3),
}


_COMPARE = """\
SELECT count(*) FROM (SELECT to_jsonb(e) - 'id' FROM peewee_every e WHERE id = 1
EXCEPT SELECT to_jsonb(e) - 'id' FROM peewee_every e WHERE id = 2) AS others"""


@pytest.fixture
def every(use: Use) -> None:
    use(Author, Every)


@pytest.mark.usefixtures("every")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(row=st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}))
def test_rows_are_those_of_insert_many(row: dict[str, Any], db: Pg8000Database) -> None:
    with db.atomic() as transaction:
        Every.insert_many([{**row, "id": 1}]).execute()
        assert db.copy_rows(Every, [{**row, "id": 2}]) == 1
        assert db.execute_sql(_COMPARE).fetchone() == (0,)
        transaction.rollback()


def test_a_load_as_text(use: Use, db: Pg8000Database) -> None:
    use(Searched)
    awkward = "\\N\t\n'é"
    rows = [{"body": awkward, "search": "the cat", "dense": [1, 2]}, {"body": "", "search": None, "dense": None}]
    assert db.copy_rows(Searched, rows) == 2
    found = Searched.select(Searched.body, Searched.search, Searched.dense).order_by(Searched.id).tuples()
    assert list(found) == [(awkward, "'cat' 'the'", Vector([1, 2])), ("", None, None)]


# Rows and fields


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("make", [list, tuple, iter, lambda rows: (row for row in rows)])
@pytest.mark.parametrize(
    ("rows", "fields"),
    [
        ([{"title": "a", "number": 1}, {"number": 2, "title": "b"}], None),
        ([{Item.title: "a", Item.number: 1}, {"title": "b", "number": 2}], None),
        ([{"item title": "a", "number": 1}, {Item.title: "b", "number": 2}], None),
        ([{"title": "a", "number": 1, "other": 5}, {"title": "b", "number": 2}], ["title", Item.number]),
        ([("a", 1), ["b", 2]], ["title", Item.number]),
        ([(1, "a"), (2, "b")], [Item.number, "item title"]),
        (np.array([["a", 1], ["b", 2]], object), ("title", "number")),
        ([Item(title="a", number=1), Item(title="b", number=2)], None),
        ([Item(title="a", number=1, unique=5), Item(title="b", number=2, unique=5)], ["title"]),
    ],
)
def test_kinds_of_rows(rows: Any, fields: Any, make: Callable[[Any], Iterable[Any]], db: Pg8000Database) -> None:
    assert db.copy_rows(Item, make(rows), fields) == 2
    assert items(Item.id, Item.title, Item.number, Item.unique) == [(1, "a", 1, None), (2, "b", 2, None)]
    assert all(isinstance(token, uuid.UUID) for (token,) in items(Item.token))
    assert len(set(items(Item.token))) == 2


@pytest.mark.usefixtures("item")
def test_tuples_without_fields(db: Pg8000Database) -> None:
    token = uuid.uuid4()
    assert db.copy_rows(Item, [("a", None, 1, token, None)]) == 1
    assert db.copy_rows(Item, [(5, "b", None, 2, None, 3)]) == 1
    assert items() == [(1, "a", None, 1, token, None), (5, "b", None, 2, None, 3)]


@pytest.mark.usefixtures("item")
def test_what_dicts_leave_out(db: Pg8000Database) -> None:
    rows = [{"title": "a", "number": 1, "unique": 9}, {"title": "b", "number": 2}, {"title": "c"}]
    assert db.copy_rows(Item, rows) == 3
    assert db.copy_rows(Item, [{"title": "d"}, {"title": "e", "number": 3}], ["title", "note"]) == 2
    found = items(Item.title, Item.note, Item.number, Item.unique)
    assert found[:3] == [("a", None, 1, 9), ("b", None, 2, None), ("c", None, 7, None)]
    assert found[3:] == [("d", None, 7, None), ("e", None, 3, None)]


@pytest.mark.usefixtures("item")
def test_a_default_is_called_for_each_row(db: Pg8000Database, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(10))
    monkeypatch.setattr(Item.unique, "default", lambda: next(numbers))
    monkeypatch.setitem(Item._meta.defaults, Item.unique, Item.unique.default)
    db.copy_rows(Item, [{"title": "a"}, {"title": "b", "unique": 5}, {"title": "c"}])
    assert items(Item.unique) == [(0,), (5,), (1,)]


@pytest.mark.usefixtures("item")
def test_one_dict_that_is_written_again_and_again(db: Pg8000Database) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {}
        for number in range(3):
            row.clear()
            row.update(title=str(number), **({"number": number} if number != 1 else {}))
            yield row

    assert db.copy_rows(Item, rows()) == 3
    assert items(Item.title, Item.number) == [("0", 0), ("1", 7), ("2", 2)]


@pytest.mark.usefixtures("item")
def test_instances_with_a_key(db: Pg8000Database) -> None:
    db.copy_rows(Item, [Item(id=3, title="c"), Item(id=2, title="a")])
    assert items(Item.id, Item.title) == [(2, "a"), (3, "c")]
    assert db.copy_rows(Item, [Item(id=None, title="d")]) == 1


def test_foreign_keys(use: Use, db: Pg8000Database, sent: list[bytes]) -> None:
    use(Author, Doc)
    ann = Author.create(name="Ann")
    for key in ("author", "author_id", Doc.author):
        db.copy_rows(Doc, [{key: ann, "title": "a", "embedding": [1, 2, 3]}])
        db.copy_rows(Doc, [{key: ann.id, "title": "b", "embedding": [1, 2, 3]}])
    db.copy_rows(Doc, [(ann, "c", np.ones(3))], ["author_id", "title", "embedding"])
    db.copy_rows(Doc, [Doc(author=ann, title="d", embedding=[1, 2, 3])])
    stored = Doc.create(author=ann.id, title="e", embedding=[1, 2, 3])
    again = Doc.get_by_id(stored.id)
    again.id = None
    sent.clear()
    db.copy_rows(Doc, [again])
    assert not any(b"peewee_author" in data for data in sent)
    assert Doc.select().where(Doc.author == ann).count() == 10


def test_an_instance_whose_other_was_saved_later(use: Use, db: Pg8000Database) -> None:
    use(Author, Doc)
    author = Author(name="Ann")
    doc = Doc(author=author, title="a", embedding=[1, 2, 3])
    author.save()
    db.copy_rows(Doc, [doc])
    assert Doc.get().author == author


def test_a_model_is_a_source(use: Use, db: Pg8000Database) -> None:
    """Rows that are read on the same connection: those of a query are there, or are fetched before the load begins."""
    use(Author, Doc, Item)
    db.copy_rows(Author, ({"name": f"n{number}"} for number in range(5_000)))
    query: Any = Author.select().order_by(Author.id)
    for rows in (query.tuples().iterator(), query.tuples()):
        assert db.copy_rows(Item, rows, ["number", "title"]) == 5_000
    assert items(Item.number)[4_999] == (5_000,)


def test_names_that_must_be_quoted(db: Pg8000Database) -> None:
    db.execute_sql('CREATE SCHEMA "peewee else"')
    try:
        with db.bind_ctx([Elsewhere]):
            db.create_tables([Elsewhere])
            for on_conflict in (None, "ignore", "update"):
                db.copy_rows(Elsewhere, [{"key": 5}] if on_conflict else [(5,)], on_conflict=on_conflict)
            assert list(Elsewhere.select().tuples()) == [(5,)]
    finally:
        db.execute_sql('DROP SCHEMA "peewee else" CASCADE')


def test_nothing(use: Use, db: Pg8000Database) -> None:
    use(Item)
    seen: list[int] = []
    assert db.copy_rows(Item, [], progress=seen.append) == 0
    assert db.copy_rows(Item, iter(()), ["title"], on_conflict="update") == 0
    assert seen == [0]


@pytest.mark.usefixtures("item")
def test_progress_and_memory(db: Pg8000Database) -> None:
    seen: list[int] = []
    alive = 0

    class Row(dict[str, Any]):
        def __init__(self, number: int) -> None:
            nonlocal alive
            alive += 1
            assert alive < 5
            super().__init__(title="x" * 1_000, number=number)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    assert db.copy_rows(Item, map(Row, range(1_000)), progress=seen.append) == 1_000
    assert seen == sorted(seen)
    assert len(seen) > 4
    assert seen[-1] == 1_000


# Rows that are there already


@pytest.mark.usefixtures("item")
def test_on_conflict(db: Pg8000Database) -> None:
    db.copy_rows(Item, [{"id": 1, "title": "a", "note": "n", "number": 1}])
    rows = [{"id": 1, "title": "A"}, {"id": 2, "title": "b"}]
    assert db.copy_rows(Item, rows, on_conflict="ignore") == 1
    assert items(Item.title, Item.note, Item.number) == [("a", "n", 1), ("b", None, 7)]
    rows = [{"id": 1, "title": "x"}, {"id": 1, "title": "A"}, {"id": 3, "title": "c"}]
    assert db.copy_rows(Item, rows, on_conflict="update") == 2
    # What the rows do not name stays as it is, also where new rows have a default.
    assert items(Item.title, Item.note, Item.number) == [("A", "n", 1), ("b", None, 7), ("c", None, 7)]


@pytest.mark.usefixtures("item")
def test_on_conflict_with_tuples_and_instances(db: Pg8000Database) -> None:
    db.copy_rows(Item, [(1, "a", "n", 1, None, None)])
    db.copy_rows(Item, [(1, "b")], ["id", "title"], on_conflict="update")
    assert items(Item.title, Item.number, Item.token) == [("b", 1, None)]
    instance = Item.get()
    instance.number = 2
    db.copy_rows(Item, [instance], ["id", "number", "title"], on_conflict="update")
    assert items(Item.title, Item.note, Item.number) == [("b", "n", 2)]
    db.copy_rows(Item, [Item(id=1, title="c")], on_conflict="update")
    assert items(Item.title, Item.note, Item.number) == [("c", None, 7)]


@pytest.mark.usefixtures("item")
def test_a_unique_field_decides_where_the_key_is_not_loaded(db: Pg8000Database) -> None:
    db.copy_rows(Item, [{"unique": 5, "title": "a"}])
    assert db.copy_rows(Item, [{"unique": 5, "title": "b"}, {"unique": 6, "title": "c"}], on_conflict="update") == 2
    assert items(Item.unique, Item.title) == [(5, "b"), (6, "c")]


def test_a_key_of_two_fields(use: Use, db: Pg8000Database) -> None:
    use(Author, Pair)
    ann = Author.create(name="Ann")
    assert db.copy_rows(Pair, [(ann, 1, "a"), (ann, 2, "b")]) == 2
    assert db.copy_rows(Pair, [Pair(author=ann, place=2, text="B")], on_conflict="update") == 1
    assert db.copy_rows(Pair, [{"author": ann, "place": 1, "text": "x"}], on_conflict="ignore") == 0
    assert list(Pair.select(Pair.place, Pair.text).order_by(Pair.place).tuples()) == [(1, "a"), (2, "B")]


def test_a_model_without_a_key(use: Use, db: Pg8000Database) -> None:
    use(Keyless)
    assert db.copy_rows(Keyless, [(1,), (2,)]) == 2
    assert db.copy_rows(Keyless, [Keyless(number=3)]) == 1
    with pytest.raises(
        peewee.ProgrammingError, match=r'Keyless: on_conflict="update" needs the primary key.* has none'
    ):
        db.copy_rows(Keyless, [(1,)], on_conflict="update")
    assert Keyless.select().count() == 3


# What is refused


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda db: db.copy_rows(Item, [], ["titel"]), "Item has no field 'titel'.*: it has id, title, note, number"),
        (lambda db: db.copy_rows(Item, [], [Author.name]), "Item has no field <TextField: Author.name>"),
        (lambda db: db.copy_rows(Item, [], [5]), "Item has no field 5"),
        (lambda db: db.copy_rows(Item, [], ["title", "item title"]), "each field of Item once, got 'title' twice"),
        (lambda db: db.copy_rows(Item, [], "title"), "the fields of Item to load as a list, got 'title'"),
        (lambda db: db.copy_rows(Item, [], Item.title), "as a list, got <TextField"),
        (lambda db: db.copy_rows(Item, [], []), "the fields of Item to load, got none"),
        (lambda db: db.copy_rows(Item, [], on_conflict="replace"), '"ignore" or "update", got \'replace\''),
        (lambda db: db.copy_rows(Item(), []), "a model class to load rows into, got <Item"),
        (lambda db: db.copy_rows("item", []), "a model class to load rows into, got 'item'"),
        (lambda db: db.copy_rows(Item, None), "an iterable of rows to load into Item, got None"),
        (lambda db: db.copy_rows(Item, 5), "an iterable of rows to load into Item, got 5"),
    ],
)
def test_options_that_cannot_be(call: Callable[[Any], Any], message: str, db: Pg8000Database) -> None:
    with pytest.raises(InvalidOption, match=message):
        call(db)


TWO = ["title", "number"]


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        ([("a", 1), ("b", 2), ("c",)], TWO, r"Item: row 3: expected 2 values \(title, number\), got 1"),
        ([("a", 1), ("b", 2, 3)], TWO, "Item: row 2: expected 2 values .*, got 3"),
        ([("a", 1), {"title": "b"}], TWO, "row 2: expected 2 values .*, got {'title': 'b'}"),
        ([("a", 1), "bc"], TWO, "row 2: expected 2 values .*, got 'bc'"),
        ([("a", 1), None], TWO, "row 2: expected 2 values .*, got None"),
        ([("a", 1), 5], TWO, "row 2: expected 2 values .*, got 5"),
        ([("a", 1), Item(title="b")], TWO, "row 2: expected 2 values .*, got <Item"),
        ([("a",)], None, r"row 1: expected 5 values \(title, note, number, token, unique\), got 1"),
        ([tuple(range(9))], None, r"row 1: expected 6 values \(id, title, .*\), got 9"),
        (["ab"], TWO, "row 1: expected a dict, a list, a tuple or a Item, got 'ab'"),
        ("ab", None, "row 1: expected a dict.*, got 'a'"),
        ({"title": "a"}, None, "row 1: expected a dict.*, got 'title'"),
        ([b"ab"], TWO, "row 1: expected a dict.*, got 2 bytes"),
        ([{"a", 1}], TWO, "row 1: expected a dict"),
        ([5], None, "row 1: expected a dict.*, got 5"),
        ([{"title": "a"}, ("b",)], None, "row 2: expected a dict, as row 1 is, got .*tuple"),
        ([{"titel": "a"}], None, "Item: row 1: no field 'titel'.*: there are id, title, note"),
        ([{"title": "a"}, {"titel": "b"}], None, "row 2: no field 'titel'"),
        ([{Author.name: "a"}], None, "row 1: no field <TextField: Author.name>"),
        ([{"title": "a"}, {"title": "b", "note": "c"}], None, "row 2: 'note' is not among the keys of row 1: name"),
        ([{"title": "a", "item title": "b"}], None, "row 1: expected 'title' once, got it twice"),
        ([{"title": "a"}, {"title": "b", Item.title: "b"}], None, "row 2: expected 'title' once, got it twice"),
        ([{"number": 1}], ["title"], "row 1: expected a value for 'title', which has no default and is not null"),
        ([{"title": "a", "note": 1}, {"note": 2}], None, "row 2: expected a value for 'title', which has no default"),
        ([Item(title="a"), {"title": "b"}], None, "row 2: expected an instance of Item, got"),
        ([Author(name="a")], None, "row 1: expected an instance of Item, got"),
        ([Item(id=1, title="a"), Item(title="b")], None, "row 2: expected an instance with id, as row 1 is: load"),
        ([Item(title="a"), Item(id=1, title="b")], None, "row 2: expected an instance without id, as row 1 is: load"),
        ([("a", 1), ("b", "x")], TWO, r"Item: row 2, column 'number' \(integer\): expected an int .*, got 'x'"),
        ([("a", 2**31)], TWO, r"row 1, column 'number'"),
        ([("a\0", 1)], TWO, "row 1, column 'item title' .*NUL"),
        ([(fn.now(), 1)], TWO, "row 1, field 'title': .* TextField, got .*COPY takes values only.*insert_many"),
        ([{"title": Item.note}], None, "row 1, field 'title': .*COPY takes values only"),
        ([("a", Author(id=1))], TWO, "row 1, field 'number': .* IntegerField, got <Author"),
    ],
)
def test_rows_that_cannot_be_sent(rows: Any, fields: Any, message: str, db: Pg8000Database) -> None:
    with pytest.raises(peewee.DataError, match=message) as caught:
        db.copy_rows(Item, rows, fields)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.orig, wire.DataError)  # type: ignore[attr-defined]
    assert not db.connection().in_transaction
    assert Item.select().count() == 0


def test_an_empty_dict(use: Use, db: Pg8000Database) -> None:
    use(Author, Item)
    with pytest.raises(peewee.DataError, match="Author: row 1: expected a dict with values of some fields"):
        db.copy_rows(Author, [{}])
    # With defaults only, the server says what is missing.
    with pytest.raises(peewee.IntegrityError, match=r'null value in column "item title".*; it was row 2 of the load'):
        db.copy_rows(Item, [{"title": "a"}, {"title": None}])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"dense": [1, 2]}, "Four: row 2, field 'dense': Four.dense expected 3 dimensions, not 2"),
        ({"dense": np.ones(4)}, "Four: row 2, field 'dense': Four.dense expected 3 dimensions, not 4"),
        ({"dense": [1, 2, math.nan]}, "Four: row 2, column 'dense': .*finite number at index 2"),
        ({"dense": [1, 2, "x"]}, "Four: row 2, column 'dense': .*'x'"),
        ({"dense": "[1,2,3]"}, "Four: row 2, field 'dense': .*from_text"),
        ({"dense": np.ones((3, 3))}, "Four: row 2, column 'dense': "),
        ({"dense": np.array(5)}, "Four: row 2, field 'dense': "),
        ({"half": [1, 2, 70_000]}, "Four: row 2, column 'half': "),
        ({"sparse": {1: 2}}, "Four: row 2, field 'sparse': "),
        ({"bits": "1012"}, "Four: row 2, field 'bits': "),
    ],
)
def test_vectors_that_cannot_be_sent(row: dict[str, Any], message: str, use: Use, db: Pg8000Database) -> None:
    use(Four)
    with pytest.raises(InvalidVector, match=message):
        db.copy_rows(Four, [dict.fromkeys(row), row])
    assert Four.select().count() == 0


def test_a_field_that_refuses(use: Use, db: Pg8000Database) -> None:
    use(Author, Every)
    with pytest.raises(peewee.DataError, match=r"Every: row 1, field 'colour': .* ColourField.* \(it is no colour\)"):
        db.copy_rows(Every, [{"colour": "red"}])
    with pytest.raises(peewee.DataError, match=r"Every: row 1, field 'numeric': .* DecimalField, got 'x'"):
        db.copy_rows(Every, [{"numeric": "x"}])


# What the server says


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("fields", [None, ["id", "title"]])
def test_a_constraint(fields: Any, db: Pg8000Database) -> None:
    rows = [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}, {"id": 1, "title": "c"}]
    with pytest.raises(peewee.IntegrityError, match=r"duplicate key.*it was row 3 of the load") as caught:
        db.copy_rows(Item, rows, fields)
    assert isinstance(caught.value.orig, wire.IntegrityError)  # type: ignore[attr-defined]
    assert Item.select().count() == 0


def test_a_foreign_key_that_is_not_there(use: Use, db: Pg8000Database) -> None:
    use(Author, Doc)
    with pytest.raises(peewee.IntegrityError, match="foreign key"):
        db.copy_rows(Doc, [(5, "a", 1, [1, 2, 3])])


def test_a_table_that_is_not_there(db: Pg8000Database) -> None:
    class Nowhere(Model):
        title = TextField()

        class Meta:
            table_name = "peewee_nowhere"

    for on_conflict in (None, "ignore", "update"):
        with pytest.raises(peewee.ProgrammingError, match='Nowhere: there is no table "peewee_nowhere"'):
            db.copy_rows(Nowhere, [{"title": "a"}], on_conflict=on_conflict)


@pytest.mark.usefixtures("item")
def test_a_column_that_is_not_there(db: Pg8000Database) -> None:
    db.execute_sql('ALTER TABLE "peewee ""item" DROP COLUMN note')
    with pytest.raises(peewee.ProgrammingError, match=r"Item: the table .* has no column 'note': it has 'id'"):
        db.copy_rows(Item, [{"title": "a", "note": "b"}])


# What the caller's own code raises


class IntegrityError(Exception):
    """Of the name of Peewee's, and the caller's own."""


OWN = [IntegrityError("theirs"), wire.DataError("theirs"), peewee.DataError("theirs"), KeyError("x"), TypeError("y")]


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("on_conflict", [None, "ignore", "update"])
@pytest.mark.parametrize("after", [0, 1, 3_000])
@pytest.mark.parametrize("error", OWN, ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)))
def test_a_source_that_breaks(error: Exception, after: int, on_conflict: str | None, db: Pg8000Database) -> None:
    said = str(error)

    def rows() -> Iterator[Any]:
        for number in range(after):
            yield number + 1, "x" * 100
        raise error

    with pytest.raises(type(error)) as caught:
        db.copy_rows(Item, rows(), ["id", "title"], on_conflict=on_conflict)
    assert caught.value is error
    assert str(error) == said
    assert Item.select().count() == 0
    assert not db.connection().in_transaction


@pytest.mark.usefixtures("item")
def test_progress_that_raises(db: Pg8000Database) -> None:
    error = IntegrityError("theirs")

    def progress(rows: int) -> None:
        raise error

    with pytest.raises(IntegrityError) as caught:
        db.copy_rows(Item, ({"title": "x" * 100} for _ in range(5_000)), progress=progress)
    assert caught.value is error
    assert Item.select().count() == 0


@pytest.mark.usefixtures("item")
def test_a_statement_on_the_connection_while_it_loads(db: Pg8000Database) -> None:
    def rows() -> Iterator[Any]:
        yield ("a",)
        yield (Item.select().count(),)

    with pytest.raises(peewee.InterfaceError, match="on this connection"):
        db.copy_rows(Item, rows(), ["title"])
    assert Item.select().count() == 0


# Transactions and connections


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("on_conflict", [None, "ignore", "update"])
def test_in_a_transaction(on_conflict: str | None, db: Pg8000Database, conn: Connection) -> None:
    with db.atomic() as transaction:
        db.copy_rows(Item, [{"id": 1, "title": "a"}], on_conflict=on_conflict)
        assert conn.run('SELECT count(*) FROM "peewee ""item"') == [[0]]
        transaction.rollback()
    assert Item.select().count() == 0
    with db.atomic():
        db.copy_rows(Item, [{"id": 1, "title": "a"}], on_conflict=on_conflict)
    db.copy_rows(Item, [{"id": 2, "title": "b"}], on_conflict=on_conflict)
    assert conn.run('SELECT count(*) FROM "peewee ""item"') == [[2]]


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("row", [{"id": 1, "title": "b"}, {"id": "x", "title": "b"}, {"id": 1, "title": None}, {}])
@pytest.mark.parametrize("on_conflict", [None, "ignore", "update"])
def test_a_savepoint_is_good_after_an_error(row: Any, on_conflict: str | None, db: Pg8000Database) -> None:
    with db.atomic():
        db.copy_rows(Item, [{"id": 1, "title": "a"}])
        with suppress(peewee.DatabaseError), db.atomic():
            db.copy_rows(Item, [{"id": 2, "title": "x"}, row], on_conflict=on_conflict)
            raise peewee.DatabaseError("of those that take the row")
        assert items(Item.title) == [("a",)]
        db.copy_rows(Item, [{"id": 3, "title": "c"}])
    assert items(Item.title) == [("a",), ("c",)]


@pytest.fixture
def kill(conn: Connection) -> Callable[[Pg8000Database], None]:
    """Ends a database's connection from another one, and waits until it has ended."""

    def end(database: Pg8000Database) -> None:
        row: Any = database.execute_sql("SELECT pg_backend_pid()").fetchone()
        assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=row[0]) == [[True]]

    return end


@pytest.mark.usefixtures("item")
def test_a_connection_that_died_is_replaced(db: Pg8000Database, kill: Callable[[Pg8000Database], None]) -> None:
    kill(db)
    assert db.copy_rows(Item, ({"title": title} for title in "abc")) == 3
    assert items(Item.title) == [("a",), ("b",), ("c",)]


@pytest.mark.usefixtures("item")
def test_but_not_in_a_transaction(db: Pg8000Database, kill: Callable[[Pg8000Database], None]) -> None:
    def load() -> None:
        with db.atomic():
            Item.create(title="lost")
            kill(db)
            db.copy_rows(Item, [{"title": "never"}])

    with pytest.raises(peewee.OperationalError):
        load()
    assert Item.select().count() == 0


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("on_conflict", [None, "update"])
def test_and_not_while_it_loads(on_conflict: str | None, db: Pg8000Database, conn: Connection) -> None:
    asked = 0
    row: Any = db.execute_sql("SELECT pg_backend_pid()").fetchone()

    def rows() -> Iterator[Any]:
        nonlocal asked
        for asked in range(1, 5_001):
            if asked == 2_000:
                assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=row[0]) == [[True]]
            yield asked, "x" * 1_000

    with pytest.raises(peewee.OperationalError):
        db.copy_rows(Item, rows(), ["id", "title"], on_conflict=on_conflict)
    assert 2_000 <= asked <= 5_000
    assert Item.select().count() == 0
    assert db.copy_rows(Item, [{"title": "a"}]) == 1


def test_autoconnect(url: str, db: Pg8000Database, use: Use) -> None:
    use(Item)
    db.close()
    assert db.copy_rows(Item, [{"title": "a"}]) == 1
    strict = Pg8000Database(url, autoconnect=False)
    with pytest.raises(peewee.InterfaceError, match="not opened"):
        strict.copy_rows(Item, [{"title": "b"}])
    with strict.connection_context():
        assert strict.copy_rows(Item, [{"title": "b"}]) == 1
    assert items(Item.title) == [("a",), ("b",)]


def test_a_pool(url: str, use: Use) -> None:
    use(Item)
    pool = PooledPg8000Database(url, max_connections=1)
    for title in "ab":
        with pool.connection_context():
            assert pool.copy_rows(Item, [{"title": title}]) == 1
        with pool.connection_context(), pytest.raises(peewee.DataError):
            pool.copy_rows(Item, [(title, "x")], ["title", "number"])
    assert items(Item.title) == [("a",), ("b",)]
    pool.close_all()


def test_a_database_that_is_not_the_models_own(empty_url: str, db: Pg8000Database, use: Use) -> None:
    use(Item)
    other = Pg8000Database(empty_url)
    with other.bind_ctx([Item]):
        other.create_tables([Item])
    with other.connection_context():
        assert other.copy_rows(Item, [{"title": "a"}]) == 1
    assert Item.select().count() == 0
    with connect(empty_url) as conn:
        assert conn.run('SELECT count(*) FROM "peewee ""item"') == [[1]]


@pytest.mark.usefixtures("item")
def test_two_round_trips(db: Pg8000Database, sent: list[bytes]) -> None:
    db.connect(reuse_if_open=True)
    sent.clear()
    db.copy_rows(Item, [{"title": "a"}])
    assert [data[:1] for data in sent] == [b"P", b"Q", b"c"]  # the question, the COPY, the end of its rows
