"""``where``: filters from a request body find what they say, and are refused in one sentence."""

from __future__ import annotations

import datetime as dt
import json
import operator
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import peewee
import pytest
from peewee import (
    SQL,
    BigIntegerField,
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
    TimeField,
    TimestampField,
    UUIDField,
)
from playhouse import postgres_ext

from lightvec.errors import InvalidOption
from lightvec.peewee import VectorField, where
from tests.cases import for_each
from tests.peewee.conftest import Use


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class ColorField(CharField):
    """A field with a conversion of its own, which fails with a KeyError."""

    def db_value(self, value: Any) -> Any:
        return Color[value].value if isinstance(value, str) else value.value

    def python_value(self, value: Any) -> Any:
        return value and Color(value)


class Maker(Model):
    id: Any
    name = TextField()

    class Meta:
        table_name = "filter_maker"


class Product(Model):
    id: Any
    name = TextField(null=True)
    code = UUIDField(null=True)
    price = FloatField(null=True, column_name="unit_price")
    exact = DecimalField(12, 2, null=True)
    stock = IntegerField(null=True)
    sold = BigIntegerField(null=True)
    fresh = BooleanField(null=True)
    day = DateField(null=True)
    at = DateTimeField(null=True)
    hour = TimeField(null=True)
    stamp = TimestampField(null=True, default=None)
    color = ColorField(null=True)
    maker = ForeignKeyField(Maker, null=True)
    meta = postgres_ext.BinaryJSONField(null=True)
    plain = postgres_ext.JSONField(null=True)
    core = peewee.JSONField(null=True)
    search = postgres_ext.TSVectorField(null=True)
    embedding = VectorField(3, metric="l2", null=True)

    class Meta:
        table_name = "filter_product"


COLUMNS = [
    *(Product.id, Product.name, Product.code, Product.price, Product.exact, Product.stock),
    *(Product.sold, Product.fresh, Product.day, Product.at, Product.hour, Product.stamp),
    *(Product.color, Product.maker),
]
#: Each kind of a JSON field, and how a path into it is written.
DOCUMENTS = {
    "jsonb": ("meta", lambda *keys: Product.meta.path(*keys)),
    "jsonb by key": ("meta", lambda *keys: Product.meta[keys[0]]),
    "json": ("plain", lambda *keys: Product.plain[keys[0]]),
    "Peewee's": ("core", lambda *keys: Product.core.path(*keys)),
}
by_document = pytest.mark.parametrize("kind", DOCUMENTS)


def found(filters: Any, fields: Any = COLUMNS, **options: Any) -> list[int]:
    condition = where(Product, filters, fields=fields, **options)
    return [row.id for row in Product.select(Product.id).where(condition).order_by(Product.id)]


def refused(filters: Any, fields: Any = COLUMNS, **options: Any) -> str:
    with pytest.raises(InvalidOption) as caught:
        where(Product, filters, fields=fields, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


# Columns


@pytest.fixture
def rows(use: Use) -> list[dict[str, Any]]:
    use(Maker, Product)
    for name in ("Ann", "Bob"):
        Maker.create(name=name)
    rows: list[dict[str, Any]] = [
        {
            "name": "tea",
            "code": UUID(int=7),
            "price": 2.5,
            "exact": Decimal("10.50"),
            "stock": 3,
            "sold": 2**40,
            "fresh": True,
            "day": dt.date(2024, 5, 6),
            "at": dt.datetime(2024, 5, 6, 7, 8, 9),
            "hour": dt.time(7, 8),
            "maker": 1,
        },
        {
            "name": "100% o'lé",
            "code": UUID(int=8),
            "price": 10.0,
            "exact": Decimal("10.51"),
            "stock": 0,
            "sold": -1,
            "fresh": False,
            "day": dt.date(2023, 1, 1),
            "at": dt.datetime(2023, 1, 1),
            "hour": dt.time(23, 59, 59),
            "maker": 2,
        },
    ]
    for row in (*rows, {}):
        Product.create(**row)
    return rows


#: As JSON has it.
SENT: dict[str, tuple[Any, Any]] = {
    "name": ("tea", "100% o'lé"),
    "code": (str(UUID(int=7)), UUID(int=8).hex),
    "price": (2.5, 10),
    "unit_price": (2.5, 10),
    "exact": (10.5, Decimal("10.51")),
    "stock": (3, 0.0),
    "sold": (2**40, -1),
    "fresh": (True, False),
    "day": ("2024-05-06", "2023-01-01"),
    "at": ("2024-05-06T07:08:09", "2023-01-01 00:00:00"),
    "hour": ("07:08", "23:59:59"),
    "maker": (1, 2),
    "maker_id": (1, 2),
}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "gt")},
    "lte": operator.le,
    "gte": operator.ge,
}


