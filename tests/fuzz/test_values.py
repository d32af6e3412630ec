"""Values of the caller's that lie about themselves, raise, or are arrays of an unusual kind."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from pg8000.types import PGInterval, Range

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidVector, LightvecError
from lightvec.extension import ExtensionTypes
from lightvec.pg8000 import Connection, connect
from lightvec.wire.adapters import Adapters
from lightvec.wire.copy.blocks import binary_blocks, text_blocks
from lightvec.wire.copy.target import Column, Target
from lightvec.wire.datatypes import BY_OID
from lightvec.wire.jsonb import Json
from tests.cases import for_each
from tests.fuzz.judging import TALLY, in_memory, in_time, tried
from tests.fuzz.messages import LOGIN
from tests.fuzz.player import URL, playing


class Own(Exception):
    """What a value of the caller's raises; it may come out as it is."""


def fail(*_: object) -> Any:
    raise Own


class LongerThanItIs(list[Any]):
    def __len__(self) -> int:
        return 5


class ShorterThanItIs(list[Any]):
    def __len__(self) -> int:
        return 1


class Fails:
    __iter__ = __len__ = __float__ = __index__ = __array__ = __getitem__ = fail


class FailsToBeShown:
    __repr__ = __str__ = fail


class Lies:
    def __float__(self) -> float:
        return "x"  # type: ignore[return-value]

    def __index__(self) -> int:
        return 1.5  # type: ignore[return-value]

    def __len__(self) -> int:
        return -1

    def __iter__(self) -> Iterator[Any]:
        return 7  # type: ignore[return-value]


class Grows(list[Any]):
    """Has one more item each time that it is looked at."""

    def __iter__(self) -> Iterator[Any]:
        self.append(1.0)
        return super().__iter__()


class Number(float):
    __eq__ = __lt__ = __gt__ = fail
    __hash__ = float.__hash__


class Text(str):
    def __str__(self) -> str:
        return self

    encode: Any = fail


class Member(Enum):
    ITSELF = object()
    DEEP = ((1,),)


def itself() -> list[Any]:
    """A list that is its own item, twice."""
    endless: list[Any] = []
    endless += [endless, endless]
    return endless


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def strided(*strides: int) -> Any:
    return as_strided(np.ones(4, "f4"), (3,) * len(strides), strides, writeable=False)


ARRAYS: dict[str, Any] = {
    "objects": np.array([1, None, "x"], object),
    "objects in objects": np.array([1, [2]], object),
    "records": np.zeros(3, "f4,f4"),
    "a record array": np.rec.array([(1.0,)], dtype=[("mask", "f4")]),
    "complex": np.array([1j, 2]),
    "texts": np.array(["1", "2"]),
    "bytes": np.array([b"1"]),
    "nothing": np.zeros(0, "f4"),
    "nothing at all": np.zeros((0, 0), "f4"),
    "nothing of three": np.zeros((3, 0), "f4"),
    "no dimensions": np.array(1.0),
    "two dimensions": np.ones((2, 2)),
    "three dimensions": np.ones((1, 1, 3)),
    "a matrix": np.ones((1, 3)).view(np.matrix),
    "NaN": np.array([1, np.nan], "f4"),
    "a signalling NaN": np.array([0x7FA00000], "u4").view("f4"),
    "halves beyond": np.array([np.inf], "f2"),
    "long doubles": np.array([1], np.longdouble) * np.longdouble("1e4000"),
    "read only": np.frombuffer(bytes(12), "f4"),
    "big-endian": np.array([1, 2, 3], ">f4"),
    "big-endian halves": np.array([1, 2, 3], ">f2"),
    "backwards": np.arange(3.0)[::-1],
    "strides of nothing": strided(0),
    "strides of bytes": strided(1),
    "strides back and forth": strided(4, -4),
    "a trillion": np.broadcast_to(np.float32(1), 10**12),
    "a masked one": np.ma.masked_array([1.5, 2.5], [False, True]),
    "masked flags": np.ma.masked_array([True, False], [False, True]),
    "masked rows": np.ma.masked_array([[1.5, 2.5]], [[False, True]]),
    "moments": np.array(["NaT", "2024-01-01"], "M8[D]"),
    "moments of years": np.array(["2024"], "M8[Y]"),
    "times that are too long": np.array([2**62], "m8[Y]"),
    "numbers beyond": np.array([2**64 - 1], "u8"),
}

