"""Whatever a request asks for: no name in SQL but the fields', no value in it, and no error of the server's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.testing import bound_to
from tests.cases import for_each
from tests.fuzz.filters import KEYS, Note, condition
from tests.fuzz.judging import TALLY, in_memory, in_time, tried


@pytest.fixture(scope="module")
def table(url: str) -> Iterator[None]:
    """Rows with values of each kind, where a filter is run."""
    with bound_to(url, [Note]) as database:
        database.drop_tables([Note])
        database.create_tables([Note])
        for number, value in enumerate([1, "x", "10", 2.5, True, None, [1], {"b": 1}, 10**30]):
            document = {"lang": value, "a": {"b": value}}
            Note.create(title=str(value), price=number, count=number, meta=document, plain=document, core=document)
        Note.create()
        yield
        Note.drop_table()


def run(body: Any) -> Any:
    """The filter's rows, or None if it is refused."""
    TALLY.count(repr(body).encode("utf-8", "replace")[:10_000])
    found = condition(body)
    return found if found is None else [row.id for row in Note.select(Note.id).where(found)]


OPERATORS = ["eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "between", "like", "ilike", "exists"]
HOSTILE = [
    "'; DROP TABLE fuzz_note; --",
    '"; DROP TABLE fuzz_note; --',
    "1=1) OR (1=1",
    "%s",
    "%(name)s",
    "%",
    "$1",
    ":name",
    "a\\",
    "\\",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "'",
    '"',
    "{lang}",
    "NULL",
    "NaN",
    "1e999",
    "-infinity",
    "secret",
    "t1.secret",
    "fuzz_note.secret",
    "meta",
    "meta.secret",
    "meta.lang'",
    "meta.lang.x",
    "_meta",
    "__class__",
    "pk",
    "id",
    "x" * 2_000,
    "é\U0001f600\u2028",
    "$where",
    "$$eq",
    "$",
    "",
    "0001-01-01T00:00:00-23:59",
    "9999-12-31T23:59:59+23:59",
    "0" * 32,
]

_hostile = st.sampled_from(HOSTILE)
_names = st.sampled_from(KEYS) | _hostile | st.text(max_size=5)
_numbers = st.integers() | st.floats() | st.sampled_from([2**31, -(2**63) - 1, 10**308, 10**309, 1e308, 5e-324])
_scalars = st.none() | st.booleans() | _numbers | _hostile | st.text(max_size=10)
_values = _scalars | st.lists(_scalars, max_size=4) | st.dictionaries(_names, _scalars, max_size=2)
_operators = st.sampled_from([*OPERATORS, *(f"${name}" for name in OPERATORS)]) | _hostile
_asked = _values | st.dictionaries(_operators, _values, max_size=3)
_keys = st.sampled_from(KEYS) | _names
_logic = st.sampled_from(["and", "or", "not", "$and", "$or", "$not"])


@st.composite
def _objects(draw: st.DrawFn) -> dict[str, Any]:
    """A composite, since Hypothesis warns of a strategy whose repr() is long."""
    return draw(st.dictionaries(_keys, _asked, max_size=3))


@st.composite
def _nothing_right(draw: st.DrawFn) -> Any:
    return draw(_scalars)


_bodies = st.recursive(
    _objects(),
    lambda inner: st.dictionaries(_logic, st.lists(inner, max_size=3) | inner | _nothing_right(), max_size=2),
    max_leaves=8,
)

#: Mostly right, so that much of it reaches the server.
_right = {
    **dict.fromkeys(["title", "word"], _hostile | st.text(max_size=10)),
    **dict.fromkeys(["price", "unit_price", "exact", "count"], _numbers),
    "is_new": st.booleans(),
    "at": st.datetimes().map(str) | st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
    "code": st.uuids().map(str),
    **dict.fromkeys(["meta.lang", "meta.a.b", "plain.lang", "core.lang"], _scalars),
}


@st.composite
def _conditions(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.sampled_from(KEYS))
    name = draw(st.sampled_from(OPERATORS))
    value: st.SearchStrategy[Any] = _right[key]
    if name in ("in", "nin"):
        value = st.lists(value, max_size=3)
    elif name == "between":
        value = st.lists(value, min_size=2, max_size=2)
    elif name == "exists":
        value = st.booleans()
    return {key: {name: draw(value)}}


_likely = st.recursive(
    _conditions(),
    lambda inner: st.dictionaries(_logic, st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=2),
    max_leaves=6,
)


@pytest.mark.usefixtures("table")
@tried(300, 20_000)
@given(_bodies)
def test_whatever_is_asked(body: Any) -> None:
    with in_time():
        run(body)


@pytest.mark.usefixtures("table")
def test_what_may_be_right() -> None:
    answered = 0

    @tried(300, 20_000)
    @given(_likely)
    def ask(body: Any) -> None:
        nonlocal answered
        with in_time():
            answered += run(body) is not None

    ask()
    assert answered > 100


@pytest.mark.usefixtures("table")
@for_each("text", HOSTILE)
def test_a_hostile_text_in_each_place(text: str) -> None:
    for name in OPERATORS:
        for key in KEYS:
            assert condition({key: {name: {text: text}}}) is None
        value = [text, text] if name in ("in", "nin", "between") else text
        right = [each for key in KEYS if condition(each := {key: {name: value}}) is not None]
        if right:
            assert run({"or": right}) is not None
        assert condition({text: {name: 1}}) is None
    for body in ({text: 1}, {"or": [{text: 1}]}, {"title": {text: 1}}, {f"title {text}": 1}, {f"meta.lang{text}x": 1}):
        assert condition(body) is None, body


def _nested(depth: int, key: str) -> Any:
    body: Any = {"title": "x"}
    for _ in range(depth):
        body = {key: [body]} if key != "not" else {key: body}
    return body


WIDE: dict[str, Any] = {
    "a million names": {f"name{number}": 1 for number in range(1_000_000)},
    "a million conditions": {"or": [{"title": "x"}] * 1_000_000},
    "a million values": {"title": {"in": ["x"] * 1_000_000}},
    "a long text": {"title": "x" * 10_000_000},
    "a long name": {"x" * 10_000_000: 1},
    "a long operator": {"title": {"x" * 10_000_000: 1}},
    "a long pattern": {"title": {"like": "%_" * 5_000_000}},
    "a long number": {"price": 10**100_000},
    "a long number in a document": {"meta.lang": 10**100_000},
    "a long key beside good ones": {"title": "x", "y" * 10_000_000: {"z": 1}},
    **{f"deep {key}": _nested(100_000, key) for key in ("and", "or", "not")},
    "a deep value": {"title": [_nested(100_000, "or")]},
}


@for_each("name", WIDE)
def test_a_large_body(name: str) -> None:
    with in_time(2), in_memory(2_000_000):
        assert condition(WIDE[name]) is None


def test_the_largest_filter_is_small() -> None:
    """As many terms and values as may be: the SQL is bounded by the limits."""
    terms = [{key: {"nin": [1.5] * 100}} for key in ("price", "exact", "meta.lang", "core.lang") * 16]
    with in_time(), in_memory(20_000_000):
        assert condition({"or": terms}) is not None
    assert condition({"or": [*terms, {"price": 1}]}) is None
    assert condition(_nested(8, "not")) is not None
    assert condition(_nested(9, "not")) is None


@pytest.mark.usefixtures("table")
def test_patterns_take_bounded_time() -> None:
    Note.create(title="a" * 10_000, meta={"lang": "a" * 10_000})
    with in_time(5):
        for key in ("title", "meta.lang"):
            assert run({key: {"like": "%a" * 499 + "b"}}) == []