@pytest.mark.usefixtures("rows")
@for_each("key", SENT)
def test_a_column(rows: list[dict[str, Any]], key: str) -> None:
    name = {"unit_price": "price", "maker_id": "maker"}.get(key, key)
    first, second = SENT[key]
    stored = {number: row[name] for number, row in enumerate(rows, 1)}
    for compared, oracle in OPERATORS.items():
        for sent, value in ((first, stored[1]), (second, stored[2])):
            expected = [n for n, each in stored.items() if oracle(each, value)]
            assert found({key: {compared: sent}}) == expected, compared
            assert found({key: {f"${compared}": sent}}) == expected, compared
    assert found({key: first}) == [1]
    assert found({key: {"in": [first, second]}}) == [1, 2]
    assert found({key: {"nin": [first]}}) == [2]
    assert found({key: {"between": sorted([first, second])}}) == [1, 2]
    assert found({key: {"between": [first, first]}}) == [1]
    assert found({key: {"in": []}}) == []


@pytest.mark.usefixtures("rows")
def test_what_is_missing() -> None:
    assert found({"price": None}) == found({"price": {"exists": False}}) == [3]
    assert found({"price": {"ne": None}}) == found({"price": {"exists": True}}) == [1, 2]
    # As in SQL: nothing is known of a missing value, nor of the contrary.
    assert found({"price": {"ne": 2.5}}) == found({"not": {"price": 2.5}}) == [2]
    assert found({"or": [{"price": {"ne": 2.5}}, {"price": None}]}) == [2, 3]
    assert found({"price": {"nin": [2.5]}}) == [2]


@pytest.mark.usefixtures("rows")
@for_each(
    "case",
    [
        ({}, [1, 2, 3]),
        ({"price": {"gt": 1, "lt": 5}}, [1]),
        ({"price": {"gt": 1, "$gt": 5}}, [2]),
        ({"price": {"lte": 10}, "name": "tea"}, [1]),
        ({"or": [{"name": "tea"}, {"stock": 0}]}, [1, 2]),
        ({"or": [{"name": "tea", "stock": 0}, {"id": 3}]}, [3]),
        ({"or": [{"id": 1}, {"id": 2}], "stock": 0}, [2]),
        ({"and": [{"id": {"gt": 1}}, {"id": {"lt": 3}}]}, [2]),
        ({"not": {"or": [{"id": 1}, {"id": 2}]}}, [3]),
        ({"not": [{"id": 1}, {"id": 2}]}, [3]),
        ({"not": {"not": {"id": 1}}}, [1]),
        ({"$and": [{"$or": [{"id": 1}, {"id": 3}]}, {"$not": {"id": 3}}]}, [1]),
        ({"or": [{"id": number} for number in range(1, 65)]}, [1, 2, 3]),
        ({"name": {"like": "t_a"}}, [1]),
        ({"name": {"like": "T%"}}, []),
        ({"name": {"ilike": "T%"}}, [1]),
        ({"name": {"like": "100\\% %"}}, [2]),
        ({"name": {"like": "%'l_"}}, [2]),
        ({"name": {"like": "\\\\"}}, []),
        ({"name": "%s"}, []),
        ({"name": "'; DROP TABLE filter_product; --"}, []),
    ],
)
def test_conditions_together(case: tuple[Any, list[int]]) -> None:
    filters, expected = case
    assert found(filters) == expected
    assert found(json.loads(json.dumps(filters))) == expected