VALUES: dict[str, Callable[[], Any]] = {
    "longer than it is": lambda: LongerThanItIs([1.0]),
    "longer than nothing": LongerThanItIs,
    "shorter than it is": lambda: ShorterThanItIs([1.0] * 20_000),
    "shorter than nothing": ShorterThanItIs,
    "fails": Fails,
    "fails in a list": lambda: [Fails()],
    "fails to be shown": FailsToBeShown,
    "fails to be shown in a list": lambda: [FailsToBeShown()],
    "lies": Lies,
    "lies in a list": lambda: [1.0, Lies()],
    "grows": lambda: Grows([1.0]),
    "a number that cannot be compared": lambda: [Number("nan")],
    "a text that cannot be encoded": lambda: Text("x"),
    "a member": lambda: Member.ITSELF,
    "a deep member": lambda: Member.DEEP,
    "itself": itself,
    "a tuple of itself": lambda: (itself(),),
    "deep": lambda: deep(3_000),
    "a deep tuple": lambda: (deep(3_000),),
    "a document of itself": lambda: {"a": itself()},
    "a deep document": lambda: {"a": deep(3_000)},
    "a Json of itself": lambda: Json(itself()),
    "a very large number": lambda: 10**5_000,
    "a list of a very large number": lambda: [10**5_000],
    "a dict of a very large number": lambda: {10**5_000: 1.0, -(10**5_000): 1.0},
    "a decimal of 100,000 digits": lambda: Decimal("1" * 100_000),
    "a decimal with a large exponent": lambda: Decimal("1e999999"),
    "a decimal with a small exponent": lambda: Decimal("1e-999999"),
    "a signalling NaN": lambda: Decimal("sNaN"),
    "NaN": lambda: [float("nan")],
    "infinity": lambda: [1, -float("inf")],
    "endless": lambda: itertools.repeat(1.0),
    "a generator that fails": lambda: (fail() for _ in range(3)),
    "an array of letters": lambda: array("u", "ab"),
    "an array of long integers": lambda: array("q", [2**62]),
    "an empty array": lambda: array("f"),
    "a view of bytes": lambda: memoryview(b"abc"),
    "a view of floats": lambda: memoryview(array("f", [1, 2])),
    "a view of a matrix": lambda: np.ones((2, 2), "f4").data,
    "a view of halves": lambda: np.ones(2, "f2").data,
    "a view of records": lambda: np.zeros(2, "f4,f4").data,
    "a view with strides": lambda: memoryview(bytes(9))[::-2],
    "a surrogate": lambda: "\ud800",
    "NUL": lambda: "a\0b",
    "a text of NULs in a list": lambda: ["\0"],
    "an interval of texts": lambda: PGInterval(years="x"),
    "a long interval": lambda: PGInterval(years=10**30),
    "a range of itself": lambda: Range(itself(), 1),
    "a range without bounds": lambda: Range(1, 2, bounds=""),
    "a set": lambda: {1.0},
    "a type": lambda: int,
    "a module": lambda: itertools,
    "NotImplemented": lambda: NotImplemented,
    "a masked one in a list": lambda: [np.ma.masked],
    "a UUID of none": lambda: "not a uuid",
    "a number with an index": lambda: np.int64(5),
    "a vector": lambda: Vector([1]),
    "a sparse vector": lambda: SparseVector({}, 1_000_000_000),
    **{f"an array of {name}": partial(ARRAYS.__getitem__, name) for name in ARRAYS},
    **{f"a list of an array of {name}": partial(lambda name: [ARRAYS[name]], name) for name in ARRAYS},
}
by_value = for_each("what", VALUES)


def only_ours(act: Callable[[], object]) -> object:
    """What it gives; None where it raises what it may, an error of ours or the value's own."""
    with in_time(5):
        try:
            return act()
        except (LightvecError, Own):
            return None


@by_value
@pytest.mark.parametrize("cls", [Vector, HalfVector, SparseVector, Bit])
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_constructors(cls: Any, what: str) -> None:
    """What is made of it is a value, which can be sent."""
    if cls in (SparseVector, Bit) and what == "endless":
        return  # They may have a billion dimensions, or 83,886,080.
    with in_memory(64 << 20):
        made: Any = only_ours(lambda: cls(VALUES[what]()))
    if made is not None and made.dimensions() < 100_000:
        assert cls.from_binary(made.to_binary()) == made
        assert 1 <= len(made) == made.dimensions()


@by_value
def test_a_dict_with_its_dimensions(what: str) -> None:
    value = VALUES[what]()
    only_ours(lambda: SparseVector({0: value}, 5))
    only_ours(lambda: SparseVector({1: 1.0}, value))
    only_ours(lambda: SparseVector(value, 5) if isinstance(value, dict) else None)


@by_value
def test_from_text_and_from_binary(what: str) -> None:
    for cls in (Vector, HalfVector, SparseVector, Bit):
        only_ours(partial(cls.from_text, VALUES[what]()))
        only_ours(partial(cls.from_binary, VALUES[what]()))


TYPES = ExtensionTypes(
    {"vector": 16_385, "halfvec": 16_386, "sparsevec": 16_387},
    {"vector": 16_390, "halfvec": 16_391, "sparsevec": 16_392},
)


