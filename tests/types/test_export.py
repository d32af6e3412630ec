"""What Python, PyArrow and pandas write of vectors is what ``lightvec load`` reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightvec.cli import main
from lightvec.pg8000 import connect
from lightvec.types import Bit, HalfVector, SparseVector, Vector

DENSE = [Vector([1.5, 0.1, -2]), HalfVector([1.5, 0.1, -2])]
VALUES: list[Any] = [*DENSE, SparseVector({0: 1.5, 2: 2}, 3), Bit("011")]
COLUMNS = {"v": "vector(3)", "h": "halfvec(3)", "s": "sparsevec(3)", "b": "bit(3)"}


def loaded(url: str, path: Path) -> list[Any]:
    with connect(url) as conn:
        declared = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        conn.run(f"DROP TABLE IF EXISTS exported; CREATE TABLE exported ({declared})")
        with pytest.raises(SystemExit) as leaving:
            main(["load", "exported", str(path), "--url", url])
        assert not leaving.value.code
        rows: list[Any] = conn.run("SELECT * FROM exported")
        conn.run("DROP TABLE exported")
    return rows


def test_str_in_csv(url: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, VALUES])
    assert loaded(url, path) == [VALUES]


@pytest.mark.parametrize("default", [str, list])
def test_json(url: str, tmp_path: Path, default: Any) -> None:
    path = tmp_path / "rows.jsonl"
    values = dict(zip(COLUMNS, VALUES, strict=True))
    if default is list:
        values |= {"b": str(values["b"])}
    path.write_text(json.dumps(values, default=default))
    assert loaded(url, path) == [VALUES]


def test_parquet(url: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    dense = {name: pa.array([value], pa.list_(pa.float32(), 3)) for name, value in zip("vh", DENSE, strict=True)}
    pq.write_table(pa.table({**dense, "s": [str(VALUES[2])], "b": [str(VALUES[3])]}), path)
    assert loaded(url, path) == [VALUES]


@pytest.mark.parametrize("vector", DENSE)
def test_pyarrow_reads_a_vector_without_a_copy(vector: Any) -> None:
    array = pa.array(vector)
    assert array.type == (pa.float16() if isinstance(vector, HalfVector) else pa.float32())
    assert array.to_pylist() == vector.to_list()
    assert pa.array(vector).buffers()[1].address == array.buffers()[1].address
    assert not array.buffers()[1].is_mutable
    assert pa.array(vector, pa.float64()).to_pylist() == vector.to_list()
    assert type(vector)(array) == vector


def test_pandas(url: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame([VALUES], columns=[*COLUMNS])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True, default_handler=str)
    numbers = pa.list_(pa.float32(), 3)
    schema = pa.schema({"v": numbers, "h": numbers, "s": pa.string(), "b": pa.string()})
    frame.astype({"s": str, "b": str}).to_parquet(tmp_path / "rows.parquet", schema=schema)
    for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
        assert loaded(url, tmp_path / name) == [VALUES]
    frame[["v", "h"]].to_json(tmp_path / "dense.jsonl", orient="records", lines=True, default_handler=list)
    assert loaded(url, tmp_path / "dense.jsonl") == [[*DENSE, None, None]]
