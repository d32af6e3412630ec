"""DataFrames and tables are no rows and no columns: iterating them gives labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import polars
import pyarrow as pa
import pyarrow.dataset
import pytest

from lightvec import Vector
from lightvec.errors import InvalidVector
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


def lazy_tables() -> dict[str, tuple[Any, str]]:
    table = pa.table({"a": [1, 2], "b": [3, 4]})
    dataset = pyarrow.dataset.dataset(table)
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    return {
        "polars": (polars.LazyFrame({"a": [1, 2]}), "LazyFrame: call its .collect() first"),
        "dataset": (dataset, "InMemoryDataset: call its .to_table() first"),
        "scanner": (dataset.scanner(), "Scanner: call its .to_table() first"),
        "reader": (reader, "RecordBatchReader: call its .read_all() first"),
    }


@pytest.mark.parametrize("name", lazy_tables())
def test_tables_that_are_not_read(conn: Connection, name: str) -> None:
    table, told = lazy_tables()[name]
    match = re.escape(f"an unread {told}")
    with pytest.raises(InterfaceError, match=match):
        conn.copy_rows("pair", ["a", "b"], table)
    with pytest.raises(InterfaceError, match=match):
        conn.copy_columns("pair", table)
    with pytest.raises(DataError, match=match):
        conn.copy_columns("pair", {"a": [1, 2], "b": table})
    with pytest.raises(InvalidVector, match=match):
        Vector(table)
    assert conn.run("SELECT FROM pair") == []


def test_batches_are_no_rows(conn: Connection) -> None:
    batches = (batch for batch in pa.table({"a": [1, 2], "b": [3, 4]}).to_batches())
    with pytest.raises(DataError, match=r"row 1: expected 2 values \(a, b\) in a list or tuple"):
        conn.copy_rows("pair", ["a", "b"], batches)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.int64())])
def test_a_row_of_a_column_of_lists_is_a_vector(conn: Connection, kind: Any) -> None:
    scalar = pa.array([[1, 2]], kind)[0]
    assert conn.run("SELECT :v", v=scalar) == [[Vector([1, 2])]]
    assert Vector(scalar) == [1, 2]
    assert conn.copy_rows("point", ["a", "e"], [(pa.scalar(3), scalar)]) == 1
    assert conn.run("SELECT a, e FROM point WHERE a = :a", a=pa.scalar(3)) == [[3, Vector([1, 2])]]
    assert conn.run("SELECT :v::int", v=pa.scalar(None, kind)) == [[None]]
