"""Arrays in binary, and the bytes that are none."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec import Vector
from lightvec.errors import InvalidVector
from lightvec.types.arrays import array_from_binary, array_to_binary, field

V = Vector([1, 2])


def encoded(value: Any) -> bytes:
    return array_to_binary(value, lambda item: field(Vector.coerce(item).to_binary()), 7, of_vectors=True)


WHOLE = encoded([[V, None], [V, V]])


def test_the_bytes() -> None:
    head = "00000002 00000001 00000007 00000002 00000001 00000002 00000001"
    element = "0000000c 0002 0000 3f800000 40000000"
    assert bytes.fromhex(f"{head} {element} ffffffff {element} {element}") == WHOLE
    assert encoded([]) == bytes.fromhex("00000000 00000000 00000007")


@pytest.mark.parametrize("value", [[], [V], [None], [V, None], [[V], [None]], [[[[[[V]]]]]]])
def test_there_and_back(value: Any) -> None:
    assert array_from_binary(encoded(value), Vector.from_binary) == value


@pytest.mark.parametrize("number", [1, 1.0, True, Fraction(1), Decimal(1), np.float32(1), np.int8(1)])
def test_a_list_of_numbers_is_an_element(number: Any) -> None:
    assert encoded([[number, 2], None]) == encoded([V, None])
    assert encoded(((number, 2), [1, 2])) == encoded([V, V])


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_bytes_that_are_cut(end: int) -> None:
    with pytest.raises(InvalidVector):
        array_from_binary(WHOLE[:end], Vector.from_binary)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.hex() + "00",
        "ffffffff 00000000 00000007",  # dimensions below none
        "00000007 00000000 00000007" + "00000001 00000001" * 7 + "ffffffff",  # more than there can be
        "00000001 00000000 00000007 ffffffff 00000001",
        "00000001 00000000 00000007 00000000 00000001",
        "00000002 00000000 00000007 7fffffff 00000001 7fffffff 00000001 ffffffff",
        "00000001 00000001 00000007 00000001 00000001 fffffffe",
    ],
)
def test_bytes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidVector, match="expected the bytes of an array"):
        array_from_binary(bytes.fromhex(text), Vector.from_binary)


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    try:
        array_from_binary(data, Vector.from_binary)
    except InvalidVector:
        return
    assert len(data) >= 12


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (V, TypeError),
        ([1, 2], TypeError),
        (1, TypeError),
        ([[V], [V, V]], ValueError),
        ([[V], V], ValueError),
        ([[[[[[[V]]]]]]], ValueError),
    ],
)
def test_lists_that_are_none(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encoded(value)
