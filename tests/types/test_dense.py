"""Vector and HalfVector: the same rules at two precisions."""

from __future__ import annotations

import copy
import math
import pickle
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import count
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import InvalidVector, LightvecError
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.arrays import array_from_binary
from lightvec.types.columns import column_value

Dense = type[Vector] | type[HalfVector]
both = pytest.mark.parametrize("kind", [Vector, HalfVector])

CODE = {Vector: "f", HalfVector: "e"}


def lists(width: Literal[16, 32]) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(width=width, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


any_vector = st.builds(Vector, lists(32)) | st.builds(HalfVector, lists(16))


@given(any_vector)
def test_binary_round_trip(v: Vector | HalfVector) -> None:
    data = v.to_binary()
    assert data == struct.pack(f">hh{len(v)}{CODE[type(v)]}", len(v), 0, *v)
    for buffer in (data, bytearray(data), memoryview(data), memoryview(b"-" + data)[1:]):
        assert type(v).from_binary(buffer).to_binary() == data


@given(any_vector)
def test_text_round_trip(v: Vector | HalfVector) -> None:
    for text in (v.to_text(), v.wire_text()):
        assert type(v).from_text(text).to_binary() == v.to_binary()


@given(any_vector)
def test_copies_are_equal(v: Vector | HalfVector) -> None:
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    for other in (copy.copy(v), copy.deepcopy(v), *(pickle.loads(pickle.dumps(v, p)) for p in protocols)):
        assert type(other) is type(v)
        assert other == v
        assert hash(other) == hash(v) == hash(tuple(v))


@given(st.sampled_from([Vector, HalfVector]), st.binary(max_size=40))
def test_any_bytes_decode_or_are_refused(kind: Dense, data: bytes) -> None:
    try:
        v = kind.from_binary(data)
    except InvalidVector:
        return
    assert v.to_binary() == data


@given(st.sampled_from([Vector, HalfVector]), st.integers(1, 9), st.data())
def test_any_numbers_decode_or_are_refused(kind: Dense, size: int, data: st.DataObject) -> None:
    width = 2 if kind is HalfVector else 4
    body = data.draw(st.binary(min_size=size * width, max_size=size * width))
    message = struct.pack(">hh", size, 0) + body
    if all(map(math.isfinite, struct.unpack(f">{size}{CODE[kind]}", body))):
        assert kind.from_binary(message).to_binary() == message
    else:
        with pytest.raises(InvalidVector, match="finite"):
            kind.from_binary(message)


@given(st.sampled_from([Vector, HalfVector]), st.text("0123456789.,-+e []_xnaif٣\n", max_size=12))
def test_any_text_reads_or_is_refused(kind: Dense, text: str) -> None:
    try:
        v = kind.from_text(text)
    except InvalidVector:
        return
    assert v == [float(number) for number in text.strip()[1:-1].split(",")]


def test_exact_bytes() -> None:
    assert Vector([1.5, -2, 3]).to_binary() == bytes.fromhex("0003 0000 3fc00000 c0000000 40400000")
    assert HalfVector([1.5, -2, 3]).to_binary() == bytes.fromhex("0003 0000 3e00 c000 4200")


def test_every_half_is_decoded_or_refused() -> None:
    for bits in range(1 << 16):
        message = struct.pack(">hhH", 1, 0, bits)
        if bits & 0x7C00 == 0x7C00:
            with pytest.raises(InvalidVector):
                HalfVector.from_binary(message)
        else:
            v = HalfVector.from_binary(message)
            assert v.to_binary() == message
            assert HalfVector.from_text(v.to_text()).to_binary() == message


BAD_BYTES = {
    "empty": b"",
    "short header": b"\0\1\0",
    "no dimensions": b"\0\0\0\0",
    "negative dimensions": b"\xff\xff\0\0" + bytes(4),
    "too many dimensions": struct.pack(">hh", 16_001, 0) + bytes(4 * 16_001),
    "lying length": struct.pack(">hh", 16_000, 0) + bytes(4),
    "second field": struct.pack(">hh2f", 2, 1, 1, 2),
    "trailing byte": struct.pack(">hh2f", 2, 0, 1, 2) + b"\0",
    "missing byte": struct.pack(">hh2f", 2, 0, 1, 2)[:-1],
    "NaN": struct.pack(">hh2f", 2, 0, 1, math.nan),
    "infinity": struct.pack(">hh2f", 2, 0, 1, math.inf),
    "minus infinity": struct.pack(">hh2f", 2, 0, -math.inf, 1),
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_malformed_bytes(data: bytes) -> None:
    with pytest.raises(InvalidVector, match=r"^Vector.*expected"):
        Vector.from_binary(data)


@both
@pytest.mark.parametrize("value", [None, 5, "[1]", [1, 2], array("f", [1])])
def test_from_binary_of_something_else(kind: Dense, value: Any) -> None:
    with pytest.raises(InvalidVector, match="expected bytes, bytearray or memoryview and got"):
        kind.from_binary(value)


BAD_TEXTS = """
1,2|[1,2|1,2]|[]|[ ]|[1,,2]|[,1]|[1,]|x1,2y|[1,2]x|x[1,2]|[1,2]]|[[1,2]]|{1,2}|[nan]|[NaN]|[inf]
[-Infinity]|[1_000]|[\u0663]|[0x1p3]|[1e]|[e1]|[1 2]|[1;2]|[--1]|[+-1]|[1\x002]|[1,2],[3]|[.]|[1.2.3]
[1e400]|[\x1c1]|[1\u00a0]|(1,2)|[1e39]
""".strip().replace("\n", "|")


@both
@pytest.mark.parametrize("text", ["", " ", "[", "]", *BAD_TEXTS.split("|")])
def test_malformed_texts(kind: Dense, text: str) -> None:
    with pytest.raises(InvalidVector):
        kind.from_text(text)


@both
@pytest.mark.parametrize("value", [None, 5, b"[1]", [1]])
def test_from_text_of_something_else(kind: Dense, value: Any) -> None:
    with pytest.raises(InvalidVector, match="expected a str like"):
        kind.from_text(value)


@both
@pytest.mark.parametrize(
    "text", ["[1.5,2,3]", " [1.5, 2 ,\t3]\n", "[ 1.5,2.,+3 ]", "[15e-1,2E0,3.0]", "\r\v\f[1.50,02,3]"]
)
def test_texts_of_postgresql(kind: Dense, text: str) -> None:
    assert kind.from_text(text) == [1.5, 2, 3]


@both
def test_text_is_what_postgresql_prints(kind: Dense) -> None:
    assert kind([1, -2.5, 0, 0.25, -0.0]).to_text() == "[1,-2.5,0,0.25,-0]"


def test_text_is_the_shortest() -> None:
    numbers = [0.1, 0.7, 1e-5, 0.333333333, 123456, 3.4028234663852886e38, 0.30000001192092896, 0.9876543]
    assert Vector(numbers).to_text() == "[0.1,0.7,1e-05,0.33333334,123456,3.4028235e+38,0.3,0.9876543]"
    spread = np.random.default_rng(1).normal(size=10_000) * 10.0 ** np.arange(-2, 5).repeat(1429)[:10_000]
    assert longer_than_numpy(spread[abs(spread) > 0.001].tolist()) == []


def test_text_at_the_edges_of_float32_is_at_most_a_digit_too_long() -> None:
    # At a power of two the nearest shorter decimal may lie on the side where float32 is finer.
    powers = [2.0**power for power in range(-126, 128)]
    assert longer_than_numpy(powers) == [2.0**-96, 2.0**87, 2.0**90]
    spread = np.random.default_rng(1).normal(size=10_000) * 10.0 ** np.arange(-20, 20).repeat(250)
    assert len(longer_than_numpy(spread.tolist())) == 1


def longer_than_numpy(numbers: list[float]) -> list[float]:
    v = Vector(numbers)
    texts = zip(v.to_text()[1:-1].split(","), v.to_numpy(), v, strict=True)
    shortest = partial(np.format_float_scientific, unique=True, trim="-")
    return [number for ours, single, number in texts if Decimal(ours) != Decimal(shortest(single))]


def test_text_of_subnormal_numbers_reads_back() -> None:
    v = Vector([2.0**-149, 3 * 2.0**-149, 2.0**-127, -(2.0**-130)])
    assert Vector.from_text(v.to_text()) == v


@both
def test_what_makes_a_vector(kind: Dense) -> None:
    def generate() -> Iterator[float]:
        yield from (1, 2, 3)

    sources: list[Any] = [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        range(1, 4),
        generate(),
        map(float, "123"),
        array("f", [1, 2, 3]),
        array("d", [1, 2, 3]),
        array("B", [1, 2, 3]),
        memoryview(array("f", [1, 2, 3])),
        [True, Decimal(2), Fraction(3)],
        [np.float32(1), np.int8(2), np.float64(3)],
        Vector([1, 2, 3]),
        HalfVector([1, 2, 3]),
        SparseVector([1, 2, 3]),
    ]
    for source in sources:
        assert kind(source).to_list() == [1.0, 2.0, 3.0]
    assert kind(Bit("101")).to_list() == [1.0, 0.0, 1.0]


REFUSED: list[Any] = [
    None,
    1,
    1.5,
    "123",
    "[1,2]",
    b"123",
    bytearray(b"123"),
    memoryview(b"123"),
    {0: 1.0},
    {1.0, 2.0},
    object(),
    list,
    [],
    (),
    iter(()),
    [1, "two", 3],
    [1, None, 3],
    [[1, 2], [3, 4]],
    [[1.0]],
    [np.array([1.0])],
    [np.array([1.0, 2.0])],
    [1, b"2"],
    [1j],
    [10**400],
    [10**5000],
    [Decimal("sNaN")],
    ["{index}"],
]


@both
@pytest.mark.parametrize("value", REFUSED)
def test_what_makes_none(kind: Dense, value: Any) -> None:
    with pytest.raises(InvalidVector) as caught:
        kind(value)
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, LightvecError)
    assert message.startswith(kind.__name__)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 200


@both
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Decimal("Infinity"), np.float32("nan")])
def test_numbers_that_are_not_finite(kind: Dense, number: Any) -> None:
    with pytest.raises(InvalidVector, match=f"{kind.__name__} expected a finite number at index 1 and got"):
        kind([1, number, 3])


