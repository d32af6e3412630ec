"""Bit without NumPy values."""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from asyncpg import BitString
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import InvalidVector
from lightvec.types import Bit, Vector

TEXTS = st.text("01", min_size=1, max_size=70)


@given(TEXTS)
def test_round_trips(text: str) -> None:
    bits = Bit(text)
    data = bits.to_binary()
    assert data[:4] == struct.pack(">i", len(text))
    assert bits.to_text() == text
    assert list(bits) == bits.to_list() == [bits[i] for i in range(len(text))] == [c == "1" for c in text]
    others = [Bit.from_text(text), Bit(bits.to_list()), copy.copy(bits), copy.deepcopy(bits)]
    others += [Bit.from_binary(buffer) for buffer in (data, bytearray(data), memoryview(b"-" + data)[1:])]
    others += [pickle.loads(pickle.dumps(bits, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in others:
        assert type(other) is Bit
        assert other == bits == text
        assert other.to_binary() == data
        assert hash(other) == hash(bits) == hash(text)


@given(st.binary(min_size=1, max_size=9))
def test_bytes_are_eight_bits_each(data: bytes) -> None:
    bits = Bit(data)
    assert bits.to_text() == "".join(f"{byte:08b}" for byte in data)
    assert bits == Bit(bytearray(data)) == Bit(memoryview(data))


@given(st.binary(max_size=12))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        bits = Bit.from_binary(data)
    except InvalidVector:
        return
    assert bits.to_binary() == data


@given(st.integers(-3, 40), st.binary(max_size=6))
def test_any_length_decodes_or_is_refused(length: int, body: bytes) -> None:
    data = struct.pack(">i", length) + body
    size = (length + 7) // 8
    if length > 0 and len(body) == size and int.from_bytes(body, "big") % (1 << (size * 8 - length)) == 0:
        assert Bit.from_binary(data).to_binary() == data
    else:
        with pytest.raises(InvalidVector):
            Bit.from_binary(data)


def test_exact_bytes() -> None:
    assert Bit("101").to_binary() == bytes.fromhex("00000003 a0")
    assert Bit(b"\xff\x01").to_binary() == bytes.fromhex("00000010 ff01")
    assert Bit("100000001").to_binary() == bytes.fromhex("00000009 8080")


def test_sources() -> None:
    sources: list[Any] = ["101", [True, False, True], (True, False, True), [np.True_, False, np.bool_(True)]]
    sources += [Bit("101"), (number > 0 for number in (1, -1, 1))]
    for source in sources:
        assert Bit(source).to_list() == [True, False, True]
    assert all(type(bit) is bool for bit in Bit("10"))


REFUSED: list[Any] = [
    "",
    "201",
    " 101",
    "10 1",
    "\u0661",
    "1_0",
    b"",
    [],
    None,
    5,
    True,
    [True, None],
    [254, 7, 0],
]
REFUSED += [[[True]], ["1", "0"], [0.5], {True: 1}, {True}, Vector([1, 2]), object()]


@pytest.mark.parametrize("value", REFUSED)
def test_refused(value: Any) -> None:
    with pytest.raises(InvalidVector) as caught:
        Bit(value)
    assert str(caught.value).startswith("Bit expected")
    assert len(str(caught.value)) < 200


def test_errors_name_the_place() -> None:
    with pytest.raises(InvalidVector, match=r"only 0 and 1 and got '2' \(str\) at index 3"):
        Bit("1012" + "0" * 1000)
    with pytest.raises(InvalidVector, match=r"a bool at index 1 and got 2 \(int\)"):
        Bit([True, 2])  # type: ignore[list-item]


def test_numbers_equal_to_bools_are_bits() -> None:
    """As in pgvector's Python package."""
    assert Bit([1, 0, 1]) == Bit("101")  # type: ignore[list-item]


@pytest.mark.parametrize("value", ["", "2", " 1", "1\n", "B101", "x1F", "0b1", None, 5, b"101", [True]])
def test_malformed_texts(value: Any) -> None:
    with pytest.raises(InvalidVector, match="from_text expected"):
        Bit.from_text(value)


BAD_BYTES = {
    "empty": b"",
    "short header": bytes(3),
    "no bits": bytes(4),
    "negative": b"\xff\xff\xff\xff",
    "too many": struct.pack(">i", 83_886_081) + b"\0",
    "lying length": struct.pack(">i", 83_886_080) + b"\0",
    "trailing byte": struct.pack(">i", 3) + b"\xa0\0",
    "missing byte": struct.pack(">i", 9) + b"\xa0",
    "padding": struct.pack(">i", 3) + b"\xb0",
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_malformed_bytes(data: bytes) -> None:
    with pytest.raises(InvalidVector, match=r"^Bit\.from_binary expected"):
        Bit.from_binary(data)
    with pytest.raises(InvalidVector, match="expected bytes, bytearray or memoryview"):
        Bit.from_binary("101")  # type: ignore[arg-type]


def test_limit() -> None:
    longest = Bit(bytes(10_485_760))
    assert len(longest) == 83_886_080
    assert Bit.from_binary(longest.to_binary()) == longest
    with pytest.raises(InvalidVector, match="1 to 83,886,080 bits and got 83,886,088"):
        Bit(bytes(10_485_761))


def test_immutable() -> None:
    bits: Any = Bit("101")
    for name in ("_data", "_length", "new"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(bits, name, 1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        del bits._data
    source = bytearray(b"\xff")
    kept = Bit(source)
    source[0] = 0
    assert kept == "11111111"
    assert not hasattr(bits, "__dict__")


def test_sequence() -> None:
    bits = Bit("1101")
    assert isinstance(bits, Sequence)
    assert (len(bits), bits.dimensions(), bits[0], bits[-2], bits[1:], bits[9:]) == (
        *(4, 4, True, False),
        *([True, False, True], []),
    )
    assert list(reversed(bits)) == [True, False, True, True]
    assert (False in bits, bits.count(True), bits.index(False)) == (True, 3, 2)
    with pytest.raises(IndexError):
        bits[4]
    with pytest.raises(TypeError):
        bits["0"]  # type: ignore[call-overload]


def test_repr() -> None:
    assert (repr(Bit("101")), str(Bit("101"))) == ("Bit(101)", "101")
    assert repr(Bit("10" * 32)) == f"Bit({'10' * 32})"
    assert repr(Bit("10" * 768)) == f"Bit({'10' * 32}..., 1,536 bits)"


def test_equality() -> None:
    bits = Bit("101")
    assert bits == Bit([True, False, True])
    assert bits == "101"
    assert bits == [True, False, True]
    assert bits == (True, False, True)
    assert {bits: 1}["101"] == 1  # type: ignore[index]
    assert Bit("1") != Bit("10")
    others: list[Any] = ["1010", "10x", [True], [1, 0, 2], [np.ones(2)] * 3, None, 5, b"\xa0", 0b101]
    for other in others:
        assert bits != other


def bits_of(text: str) -> bytes:
    return Bit(text).to_binary()[4:]


def test_a_bit_string_of_asyncpg() -> None:
    for text in ("1", "101", "1010", "101011", "1" * 9):
        theirs: Any = BitString.frombytes(bits_of(text), len(text))
        assert Bit(theirs) == text
        assert Bit(text) == theirs
        assert theirs == Bit(text)
        assert Bit(text + "0") != theirs


def test_coerce() -> None:
    bits = Bit("101")
    assert Bit.coerce(bits) is bits
    assert Bit(bits) is bits
    assert Bit.coerce("101") == bits
