"""SparseVector without NumPy values."""

from __future__ import annotations

import copy
import math
import pickle
import struct
from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import InvalidVector
from lightvec.types import HalfVector, SparseVector, Vector

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def sparse_vectors(draw: st.DrawFn) -> SparseVector:
    dimensions = draw(st.one_of(st.integers(1, 40), st.integers(1, 1_000_000_000)))
    entries = draw(st.dictionaries(st.integers(0, dimensions - 1), NUMBERS, max_size=30))
    return SparseVector(entries, dimensions)


@given(sparse_vectors())
def test_binary_round_trip(v: SparseVector) -> None:
    data, size = v.to_binary(), len(v.indices())
    assert data == struct.pack(f">iii{size}i{size}f", len(v), size, 0, *v.indices(), *v.values())
    for buffer in (data, bytearray(data), memoryview(data), memoryview(b"-" + data)[1:]):
        assert SparseVector.from_binary(buffer) == v


@given(sparse_vectors())
def test_text_and_copies_round_trip(v: SparseVector) -> None:
    for other in (
        SparseVector.from_text(v.to_text()),
        copy.copy(v),
        copy.deepcopy(v),
        pickle.loads(pickle.dumps(v)),
    ):
        assert type(other) is SparseVector
        assert other.to_binary() == v.to_binary()
        assert other == v
        assert hash(other) == hash(v)


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_dense_round_trip(numbers: list[float]) -> None:
    v = SparseVector(numbers)
    assert v.to_list() == list(v) == [v[i] for i in range(len(v))] == numbers == v
    assert list(reversed(v)) == numbers[::-1]
    assert 0.0 not in v.values()


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        v = SparseVector.from_binary(data)
    except InvalidVector:
        return
    assert v.to_binary() == data


@given(st.integers(-1, 6), st.lists(st.tuples(st.integers(-1, 6), st.floats(width=32)), max_size=4))
def test_any_parts_decode_or_are_refused(dimensions: int, entries: list[tuple[int, float]]) -> None:
    places, numbers = [place for place, _ in entries], [number for _, number in entries]
    size = len(entries)
    data = struct.pack(f">iii{size}i{size}f", dimensions, size, 0, *places, *numbers)
    well = dimensions > 0 and all(0 <= place < dimensions for place in places) and all(numbers)
    if well and places == sorted(set(places)) and all(map(math.isfinite, numbers)):
        assert SparseVector.from_binary(data).to_binary() == data
    else:
        with pytest.raises(InvalidVector):
            SparseVector.from_binary(data)


@given(st.text("0123456789.,:/-+e {}_xn٣\n", max_size=14))
def test_any_text_reads_or_is_refused(text: str) -> None:
    try:
        v = SparseVector.from_text(text)
    except InvalidVector:
        return
    assert SparseVector.from_text(v.to_text()) == v


def test_exact_bytes() -> None:
    data = bytes.fromhex("00000006 00000002 00000000 00000000 00000002 3fc00000 40000000")
    assert SparseVector({2: 2, 0: 1.5, 4: 0}, 6).to_binary() == data
    assert SparseVector({}, 6).to_binary() == bytes.fromhex("00000006 00000000 00000000")


def test_sources() -> None:
    expected = [1.0, 0.0, 2.0, 0.0, 3.0, 0.0]
    items = [1, 0, 2, 0, 3, 0]
    sources: list[Any] = [
        items,
        tuple(items),
        iter(items),
        array("i", items),
        Vector(items),
        HalfVector(items),
    ]
    sources += [[True, False, Fraction(2), 0.0, 3, -0.0], SparseVector(items)]
    for source in sources:
        v = SparseVector(source)
        assert v.to_list() == expected
        assert (v.indices(), v.values(), v.dimensions()) == ([0, 2, 4], [1, 2, 3], 6)
    assert SparseVector({4: 3, 0: True, 2: 2, 3: 0}, 6) == expected
    assert SparseVector({4: 3, 0: 1, 2: 2}, dimensions=6) == expected


def test_zeros_are_dropped() -> None:
    v = SparseVector({0: -0.0, 1: 1e-50, 2: 1}, 3)
    assert (v.indices(), v.values()) == ([2], [1])
    assert SparseVector.from_text("{1:0,3:1}/3") == v
    assert SparseVector.from_binary(v.to_binary()) == v