def test_numbers_that_do_not_fit() -> None:
    with pytest.raises(InvalidVector, match=r"got 1e\+39 \(float\) at index 2, which does not fit float32"):
        Vector([1, 2, 1e39])
    with pytest.raises(InvalidVector, match=r"got 70000 \(int\) at index 1, which does not fit halfvec"):
        HalfVector([1, 70000])
    with pytest.raises(InvalidVector, match="does not fit halfvec"):
        HalfVector(Vector([65520]))
    with pytest.raises(InvalidVector, match="does not fit float32"):
        Vector([Decimal("1e400")])
    assert HalfVector([65519]).to_list() == [65504]
    assert Vector([3.4028235e38, 1e-50]).to_list() == [3.4028234663852886e38, 0]


@both
def test_limits(kind: Dense) -> None:
    longest = kind([1] * 16_000)
    assert kind.from_binary(longest.to_binary()) == kind.from_text(longest.to_text()) == longest
    for size, came in ((16_001, "more than 16,000"), (20_000, "20,000"), (0, "0")):
        with pytest.raises(InvalidVector, match=f"expected 1 to 16,000 dimensions and got {came}"):
            kind([1] * size)
    with pytest.raises(InvalidVector, match="got more than 16,000"):
        kind(count())
    with pytest.raises(InvalidVector, match="got 20,000"):
        kind.from_text(f"[{','.join('1' * 20_000)}]")
    with pytest.raises(InvalidVector, match="got more than 16,000"):
        kind(SparseVector({}, 1_000_000_000))


