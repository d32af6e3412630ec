"""Values of other libraries: arrays of one dimension are vectors, everything that iterates over labels is refused."""

from __future__ import annotations

from collections import Counter, UserDict, deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
import xarray

from lightvec.errors import InvalidVector
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.columns import binary_encoder, field_encoder

NUMBERS = [1.5, 0.0, 2.0]


class Tensor:
    """As PyTorch's: an array protocol that can fail, and items that are tensors without dimensions."""

    def __init__(self, numbers: Any, failure: type[Exception] | None = None) -> None:
        self._numbers = np.asarray(numbers, np.float32)
        self._failure = failure

    @property
    def ndim(self) -> int:
        return self._numbers.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        return self._numbers.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self._failure is not None:
            raise self._failure("call .detach() first")
        return self._numbers

    def __iter__(self) -> Iterator[Any]:
        return (Tensor(number) for number in self._numbers)

    def __float__(self) -> float:
        return float(self._numbers)


class OnlyAnArray:
    """What iterates over something else than its array."""

    def __init__(self, numbers: Any) -> None:
        self._numbers = numbers

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self._numbers, np.float64)

    def __iter__(self) -> Iterator[int]:
        return iter(range(99))


class Frame:
    """As a DataFrame: two dimensions, and the labels of its columns as items."""

    def __init__(self, rows: list[list[float]]) -> None:
        self._rows = rows
        self.shape = (len(rows), len(rows[0]))
        self.ndim = 2

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def columns(self) -> list[int]:
        return list(self)

    @property
    def iloc(self) -> list[list[float]]:
        return self._rows


