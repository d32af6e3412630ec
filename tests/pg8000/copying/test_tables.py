"""DataFrames and tables are no rows and no columns: iterating them gives labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from lightvec.pg8000 import Connection
from lightvec.pg8000.exceptions import DataError, InterfaceError


class Frame:
    """As a pandas DataFrame whose labels, with two levels, look like rows."""

    columns = ((1, 2), (3, 4))
    shape = (2, 2)
    ndim = 2

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __len__(self) -> int:
        return 2


TABLES: dict[str, Callable[[], Any]] = {
    "frame": Frame,
    "pyarrow table": lambda: pa.table({"a": [1, 2], "b": [3, 4]}),
    "pyarrow batch": lambda: pa.RecordBatch.from_pydict({"a": [1, 2], "b": [3, 4]}),
}


@pytest.fixture(autouse=True)
def pairs(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE pair (a int, b int); CREATE TEMPORARY TABLE point (a int, e vector(2))")


@pytest.mark.parametrize("name", TABLES)
def test_tables(conn: Connection, name: str) -> None:
    table = TABLES[name]()
    expected = r"expected an iterable of rows, got a \w+: pass its rows, such as \.itertuples"
    with pytest.raises(InterfaceError, match=expected):
        conn.copy_rows("pair", ["a", "b"], table)
    with pytest.raises(DataError, match=r"row 1: expected 2 values \(a, b\) in a list or tuple"):
        conn.copy_rows("pair", ["a", "b"], [table])
    with pytest.raises(DataError, match="column 'e': expected a list or an array"):
        conn.copy_columns("point", {"a": [1, 2], "e": table})
    assert conn.run("SELECT FROM pair UNION ALL SELECT FROM point") == []


def test_sets_have_no_order(conn: Connection) -> None:
    for values in ({1, 2}, frozenset([1, 2])):
        with pytest.raises(DataError, match="column 'b': expected a list or an array"):
            conn.copy_columns("pair", {"a": [1, 2], "b": values})
    assert conn.copy_columns("pair", {"a": {1: 3, 2: 4}.keys(), "b": {1: 3, 2: 4}.values()}) == 2
    assert conn.run("SELECT * FROM pair") == [[1, 3], [2, 4]]


def test_columns_and_parameters_of_pyarrow(conn: Connection) -> None:
    rows = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    assert conn.copy_columns("point", {"a": pa.array([1, 2]), "e": rows}) == 2
    assert conn.run("SELECT a FROM point WHERE e = :e", e=rows[1].values) == [[2]]
    assert conn.run("SELECT a FROM point ORDER BY e <-> :e LIMIT 1", e=pa.chunked_array([[1.0], [2]])) == [[1]]