@pytest.mark.usefixtures("rows")
def test_values_at_the_limits_reach_the_server() -> None:
    for key in ("price", "exact", "stock", "sold", "id", "maker", "stamp"):
        for number in (2**31, -(2**63) - 1, 10**300, -(10**300), 0, 1e15):
            assert found({key: {"gte": number, "lte": number}}) in ([], [2] if not number else [])
    for tiny in (5e-324, Decimal("1e-300")):
        assert found({"price": {"lt": tiny, "gt": 0}}) == []
    # asked of the server, which must not refuse it
    assert found({"name": "\U0001f600" * 1_000}) == []


@pytest.mark.usefixtures("rows")
def test_a_conversion_of_the_fields_own() -> None:
    Product.update(color=Color.RED).where(Product.id == 1).execute()
    assert found({"color": "RED"}) == [1]
    message = refused({"color": "green"})
    assert message == "filter.color: expected a text that the field can store, got 'green' (str)"


def test_an_alias_and_a_search(use: Use, sent: list[bytes]) -> None:
    use(Maker, Product)
    for number in range(1, 6):
        Product.create(stock=number, embedding=[number, 0, 0], core={"lang": "en" if number % 2 else "de"})
    other = Product.alias()
    condition = where(other, {"stock": 2, "core.lang": "de"}, fields=[other.stock, other.core["lang"]])
    assert [row.id for row in other.select(other.id).where(condition)] == [2]
    asked = where(Product, {"core.lang": "en"}, fields=[Product.core["lang"]])
    sent.clear()
    assert [row.id for row in Product.embedding.nearest([0, 0, 0], k=2).where(asked)] == [1, 3]
    assert len(sent) == 1
    assert [row.id for row in Product.select().where(~asked, Product.stock > 2)] == [4]


# Documents