def test_error_in_the_callers_iterator_is_the_callers() -> None:
    def broken() -> Iterator[float]:
        yield 1
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        Vector(broken())


MISTAKES: list[Callable[[], object]] = [
    lambda: Vector(["two"]),  # type: ignore[list-item]
    lambda: HalfVector([1, None]),  # type: ignore[list-item]
    lambda: Vector.from_text("[1,2e]"),
    lambda: SparseVector.from_text("{1.5:1}/3"),
    lambda: SparseVector({"a": 1}, 3),  # type: ignore[dict-item]
    lambda: Bit(["a"]),  # type: ignore[list-item]
    lambda: column_value(Vector, ["two"], 1, "Doc.embedding"),
    lambda: array_from_binary(b"x", bytes),
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows_one_traceback(mistake: Callable[[], object]) -> None:
    """The message has what the cause says."""
    with pytest.raises(InvalidVector) as caught:
        mistake()
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@both
def test_immutable(kind: Dense) -> None:
    v: Any = kind([1, 2])
    for name in ("_numbers", "_format", "new"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(v, name, 1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        del v._numbers
    with pytest.raises(TypeError):
        v[0] = 5
    assert not hasattr(v, "__dict__")
    assert v == [1, 2]


@both
def test_sequence(kind: Dense) -> None:
    v = kind([1, 2, 3, 2])
    assert isinstance(v, Sequence)
    assert (len(v), v.dimensions(), list(v), list(reversed(v))) == (4, 4, [1, 2, 3, 2], [2, 3, 2, 1])
    assert (v[0], v[-1], v[1:3], v[::-2], v[9:]) == (1, 2, [2, 3], [2, 2], [])
    assert (2 in v, 5 in v, v.count(2), v.index(3)) == (True, False, 2, 2)
    for index in (4, -5):
        with pytest.raises(IndexError):
            v[index]
    with pytest.raises(TypeError):
        v["0"]  # type: ignore[call-overload]
    with pytest.raises(ValueError):  # noqa: PT011  (Sequence.index raises it without a message)
        v.index(9)


@both
def test_repr(kind: Dense) -> None:
    v = kind([1, 2.5, 3])
    assert repr(v) == f"{kind.__name__}([1.0, 2.5, 3.0])"
    assert str(v) == f"{v}" == "[1,2.5,3]"


@both
def test_repr_of_a_long_one(kind: Dense) -> None:
    v = kind([1, 2.5, 3, 4, *range(1_532)])
    assert repr(v) == f"{kind.__name__}([1.0, 2.5, 3.0, 4.0, ...], 1,536 items)"
    assert repr(kind(range(16))).endswith("14.0, 15.0])")


@both
def test_to_list_is_a_new_list(kind: Dense) -> None:
    v = kind([1, 2])
    v.to_list().append(3)
    assert v.to_list() == [1, 2]


@both
def test_equality(kind: Dense) -> None:
    v = kind([0.1, 0.2])
    assert v == kind([0.1, 0.2])
    assert v == [0.1, 0.2]
    assert [0.1, 0.2] == v  # noqa: SIM300
    assert v == (0.1, 0.2)
    assert v == [Decimal("0.1"), np.float32(0.2)]
    assert v != kind([0.1, 0.3])
    assert kind([0.0]) == kind([-0.0])
    assert hash(kind([0.0])) == hash(kind([-0.0]))
    assert {v: 1}[kind(v.to_list())] == 1
    others: list[Any] = [[0.1], [], [0.1, 0.2, 0.3], [0.1, "a"], [0.1, None], [0.1, math.nan], [0.1, 1e99]]
    others += [None, 0.1, "[0.1,0.2]", {0.1, 0.2}, [0.1, [0.2]], [np.ones(2), np.ones(2)], [0.1, 10**400]]
    for other in others:
        assert v != other


def test_classes_are_unequal() -> None:
    values = [Vector([1, 0]), HalfVector([1, 0]), SparseVector([1, 0]), Bit("10")]
    for i, a in enumerate(values):
        assert [a == b for b in values] == [i == j for j in range(4)]


@both
def test_coerce(kind: Dense) -> None:
    v = kind([1, 2])
    assert kind.coerce(v) is v
    assert kind(v) is v
    assert kind.coerce([1, 2]) == v
    assert type(Vector.coerce(HalfVector([1]))) is Vector
    with pytest.raises(InvalidVector):
        kind.coerce("x")


@both
def test_subclasses_keep_their_class(kind: Dense) -> None:
    class Mine(kind):  # type: ignore[misc, valid-type]
        __slots__ = ()

    v = Mine([3, 4])
    assert type(v.normalized()) is type(Mine.from_text("[1]")) is Mine
    assert repr(v) == "Mine([3.0, 4.0])"
    assert v == kind([3, 4])
    assert kind.coerce(v) is v


@both
def test_normalized(kind: Dense) -> None:
    assert kind([3, 4]).normalized() == [0.6, 0.8]
    assert kind([0, -2]).normalized() == [0, -1]
    assert math.hypot(*kind([1] * 7).normalized()) == pytest.approx(1, abs=1e-3)
    with pytest.raises(InvalidVector, match="got only zeros"):
        kind([0, -0.0]).normalized()


def test_normalized_does_not_overflow() -> None:
    assert Vector([3e38, 0, 0]).normalized() == [1, 0, 0]
    assert Vector([1e-45, 0]).normalized() == [1, 0]
    assert HalfVector([65504] * 2).normalized() == [math.sqrt(0.5)] * 2