def refused() -> list[tuple[tuple[Any, ...], str]]:
    return [
        (({0: 1},), "expected the dimensions as an int after the dict"),
        (({0: 1}, "6"), "expected the dimensions as an int after the dict"),
        (({0: 1}, 6.0), "expected the dimensions as an int after the dict"),
        (({0: 1}, 0), "expected 1 to 1,000,000,000 dimensions and got 0"),
        (({}, -1), "expected 1 to 1,000,000,000 dimensions and got -1"),
        (({}, 1_000_000_001), "got more than 1,000,000,000"),
        (({}, 2**40), "dimensions and got 1,099,511,627,776"),
        (({6: 1}, 6), "from 0 to 5, and got 6"),
        (({-1: 1}, 6), "from 0 to 5, and got -1"),
        (({2**40: 1}, 6), "from 0 to 5, and got"),
        (({"0": 1}, 6), r"indices that are ints \(from 0\) and got '0'"),
        (({0.5: 1}, 6), "indices that are ints"),
        (({0: 1, 5: "x"}, 6), r"a number at index 5 and got 'x' \(str\)"),
        (({0: 1, 5: None}, 6), "a number at index 5 and got None"),
        (({3: math.nan}, 6), "a finite number at index 3 and got nan"),
        (({3: 1e39}, 6), "at index 3, which does not fit float32"),
        (([1, 2], 2), "takes dimensions with a dict only"),
        ((SparseVector([1]), 1), "takes dimensions with a dict only"),
        (([],), "got 0"),
        (([0, None],), "a number at index 1 and got None"),
        (([0, ""],), "a number at index 1 and got ''"),
        (([0, math.inf],), "a finite number at index 1"),
        (([[1, 0]],), "a number at index 0"),
        (("{1:1}/2",), "from_text"),
        ((b"123",), "from_binary"),
        ((None,), "iterable of numbers and got None"),
        ((5,), "iterable of numbers and got 5"),
    ]


@pytest.mark.parametrize(("arguments", "message"), refused())
def test_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidVector, match=message) as caught:
        SparseVector(*arguments)
    assert str(caught.value).startswith("SparseVector")
    assert len(str(caught.value)) < 200


def test_limit_of_numbers() -> None:
    most = SparseVector(dict.fromkeys(range(16_000), 1), 20_000)
    assert SparseVector.from_binary(most.to_binary()) == SparseVector.from_text(most.to_text()) == most
    too_many = "at most 16,000 numbers other than 0 and got 16,001"
    with pytest.raises(InvalidVector, match=too_many):
        SparseVector(dict.fromkeys(range(16_001), 1), 20_000)
    with pytest.raises(InvalidVector, match=too_many):
        SparseVector([1] * 16_001)
    with pytest.raises(InvalidVector, match=too_many):
        SparseVector.from_text(f"{{{','.join(f'{i}:1' for i in range(1, 16_002))}}}/20000")
    with pytest.raises(InvalidVector, match=r"count \(at most 16,000\)"):
        SparseVector.from_binary(struct.pack(">iii16001i16001f", 20_000, 16_001, 0, *range(16_001), *[1] * 16_001))


def parts(dimensions: int, count: int, zero: int, indices: Sequence[int], values: Sequence[float]) -> bytes:
    return struct.pack(f">iii{len(indices)}i{len(values)}f", dimensions, count, zero, *indices, *values)