class Shaped(Frame):
    """A table that says its shape only, as PyArrow's and Polars'."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__(rows)
        del self.ndim


def fixed(rows: list[list[float]], type_: Any) -> Any:
    return pa.array(rows, pa.list_(type_, len(rows[0])))


VECTORS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: Tensor(NUMBERS),
    "tensor with a gradient": lambda: Tensor(NUMBERS, RuntimeError),
    "tensor of another device": lambda: Tensor(NUMBERS, TypeError),
    "array protocol": lambda: OnlyAnArray(NUMBERS),
    "pyarrow array": lambda: pa.array(NUMBERS),
    "pyarrow array of floats": lambda: pa.array(NUMBERS, pa.float32()),
    "pyarrow chunked array": lambda: pa.chunked_array([NUMBERS[:1], NUMBERS[1:]]),
    "pyarrow row": lambda: fixed([NUMBERS], pa.float32())[0],
    "pyarrow values": lambda: fixed([NUMBERS], pa.float64())[0].values,
    "generator": lambda: (number for number in NUMBERS),
    "deque": lambda: deque(NUMBERS),
}

NONE: dict[str, Callable[[], Any]] = {
    "frame of one row": lambda: Frame([NUMBERS]),
    "frame of one column": lambda: Frame([[number] for number in NUMBERS]),
    "table that says its shape": lambda: Shaped([NUMBERS]),
    "matrix of one row": lambda: np.array([NUMBERS]),
    "tensor of one row": lambda: Tensor([NUMBERS]),
    "tensor of one row with a gradient": lambda: Tensor([NUMBERS], RuntimeError),
    "array protocol of one row": lambda: OnlyAnArray([NUMBERS]),
    "array protocol without dimensions": lambda: OnlyAnArray(1.5),
    "memoryview of one row": lambda: memoryview(np.array([NUMBERS]).data),
    "pyarrow table": lambda: pa.table({"a": NUMBERS}),
    "pyarrow batch": lambda: pa.RecordBatch.from_pydict({"a": NUMBERS}),
    "pyarrow column of lists": lambda: fixed([NUMBERS], pa.float32()),
    "pyarrow struct": lambda: pa.array([{"a": 1.5}])[0],
    "pyarrow NULL": lambda: pa.array([None, NUMBERS])[0],
    "pyarrow array with NULL": lambda: pa.array([1.5, None]),
    "pyarrow array of text": lambda: pa.array(["1", "2"]),
    "pyarrow text": lambda: pa.scalar("12"),
    "dict": lambda: {0: 1.5, 1: 2.0},
    "dict's keys": lambda: {0: 1.5, 1: 2.0}.keys(),
    "dict's values": lambda: {0: 1.5, 1: 2.0}.values(),
    "dict's items": lambda: {0: 1.5, 1: 2.0}.items(),
    "counter": lambda: Counter([1, 2, 2]),
    "user's dict": lambda: UserDict({0: 1.5}),
    "set": lambda: {1.5, 2.0},
    "frozenset": lambda: frozenset([1.5]),
    "text": lambda: "12",
    "bytes": lambda: b"\1\2",
    "namespace": lambda: SimpleNamespace(a=1.5),
}

KINDS: list[Any] = [Vector, HalfVector, SparseVector]


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_a_vector(kind: Any, name: str) -> None:
    assert kind(VECTORS[name]()).to_list() == kind.coerce(VECTORS[name]()).to_list() == NUMBERS
    column = {Vector: "vector", HalfVector: "halfvec", SparseVector: "sparsevec"}[kind]
    expected = kind(NUMBERS).to_binary()
    assert binary_encoder(column)(VECTORS[name]()) == expected
    assert field_encoder(column, 3)(VECTORS[name]())[4:] == expected


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_none(kind: Any, name: str) -> None:
    for refuse in (kind, binary_encoder({Vector: "vector", HalfVector: "halfvec"}.get(kind, "sparsevec"))):
        with pytest.raises(InvalidVector) as caught:
            refuse(NONE[name]()) if refuse is kind else refuse([NONE[name]()])
        assert str(caught.value).startswith(kind.__name__)
        assert "\n" not in str(caught.value)


def test_bits() -> None:
    bits: list[Any] = [pa.array([True, False]), pa.array([1, 0]), OnlyAnArray([1, 0])]
    for value in (*bits, pa.array([[True, False]])[0]):
        assert Bit(value) == "10"
    for name in ("frame of one row", "pyarrow table", "dict's keys", "matrix of one row", "pyarrow NULL"):
        with pytest.raises(InvalidVector, match=r"^Bit expected"):
            Bit(NONE[name]())


def test_the_error_of_a_frame_says_what_to_pass() -> None:
    expected = r"^Vector expected one dimension of numbers and got 2 \(Frame\): pass one row, such as \.iloc\[0\]\.$"
    with pytest.raises(InvalidVector, match=expected):
        Vector(Frame([NUMBERS]))


def test_a_pyarrow_array_needs_no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutNumpy(OnlyAnArray):
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise ModuleNotFoundError("numpy")

        def __iter__(self) -> Iterator[Any]:
            return iter(self._numbers)

    assert Vector(WithoutNumpy(NUMBERS)) == NUMBERS


def test_pandas() -> None:
    frame = pandas.DataFrame([[0.1, 0.2, 0.3], NUMBERS])
    for kind in KINDS:
        for dtype in ("float64", "Float64", "float32[pyarrow]", "object", "Int64"):
            series = pandas.Series([1, 0, 2], dtype=dtype)
            assert kind(series).to_list() == series.tolist()
        for refused in (frame, frame.iloc[[1]], frame[[0]], frame.groupby(0), frame.T, pandas.Series(["a"])):
            with pytest.raises(InvalidVector):
                kind(refused)
        for missing in (pandas.Series([1, None]), pandas.Series([1, None], dtype="Float64")):
            with pytest.raises(InvalidVector, match="at index 1"):
                kind(missing)


def test_polars_and_xarray() -> None:
    for kind in KINDS:
        assert kind(polars.Series(NUMBERS)).to_list() == NUMBERS
        assert kind(xarray.DataArray(NUMBERS)).to_list() == NUMBERS
        for refused in (
            polars.DataFrame([NUMBERS]),
            xarray.DataArray([NUMBERS]),
            xarray.Dataset({"a": ("x", NUMBERS)}),
        ):
            with pytest.raises(InvalidVector):
                kind(refused)


@pytest.mark.parametrize("kind", [Vector, HalfVector, SparseVector])
@pytest.mark.parametrize(
    "value",
    [
        pandas.Series(np.array(["2020", "2021"], "M8[ns]")),
        pandas.Series(np.array([1, 2], "m8[ns]")),
        pa.array([1, 2], pa.timestamp("ns")),
        polars.Series([1, 2]).cast(polars.Duration("ns")),
        xarray.DataArray(np.array(["2020", "2021"], "M8[ns]")),
        pa.scalar(b"abc"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_times_and_bytes_are_no_numbers(kind: type[Any], value: Any) -> None:
    """NumPy gives nanoseconds as integers, and bytes iterate over integers."""
    with pytest.raises(InvalidVector):
        kind(value)