#: Of langchain-postgres: what its tests keep, ask and expect.
LANGCHAIN = [
    {
        "name": "adam",
        "id": 1,
        "is_active": True,
        "tags": ["a", "b"],
        "height": 10.0,
        "happiness": 0.9,
        "sadness": 0.1,
    },
    {
        "name": "bob",
        "id": 2,
        "is_active": False,
        "tags": ["b", "c"],
        "height": 5.7,
        "happiness": 0.8,
        "sadness": 0.1,
    },
    {
        "name": "jane",
        "id": 3,
        "is_active": True,
        "tags": ["b", "d"],
        "height": 2.4,
        "happiness": None,
    },
]
LANGCHAIN_FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"id": 1}, [1]),
    ({"name": "adam"}, [1]),
    ({"is_active": True}, [1, 3]),
    ({"is_active": False}, [2]),
    ({"id": 1, "is_active": True}, [1]),
    ({"id": 1, "is_active": False}, []),
    ({"id": {"$ne": 1}}, [2, 3]),
    ({"id": {"$gt": 1}}, [2, 3]),
    ({"id": {"$gte": 1}}, [1, 2, 3]),
    ({"id": {"$lt": 1}}, []),
    ({"id": {"$lte": 1}}, [1]),
    ({"name": {"$eq": "adam"}}, [1]),
    ({"name": {"$ne": "adam"}}, [2, 3]),
    ({"name": {"$gt": "jane"}}, []),
    ({"name": {"$gte": "jane"}}, [3]),
    ({"name": {"$lt": "jane"}}, [1, 2]),
    ({"name": {"$lte": "jane"}}, [1, 2, 3]),
    ({"is_active": {"$eq": True}}, [1, 3]),
    ({"is_active": {"$ne": True}}, [2]),
    ({"height": {"$gt": 5.0}}, [1, 2]),
    ({"height": {"$gte": 5.0}}, [1, 2]),
    ({"height": {"$lt": 5.0}}, [3]),
    ({"height": {"$lte": 5.8}}, [2, 3]),
    ({"$or": [{"id": 1}, {"id": 2}]}, [1, 2]),
    ({"$or": [{"id": 1}, {"name": "bob"}]}, [1, 2]),
    ({"$and": [{"id": 1}, {"id": 2}]}, []),
    ({"$or": [{"id": 1}, {"id": 2}, {"id": 3}]}, [1, 2, 3]),
    ({"$not": {"id": 1}}, [2, 3]),
    ({"$not": [{"id": 1}]}, [2, 3]),
    ({"$not": {"is_active": True}}, [2]),
    ({"$not": [{"height": {"$gt": 5.0}}]}, [3]),
    ({"id": {"$between": (1, 2)}}, [1, 2]),
    ({"id": {"$between": (1, 1)}}, [1]),
    ({"name": {"$in": ["adam", "bob"]}}, [1, 2]),
    ({"id": {"$in": [1, 2]}}, [1, 2]),
    ({"name": {"$nin": ["adam", "bob"]}}, [3]),
    ({"id": {"$nin": [1, 2]}}, [3]),
    ({"name": {"$like": "a%"}}, [1]),
    ({"name": {"$like": "%a%"}}, [1, 3]),
    ({"name": {"$ilike": "A%"}}, [1]),
    ({"happiness": {"$exists": False}}, []),
    ({"happiness": {"$exists": True}}, [1, 2, 3]),
    ({"sadness": {"$exists": False}}, [3]),
    ({"sadness": {"$exists": True}}, [1, 2]),
    # the form before $
    ({"name": {"in": ["adam", "bob"]}}, [1, 2]),
    ({"and": [{"or": [{"id": 1}, {"id": 2}]}, {"or": [{"name": {"like": "b%"}}]}]}, [2]),
]
#: Of vecs and of Pinecone: what their manuals ask.
FILMS = [
    {"year": 2020, "gross": 4000.0, "genre": "comedy", "last_name": "Adams", "is_priority_customer": True},
    {"year": 2019, "gross": 5000, "genre": "documentary", "last_name": "Brown", "priority": "pro"},
    {"year": 2021, "gross": 1.5, "genre": "drama", "last_name": "Able", "priority": "enterprise"},
]
FILM_FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"year": {"$eq": 2020}}, [1]),
    ({"$or": [{"year": {"$eq": 2020}}, {"gross": {"$gte": 5000.0}}]}, [1, 2]),
    ({"$and": [{"last_name": {"$lt": "Brown"}}, {"is_priority_customer": {"$eq": True}}]}, [1]),
    ({"priority": {"$in": ["enterprise", "pro"]}}, [2, 3]),
    ({"genre": {"$eq": "documentary"}}, [2]),
    ({"genre": {"$ne": "drama"}}, [1, 2]),
    ({"year": {"$gt": 2019}}, [1, 3]),
    ({"year": {"$gte": 2020}}, [1, 3]),
    ({"year": {"$lt": 2020}}, [2]),
    ({"year": {"$lte": 2020}}, [1, 2]),
    ({"genre": {"$in": ["comedy", "documentary"]}}, [1, 2]),
    ({"genre": {"$nin": ["comedy", "documentary"]}}, [3]),
    ({"genre": {"$exists": True}}, [1, 2, 3]),
    ({"$and": [{"genre": {"$eq": "drama"}}, {"year": {"$gte": 2020}}]}, [3]),
    ({"$or": [{"genre": {"$eq": "drama"}}, {"year": {"$gte": 2020}}]}, [1, 3]),
    ({"genre": {"$in": ["comedy", "documentary", "drama"]}, "year": {"$eq": 2019}}, [2]),
    ({"genre": "comedy", "year": {"$gte": 2000, "$lte": 2020}}, [1]),
]


def below(column: str, filters: Any) -> Any:
    """The filter with the column before the keys of the document."""
    if isinstance(filters, list | tuple):
        return [below(column, each) for each in filters]
    return {
        key if key.strip("$") in ("and", "or", "not") else f"{column}.{key}": (
            below(column, value) if key.strip("$") in ("and", "or", "not") else value
        )
        for key, value in filters.items()
    }