def adapters() -> Adapters:
    adapters = Adapters()
    adapters.extension = TYPES
    return adapters


@by_value
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_parameters(what: str) -> None:
    only_ours(lambda: adapters().parameter(VALUES[what]()))
    only_ours(lambda: adapters().parameter([VALUES[what]()]))


@by_value
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_nothing_is_sent_of_a_statement_whose_values_cannot_be(what: str) -> None:
    """Whole messages or none at all: after it, the connection is as it was."""
    with playing([LOGIN]) as played:
        conn = connect(URL)
        conn.session.adapters.extension = TYPES
        before = len(played.sent)
        value = VALUES[what]()
        try:
            conn.session.adapters.parameters([value])
        except Exception:
            only_ours(lambda: conn.run("SET a = :v", v=value))
            assert len(played.sent) == before
            assert not conn.closed


def column(oid: int, element: int = 0, vector: str | None = None, size: int | None = None) -> Column:
    return Column("c", oid, element, "its type", size, vector, False, False)


NAMES = ("vector", "halfvec", "sparsevec", "bit")
SCALARS = [oid for oid, row in BY_OID.items() if row.encode]
COLUMNS = [
    *(column(oid) for oid in SCALARS),
    *(column(1_000, oid) for oid in SCALARS),
    *(column(16_385, 0, name, size) for name in NAMES for size in (None, 2)),
    *(column(16_390, 16_385, name) for name in NAMES),
]


def load(target: Target, rows: Any) -> None:
    """Make blocks of rows, binary and text."""
    for blocks in (binary_blocks(target, enumerate(rows, 1)), text_blocks(target, Adapters(), enumerate(rows, 1))):
        only_ours(partial(list, blocks))


@by_value
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_fields_of_a_load(what: str) -> None:
    """As a value of each kind of column, in binary and as text; and as a row, and as all rows."""
    if what == "endless":
        return  # A sparse vector may have a billion dimensions.
    for one in COLUMNS:
        target = Target('"t"', [one])
        for rows in ([[VALUES[what]()]], [VALUES[what]()]):
            load(target, rows)


@by_value
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_columns_of_a_load(what: str, conn: Connection) -> None:
    """On a real server, which takes what is sent or says what is wrong with it; the connection is in step."""
    if what in ("endless", "a sparse vector", "an array of a trillion"):
        return  # That many rows take their time.
    conn.run("DROP TABLE IF EXISTS t")
    conn.run("CREATE TEMPORARY TABLE t (a int, b vector, c text, d timestamp, e interval, f bool, g int4range, h int)")
    for name in "abcdefg":
        only_ours(partial(conn.copy_columns, "t", {name: VALUES[what]()}))
        only_ours(partial(conn.copy_columns, "t", {name: VALUES[what](), "h": [1]}))
    assert conn.run("SELECT 1") == [[1]]


_item = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=5)
_anything = st.recursive(
    _item | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@tried(150, 5_000)
@given(value=_anything)
def test_anything(value: Any) -> None:
    TALLY.count()
    for cls in (Vector, HalfVector, SparseVector, Bit):
        only_ours(partial(cls, value))
    only_ours(lambda: adapters().parameter(value))
    for one in COLUMNS:
        target = Target('"t"', [one])
        load(target, [[value]])


def test_a_list_in_itself_is_no_array() -> None:
    """It would be one of endless dimensions."""
    target = Target('"t"', [column(1_007, 23)])
    for blocks in (binary_blocks(target, [(1, [itself()])]), text_blocks(target, Adapters(), [(1, [itself()])])):
        with in_time(2), pytest.raises(LightvecError):
            list(blocks)


@pytest.mark.parametrize("cls", [Vector, HalfVector, SparseVector])
def test_what_is_masked_is_not_sent(cls: Any) -> None:
    masked = np.ma.masked_array([1.5, 2.5], [False, True])
    with pytest.raises(InvalidVector, match="masked"):
        cls(masked)
    assert cls(np.ma.masked_array([1.5, 2.5], [False, False])) == [1.5, 2.5]


@pytest.mark.parametrize("value", [10**5_000, -(10**5_000)], ids=["above", "below"])
def test_numbers_that_Python_does_not_print(value: int) -> None:
    for make in (lambda: SparseVector({}, value), lambda: SparseVector({value: 1.0}, 5), lambda: Vector([value])):
        with pytest.raises(InvalidVector, match="a very large number"):
            make()


def test_a_list_that_lies_about_its_length_makes_no_vector_without_dimensions() -> None:
    for value in (LongerThanItIs(), ShorterThanItIs([1.0] * 20_000)):
        with pytest.raises(InvalidVector):
            Vector(value)
