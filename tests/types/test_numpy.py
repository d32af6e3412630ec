"""What the types take from NumPy and SciPy, and what they give back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import InvalidVector
from lightvec.types import Bit, HalfVector, SparseVector, Vector

dense = pytest.mark.parametrize(("kind", "dtype"), [(Vector, np.float32), (HalfVector, np.float16)])
DTYPES = ["f2", "f4", "f8", ">f2", ">f4", ">f8", "<f4", "g", "i1", "i8", ">i4", "u1", "u8", "?", "O"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Vector, HalfVector, SparseVector])
def test_dtypes_and_strides(kind: Any, dtype: str) -> None:
    source = np.array([1, 0, 1, 1, 0, 0]).astype(dtype)
    for value in (source, source[::2], source[::-1], np.stack([source, source], axis=1)[:, 0]):
        v = kind(value)
        assert v.to_list() == value.astype(float).tolist()
        assert kind.from_binary(v.to_binary()) == v


@dense
def test_refused_arrays(kind: Any, dtype: Any) -> None:
    refused = [
        np.zeros(0),
        np.zeros((1, 2)),
        np.array(1.0),
        np.zeros(16_001),
        np.array(["1"]),
        np.array([1j]),
    ]
    refused += [np.array([b"1"]), np.array(["2020-01-01"], "M8[D]"), np.array([None]), np.array([[1], [2]])]
    for value in refused:
        with pytest.raises(InvalidVector, match=f"^{kind.__name__} expected"):
            kind(value)
    for number in (np.nan, np.inf, -np.inf):
        with pytest.raises(InvalidVector, match=r"a finite number at index 1 and got -?(nan|inf) \(float\)"):
            kind(np.array([1, number]))
        with pytest.raises(InvalidVector, match="a finite number at index 1"):
            kind(np.array([1, number], dtype))
    with pytest.raises(InvalidVector, match=r"1e\+39 \(float\) at index 1, which does not fit"):
        kind(np.array([1, 1e39]))


def test_half_overflow() -> None:
    for value in (np.array([1, 70000]), np.array([1, 70000.0], np.float32), np.array([1, 70000], np.uint32)):
        with pytest.raises(InvalidVector, match=r"got 70000.* at index 1, which does not fit halfvec"):
            HalfVector(value)


def test_callers_error_state_does_not_matter() -> None:
    with np.errstate(all="raise"):
        assert Vector(np.array([1e-50, 1e-40])).to_list()[0] == 0
        with pytest.raises(InvalidVector, match="does not fit"):
            Vector(np.array([1e39]))


@dense
def test_asarray_copies_nothing(kind: Any, dtype: Any) -> None:
    v = kind([1, 2, 3])
    first, second = np.asarray(v), np.asarray(v)
    assert (first.dtype, first.shape) == (dtype, (3,))
    assert np.shares_memory(first, second)
    assert np.shares_memory(first, v.__array__(copy=False))
    assert np.shares_memory(first, np.asarray(v, dtype))
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 9
    with pytest.raises(ValueError, match="WRITEABLE"):
        first.flags.writeable = True
    assert v == [1, 2, 3]


@dense
def test_array_copies_when_asked(kind: Any, dtype: Any) -> None:
    v = kind([1, 2, 3])
    for made in (np.array(v), v.__array__(copy=True), v.to_numpy(), np.asarray(v, np.float64), v.to_numpy()):
        made[0] = 9
        assert made.tolist() == [9, 2, 3]
        assert v == [1, 2, 3]
    assert v.to_numpy().dtype == dtype
    assert np.asarray(v, "i4").dtype == np.int32
    with pytest.raises(ValueError, match="without a copy"):
        v.__array__(np.float64, copy=False)


@dense
def test_numpy_compares_item_by_item(kind: Any, dtype: Any) -> None:
    v, values = kind([1, 2]), np.array([1, 3], dtype)
    assert (v == values).tolist() == (values == v).tolist() == [True, False]
    assert np.stack([v, v]).tolist() == [[1, 2], [1, 2]]
    assert float(np.dot(v, v)) == 5


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_list_and_array_agree(numbers: list[float]) -> None:
    expected = Vector(numbers).to_binary()
    assert Vector(np.array(numbers)).to_binary() == expected
    assert Vector(np.array(numbers, "f4")).to_binary() == expected
    assert SparseVector(np.array(numbers)) == SparseVector(numbers)
    assert Vector(np.array([Decimal(number) for number in numbers])).to_binary() == expected


@given(st.lists(st.floats(-65000, 65000), min_size=1, max_size=30))
def test_halves_of_list_and_array_agree(numbers: list[float]) -> None:
    assert HalfVector(np.array(numbers)).to_binary() == HalfVector(numbers).to_binary()


SCIPY = [
    sp.coo_array,
    sp.coo_matrix,
    sp.csr_array,
    sp.csr_matrix,
    sp.csc_array,
    sp.csc_matrix,
    sp.dok_array,
    sp.dok_matrix,
    sp.lil_array,
    sp.lil_matrix,
    sp.bsr_array,
    sp.dia_array,
]


@pytest.mark.parametrize("made", SCIPY)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?"])
def test_scipy(made: Any, dtype: str) -> None:
    row = np.array([[0, 1, 0, 0, 1, 0]], dtype)
    v = SparseVector(made(row))
    assert (v.indices(), v.values(), len(v)) == ([1, 4], [1, 1], 6)


def test_scipy_of_one_dimension() -> None:
    for made in (sp.coo_array, sp.csr_array, sp.dok_array):
        assert SparseVector(made(np.array([1.0, 0, 2]))) == [1, 0, 2]


def test_scipy_duplicates_order_and_zeros() -> None:
    entries = sp.coo_array(([1.0, 2.0, 5.0, 0.0, 1.0, -1.0], ([0] * 6, [4, 4, 1, 2, 0, 0])), shape=(1, 6))
    v = SparseVector(entries)
    assert (v.indices(), v.values()) == ([1, 4], [5, 3])
    assert entries.nnz == 6  # the caller's array is as it was


def test_scipy_refused() -> None:
    with pytest.raises(InvalidVector, match=r"one row and got the shape \(2, 3\)"):
        SparseVector(sp.csr_array(np.ones((2, 3))))
    with pytest.raises(InvalidVector, match=r"one row and got the shape \(3, 1\)"):
        SparseVector(sp.csr_array(np.ones((3, 1))))
    with pytest.raises(InvalidVector, match="real numbers and got the dtype complex128"):
        SparseVector(sp.csr_array(np.array([[1j]])))
    with pytest.raises(InvalidVector, match="a finite number at index 2 and got nan"):
        SparseVector(sp.csr_array(np.array([[0, 0, np.nan]])))
    with pytest.raises(InvalidVector, match="dimensions with a dict only"):
        SparseVector(sp.csr_array(np.ones((1, 3))), 3)
    with pytest.raises(InvalidVector, match="1,000,000,000 dimensions"):
        SparseVector(sp.coo_array((1, 2_000_000_000)))


def test_sparse_to_numpy_and_coo() -> None:
    v = SparseVector({1: 1.5, 4: 2}, 6)
    assert v.to_numpy().dtype == np.float32
    assert v.to_numpy().tolist() == np.asarray(v).tolist() == [0, 1.5, 0, 0, 2, 0]
    assert np.asarray(v, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="has to build its array"):
        v.__array__(copy=False)
    coo = v.to_coo()
    assert (coo.shape, coo.dtype, coo.toarray().tolist()) == ((1, 6), np.float32, [v.to_list()])
    assert SparseVector(coo) == v
    empty = SparseVector({}, 3)
    assert empty.to_numpy().tolist() == [0, 0, 0]
    assert SparseVector(empty.to_coo()) == empty


def test_sparse_of_large_array() -> None:
    values = np.zeros(1_000_000)
    values[[5, 999_999]] = 1, 2
    assert SparseVector(values) == SparseVector({5: 1, 999_999: 2}, 1_000_000)


def test_bit() -> None:
    assert Bit(np.array([True, False, True])) == "101"
    assert Bit(np.array([True, False, True, True])[::2]) == "11"
    assert Bit(np.unpackbits(np.array([254, 7], np.uint8))) == "1111111000000111"
    bits = Bit("10110011101")
    assert bits.to_numpy().dtype == np.asarray(bits).dtype == np.bool_
    assert bits.to_numpy().tolist() == np.asarray(bits).tolist() == bits.to_list()
    assert np.asarray(bits, np.uint8).tolist() == [int(bit) for bit in bits]
    assert np.equal(bits, np.asarray(bits)).all()
    made = bits.to_numpy()
    made[0] = False
    assert bits[0] is True
    with pytest.raises(ValueError, match="has to build its array"):
        bits.__array__(copy=False)


NO_BITS: list[Any] = [np.array([254, 7, 0], np.uint8), np.array([1, 0], np.uint16), np.array([1.0])]
NO_BITS += [np.array(True), np.array([[True]]), np.zeros(0, bool), np.zeros(0, np.uint8)]
NO_BITS += [np.array(["1"]), np.array([True], object)]


@pytest.mark.parametrize("value", NO_BITS)
def test_bit_refused(value: Any) -> None:
    with pytest.raises(InvalidVector, match=r"^Bit expected"):
        Bit(value)