@by_document
@pytest.mark.parametrize(
    ("documents", "filters"), [(LANGCHAIN, LANGCHAIN_FILTERS), (FILMS, FILM_FILTERS)], ids=["langchain", "films"]
)
def test_filters_of_others(use: Use, kind: str, documents: Any, filters: Any) -> None:
    use(Maker, Product)
    column, path = DOCUMENTS[kind]
    for document in documents:
        Product.create(**{column: document})
    fields = [path(key) for key in {key for document in documents for key in document}]
    for asked, expected in filters:
        assert found(below(column, asked), fields) == expected, asked


VALUES = [1, 2.5, -1, 10**40, "abc", "10", "", "é\"'\\", True, False, None, [1], {"n": 1}]


@by_document
def test_kinds_do_not_mix(use: Use, kind: str) -> None:
    use(Maker, Product)
    column, path = DOCUMENTS[kind]
    for value in VALUES:
        Product.create(**{column: {"n": value}})
    Product.create(**{column: {}})
    Product.create()
    fields, key = [path("n")], f"{column}.n"

    def group(value: Any) -> Any:
        return "number" if type(value) in (int, float) else type(value)

    for sent in VALUES[:10]:
        same = [number for number, value in enumerate(VALUES, 1) if group(value) == group(sent)]
        for name, oracle in OPERATORS.items():
            if name in ("eq", "ne"):
                equal = [number for number in same if VALUES[number - 1] == sent]
                other = [number for number in range(1, len(VALUES) + 1) if number not in equal]
                assert found({key: {name: sent}}, fields) == (equal if name == "eq" else other)
            elif not isinstance(sent, bool) and not isinstance(sent, str):
                expected = [n for n in same if oracle(VALUES[n - 1], sent)]
                assert found({key: {name: sent}}, fields) == expected, (name, sent)
                # not: false for the other kinds, so true; missing stays missing
                others = [n for n in range(1, len(VALUES) + 1) if n not in expected]
                assert found({"not": {key: {name: sent}}}, fields) == others
            elif isinstance(sent, str):
                assert {*found({key: {name: sent}}, fields)} <= {*same}
    assert found({key: {"between": [0, "z"]}}, fields) == []
    assert found({key: {"in": [1, "abc", True]}}, fields) == [1, 5, 9]
    assert found({key: {"like": "%"}}, fields) == [5, 6, 7, 8]
    count = len(VALUES)
    assert found({key: None}, fields) == [11, count + 1, count + 2]
    assert found({key: {"exists": False}}, fields) == [count + 1, count + 2]
    assert found({key: {"ne": None}}, fields) == [n for n in range(1, count + 1) if n != 11]


@by_document
def test_a_key_with_quotes(use: Use, kind: str) -> None:
    use(Maker, Product)
    column, path = DOCUMENTS[kind]
    key = "it's" if kind == "jsonb" else 'it\'s "a" \\ key'
    Product.create(**{column: {key: "x"}})
    assert found({f"{column}.{key}": "x"}, [path(key)]) == [1]


def test_a_path_of_several_keys(use: Use) -> None:
    use(Maker, Product)
    Product.create(core={"a": [{"b": 1}]}, meta={"a": [{"b": 2}]}, plain={"a": [{"b": 3}]})
    Product.create()
    fields = [Product.core["a"][0]["b"], Product.meta["a"][0]["b"], Product.plain["a"][0]["b"]]
    assert found({"core.a.0.b": 1, "meta.a.0.b": 2, "plain.a.0.b": {"lte": 3}}, fields) == [1]
    assert found({"core.a.0.b": {"exists": False}}, [Product.core["a"][0]["b"].as_text()]) == [2]


# What is refused


PATHS = [Product.price, Product.name, Product.meta["lang"]]