BAD_BYTES = {
    "empty": b"",
    "short header": bytes(11),
    "no dimensions": parts(0, 0, 0, [], []),
    "negative dimensions": parts(-5, 1, 0, [0], [1]),
    "too many dimensions": parts(1_000_000_001, 1, 0, [0], [1]),
    "negative count": parts(5, -1, 0, [], []),
    "lying count": parts(5, 16_000, 0, [0], [1]),
    "huge count": parts(5, 2**31 - 1, 0, [0], [1]),
    "third field": parts(5, 1, 1, [0], [1]),
    "trailing byte": parts(5, 1, 0, [0], [1]) + b"\0",
    "missing byte": parts(5, 1, 0, [0], [1])[:-1],
    "unsorted": parts(5, 2, 0, [1, 0], [1, 1]),
    "duplicate": parts(5, 2, 0, [1, 1], [1, 1]),
    "negative index": parts(5, 1, 0, [-1], [1]),
    "index out of range": parts(5, 1, 0, [5], [1]),
    "middle index out of range": parts(5, 3, 0, [0, 7, 4], [1, 1, 1]),
    "more numbers than dimensions": parts(1, 2, 0, [0, 1], [1, 1]),
    "zero": parts(5, 1, 0, [0], [0]),
    "minus zero": parts(5, 2, 0, [0, 1], [1, -0.0]),
    "NaN": parts(5, 1, 0, [0], [math.nan]),
    "infinity": parts(5, 1, 0, [0], [-math.inf]),
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_malformed_bytes(data: bytes) -> None:
    with pytest.raises(InvalidVector, match=r"^SparseVector.* expected"):
        SparseVector.from_binary(data)


BAD_TEXTS = """
{|}|{}|{}/|/3|{1:1}|{1:1}/|{1:1}/x|{1:1}/3x|x{1:1}/3|{1:1}/0|{1:1}/-3|{}/1000000001|{}/99999999999
{0:1}/3|{4:1}/3|{-1:1}/3|{1:1,1:2}/3|{1:nan}/3|{1:inf}/3|{1:1e39}/3|{1_0:1}/30|{1:1_0}/3
{\u0663:1}/3|{1:\u0663}/3|{1:0x1}/3|{1.0:1}/3|{1e0:1}/3|{1:}/3
{:1}/3|{1}/3|{1:1,}/3|{,1:1}/3|{1:1;2:1}/3|{1:1 2:1}/3|{1:1:1}/3|{{1:1}}/3
[1:1]/3|{1:1}/3/3|{1:1}/3.0|{1:1}/1_0|[1,2]
""".strip().replace("\n", "|")


@pytest.mark.parametrize("text", ["", " ", *BAD_TEXTS.split("|")])
def test_malformed_texts(text: str) -> None:
    with pytest.raises(InvalidVector):
        SparseVector.from_text(text)


@pytest.mark.parametrize("value", [None, 5, b"{1:1}/3", {1: 1}])
def test_codecs_of_something_else(value: Any) -> None:
    with pytest.raises(InvalidVector, match="expected a str like"):
        SparseVector.from_text(value)
    if not isinstance(value, bytes):
        with pytest.raises(InvalidVector, match="expected bytes"):
            SparseVector.from_binary(value)


@pytest.mark.parametrize(
    "text", ["{1:1.5,3:2}/6", " { 1 : 1.5 , 3:2. } / 6\n", "{3:2,1:15e-1}/6", "{+1:1.5,3:2,4:0}/6"]
)
def test_texts_of_postgresql(text: str) -> None:
    v = SparseVector.from_text(text)
    assert v == [1.5, 0, 2, 0, 0, 0]
    assert v.to_text() == "{1:1.5,3:2}/6"


def test_empty_text() -> None:
    assert SparseVector.from_text("{}/3").to_text() == "{}/3" == SparseVector.from_text("{ }/3").to_text()


def test_error_of_a_text_counts_from_one() -> None:
    with pytest.raises(InvalidVector, match="from 1 to 3, and got 4"):
        SparseVector.from_text("{4:1}/3")
    with pytest.raises(InvalidVector, match="each once, from 1 to 3, and got 2 after 2"):
        SparseVector.from_text("{2:1,2:1}/3")


def test_immutable() -> None:
    v: Any = SparseVector([1, 0])
    for name in ("_dimensions", "_indices", "_values", "new"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(v, name, 1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        del v._values
    v.indices().append(9)
    v.values().append(9)
    assert v == [1, 0]
    assert not hasattr(v, "__dict__")


def test_sequence() -> None:
    v = SparseVector([1, 0, 2, 0])
    assert isinstance(v, Sequence)
    assert (len(v), v[0], v[1], v[-2], v[1:], v[::-2], v[9:]) == (4, 1, 0, 2, [0, 2, 0], [0, 0], [])
    assert (2 in v, 0 in v, 5 in v, v.count(0), v.index(2)) == (True, True, False, 2, 2)
    assert 0 not in SparseVector([1, 2])
    for index in (4, -5):
        with pytest.raises(IndexError):
            v[index]
    with pytest.raises(TypeError):
        v["0"]  # type: ignore[call-overload]


def test_the_largest_costs_nothing() -> None:
    v = SparseVector({999_999_999: 1}, 1_000_000_000)
    assert len(v) == 1_000_000_000
    assert v[-1] == 1
    assert 5 not in v
    assert v != [1]
    assert hash(v) == hash(SparseVector.from_text(v.to_text()))


def test_repr() -> None:
    v = SparseVector({2: 2, 0: 1}, 6)
    assert (repr(v), str(v)) == ("SparseVector({0: 1.0, 2: 2.0}, 6)", "{1:1,3:2}/6")


def test_repr_of_a_long_one() -> None:
    v = SparseVector(dict.fromkeys(range(1536), 1), 10**9)
    assert repr(v) == "SparseVector({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, ...}, 1000000000, 1,536 entries)"
    assert repr(SparseVector({5: 1}, 10**9)) == "SparseVector({5: 1.0}, 1000000000)"


def test_equality() -> None:
    v = SparseVector([0.1, 0, 0.2])
    assert v == SparseVector({2: 0.2, 0: 0.1}, 3)
    assert v == [0.1, 0, 0.2]
    assert v == (0.1, 0, 0.2)
    assert SparseVector({}, 1) != SparseVector({}, 2)
    others: list[Any] = [
        [0.1, 0],
        [0.1, 0, "x"],
        [0.1, 0, None],
        [0.1, 0, math.nan],
        None,
        {0: 0.1, 2: 0.2},
        "x",
    ]
    for other in others:
        assert v != other


def test_coerce() -> None:
    v = SparseVector([1, 0])
    assert SparseVector.coerce(v) is v
    assert SparseVector(v) is v
    assert SparseVector.coerce([1, 0]) == v


def test_normalized() -> None:
    assert SparseVector({1: 3, 5: 4}, 9).normalized() == SparseVector({1: 0.6, 5: 0.8}, 9)
    assert SparseVector({1: 1, 5: 1e-40}, 9).normalized().values()[0] == 1
    assert SparseVector({1: 3e38, 5: 1e-44}, 9).normalized().indices() == [1]
    with pytest.raises(InvalidVector, match="got only zeros"):
        SparseVector({}, 3).normalized()