@for_each(
    "case",
    [
        ({"or": [{"name": "a"}, {"price": {"lte": "x"}}]}, "filter.or[1].price.lte: expected a number, got 'x' (str)"),
        ({"price": True}, "filter.price: expected a number, got True (bool)"),
        ({"price": {"in": [1, None]}}, "filter.price.in[1]: expected a number, got None (NoneType)"),
        ({"price": {"lt": None}}, "filter.price.lt: expected a number, got None (NoneType)"),
        ({"price": float("nan")}, "filter.price: expected a number, got nan (float)"),
        ({"price": float("inf")}, "filter.price: expected a number, got inf (float)"),
        ({"price": 10**400}, "filter.price: expected a number, got 1000"),
        ({"price": 10**5_000}, "filter.price: expected a number, got "),
        ({"price": Decimal("1e400")}, "filter.price: expected a number, got Decimal('1E+400')"),
        ({"price": Decimal("1e-100000")}, "filter.price: expected a number, got Decimal("),
        ({"price": Decimal("sNaN")}, "filter.price: expected a number, got Decimal("),
        ({"price": []}, "filter.price: expected a number, got [] (list)"),
        ({"price": {}}, "filter.price: expected a value or an object of operators, got {} (dict)"),
        ({"price": {"regex": "x"}}, "filter.price: expected an operator (eq, ne, lt, "),
        ({"price": {"$$lt": 1}}, "filter.price: expected an operator (eq, ne, lt, "),
        ({"price": {"and": []}}, "got 'and' (str)"),
        ({"price": {1: 1}}, "got 1 (int)"),
        ({"price": {"between": [1]}}, "filter.price.between: expected a list of two values, got [1] (list)"),
        ({"price": {"between": 1}}, "filter.price.between: expected a list of two values, got 1 (int)"),
        ({"price": {"between": [1, "x"]}}, "filter.price.between[1]: expected a number, got 'x' (str)"),
        ({"price": {"in": 1}}, "filter.price.in: expected a list of at most 100 values, got 1 (int)"),
        ({"price": {"in": [1] * 101}}, "filter.price.in: expected a list of at most 100 values, got [1, 1,"),
        ({"price": {"exists": 1}}, "filter.price.exists: expected true or false, got 1 (int)"),
        ({"price": {"like": "x"}}, "filter.price.like: expected a field of texts for a pattern"),
        ({"name": {"like": 1}}, "filter.name.like: expected a pattern"),
        ({"name": {"like": "a\\"}}, "filter.name.like: expected a pattern"),
        ({"name": {"like": "a\0"}}, "filter.name.like: expected a text without NUL"),
        ({"name": 1}, "filter.name: expected a text, got 1 (int)"),
        ({"name": "a\0b"}, "filter.name: expected a text without NUL and surrogates, got 'a\\x00b' (str)"),
        ({"name": "\ud800"}, "filter.name: expected a text without NUL and surrogates"),
        ({"name": "x" * 1_001}, "filter.name: expected at most 1,000 characters, got 1,001"),
        ({"meta.lang": "\0"}, "filter.meta.lang: expected a text without NUL"),
        ({"meta.lang": float("nan")}, "filter.meta.lang: expected a number, a text, true or false, got nan"),
        ({"meta.lang": [1]}, "filter.meta.lang: expected a number, a text, true or false, got [1] (list)"),
        ({"meta.lang": {"lt": True}}, "filter.meta.lang.lt: expected a number or a text, got True (bool)"),
        ({"meta.lang": {"eq": {"a": 1}}}, "filter.meta.lang.eq: expected a number, a text, true or false"),
        ({"meta": {"lang": 1}}, "filter: expected one of price, unit_price, name, meta.lang, and, or, not, got 'meta'"),
        ({"stock": 1}, "got 'stock' (str)"),
        ({"password": 1}, "got 'password' (str)"),
        ({"or": [{"x" * 10_000: 1}]}, "filter.or[0]: expected one of price"),
        ({1: 1}, "got 1 (int)"),
        ({"$price": 1}, "got '$price' (str)"),
        ({"or": {}}, "filter.or: expected a list of conditions, got {} (dict)"),
        ({"or": []}, "filter.or: expected a list of conditions, got [] (list)"),
        ({"or": [1]}, "filter.or[0]: expected an object of conditions, got 1 (int)"),
        ({"or": [{}]}, "filter.or[0]: expected an object of conditions, got {} (dict)"),
        ({"not": {}}, "filter.not: expected an object of conditions, got {} (dict)"),
        ({"not": 1}, "filter.not: expected a list of conditions, got 1 (int)"),
        ([], "filter: expected an object of conditions, got [] (list)"),
        (None, "filter: expected an object of conditions, got None (NoneType)"),
        ("price < 1", "filter: expected an object of conditions, got 'price < 1' (str)"),
        ({"or": [{"price": 1}] * 65}, "filter.or[64].price: expected at most 64 comparisons"),
    ],
    lambda case: repr(case)[:200],
)
def test_a_filter_that_cannot_be(case: tuple[Any, str]) -> None:
    filters, message = case
    assert message in refused(filters, PATHS)


@for_each(
    "case",
    [
        ("stock", 1.5, "a whole number"),
        ("stock", "1", "a whole number"),
        ("stock", True, "a whole number"),
        ("exact", "1", "a number"),
        ("fresh", 1, "true or false"),
        ("fresh", "true", "true or false"),
        ("code", "x" * 32, "a UUID"),
        ("code", 7, "a UUID"),
        ("day", "yesterday", "a date such as 2024-05-06"),
        ("day", 7, "a date such as 2024-05-06"),
        ("at", "", "a time such as 2024-05-06T07:08:09"),
        ("at", "2024-13-01", "a time such as 2024-05-06T07:08:09"),
        ("hour", "25:00", "a time of day such as 07:08:09"),
        ("maker", "Ann", "a whole number"),
    ],
)
def test_a_value_of_another_kind(case: tuple[str, Any, str]) -> None:
    key, value, noun = case
    assert refused({key: {"gte": value}}).startswith(f"filter.{key}.gte: expected {noun}, got ")


def test_limits_of_the_callers_own() -> None:
    nested: Any = {"price": 1}
    for _ in range(9):
        nested = {"not": nested}
    path = f"filter{'.not' * 8}"
    assert refused(nested) == f"{path}: expected at most 8 levels of and, or and not"
    assert where(Product, nested, fields=COLUMNS, max_depth=9)
    assert refused({"and": [{"price": 1}]}, max_depth=0).startswith("filter: expected at most 0 levels")
    assert refused({"price": {"lt": 1, "gt": 0}}, max_terms=1) == "filter.price.gt: expected at most 1 comparisons"
    assert "at most 2 values" in refused({"price": {"in": [1, 2, 3]}}, max_items=2)
    assert refused({"name": "abc"}, max_text=2) == "filter.name: expected at most 2 characters, got 3"
    many = where(Product, {"or": [{"price": 1}] * 5_000}, fields=COLUMNS, max_terms=5_000)
    assert len(Product.select().where(many).sql()[1]) == 5_000


@for_each(
    "case",
    [
        (Maker.name, "expected fields of Product to filter by"),
        ("price", "expected fields of Product to filter by, got 'price' (str)"),
        (SQL("price"), "expected fields of Product to filter by"),
        (Product.meta, "a path such as meta['key'] of a JSON field, got the BinaryJSONField 'meta'"),
        (Product.core, "a path such as core['key'] of a JSON field, got the JSONField 'core'"),
        (Product.embedding, "got the VectorField 'embedding'"),
        (Product.search, "got the TSVectorField 'search'"),
        (Product.price, "expected fields with names of their own, got 'price' twice"),
    ],
)
def test_fields_that_cannot_be_asked(case: tuple[Any, str]) -> None:
    field, message = case
    assert message in refused({}, [Product.price, field])


def test_a_field_with_the_name_of_an_operator() -> None:
    class Odd(Model):
        choice = TextField(column_name="or")

    with pytest.raises(InvalidOption, match="other names than operators, got 'or'"):
        where(Odd, {}, fields=[Odd.choice])


def test_it_is_loaded_when_it_is_asked_for() -> None:
    loaded = "'lightvec.peewee.filters' in sys.modules"
    code = f"import sys, lightvec.peewee; print({loaded}); lightvec.peewee.where; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
