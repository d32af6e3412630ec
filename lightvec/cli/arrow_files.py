"""Files that PyArrow reads: Parquet, and Arrow's own format, which is Feather."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lightvec.cli.files import NumberedRows, Rows, check_headings
from lightvec.errors import InvalidOption, MissingExtra, SchemaMismatch

#: Rows converted at once.
_BATCH = 1_024

#: How Arrow's streams begin, such as those of Hugging Face's data sets; other files have a name.
_STREAM = b"\xff\xff\xff\xff"


def arrow_rows(path: Path, format: str, is_loaded: Callable[[str], bool]) -> Rows:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("parquet", f"reading {path.name}") from error
    is_stream = False
    kind = "a Parquet" if format == "parquet" else "an Arrow"
    try:
        if format == "parquet":
            file = pyarrow.parquet.ParquetFile(path)
            schema, count = file.schema_arrow, file.metadata.num_rows
        else:
            source = pyarrow.memory_map(str(path))
            is_stream = source.read(len(_STREAM)) == _STREAM
            source.seek(0)
            file = (pyarrow.ipc.open_stream if is_stream else pyarrow.ipc.open_file)(source)
            schema, count = file.schema, 0
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidOption(f"{path}: expected {kind} file: {error}") from error
    check_headings(schema.names, path)
    names = [name for name in schema.names if is_loaded(name)]

    def batches() -> Iterator[Any]:
        if format == "parquet":
            # A dot in a name would mean a column inside another one.
            columns = None if any("." in name for name in names) else names
            yield from file.iter_batches(_BATCH, columns=columns)
            return
        numbers = range(getattr(file, "num_record_batches", 0))
        # A stream is read in turn, and does not know how many it has.
        for batch in file if is_stream else map(file.get_batch, numbers):
            yield from (batch.slice(start, _BATCH) for start in range(0, len(batch), _BATCH))

    def rows() -> NumberedRows:
        number = 0
        try:
            for batch in batches():
                found = (batch.column(batch.schema.get_field_index(name)) for name in names)
                columns = [_values(pyarrow, column) for column in found]
                for row in zip(*columns, strict=True):
                    number += 1
                    yield number, dict(zip(names, row, strict=True))
        except (pyarrow.ArrowException, OSError) as error:
            raise InvalidOption(
                f"{path}, after row {number:,}: expected a whole {kind.split()[1]} file: {error}"
            ) from error

    return Rows(
        path,
        rows(),
        getattr(file, "close", lambda: None),
        lambda done: done / count if count else None,
        names=names,
        is_binary=True,
    )


def _values(pyarrow: Any, column: Any) -> Sequence[Any]:
    kind, types = column.type, pyarrow.types
    if _is_list(types, kind) and types.is_floating(kind.value_type):
        return _vectors(column)
    if types.is_timestamp(kind):
        # Python has no nanoseconds, and of time zones only UTC is sure to be there.
        column = column.cast(pyarrow.timestamp("us", "UTC" if kind.tz else None), safe=False)
    values: list[Any] = column.to_pylist()
    if types.is_nested(kind):
        return [_with_objects(types, kind, value) for value in values]
    return values


def _is_list(types: Any, kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _with_objects(types: Any, kind: Any, value: Any) -> Any:
    """With maps, which PyArrow gives as pairs, as objects."""
    if value is None or not types.is_nested(kind):
        return value
    if types.is_map(kind):
        return {_name(key): _with_objects(types, kind.item_type, item) for key, item in value}
    if types.is_struct(kind):
        return {field.name: _with_objects(types, field.type, value[field.name]) for field in kind}
    if _is_list(types, kind):
        return [_with_objects(types, kind.value_type, item) for item in value]
    return value


def _name(key: Any) -> str:
    """A map's key as the name in an object."""
    if isinstance(key, bytes):
        raise SchemaMismatch("expected texts as keys of a map, got bytes: leave them out")
    return str(key)


def _vectors(column: Any) -> Sequence[Any]:
    try:
        import numpy  # noqa: F401  (to_numpy needs it)
    except ImportError:
        return list(column.to_pylist())
    values = column.flatten()
    lengths = {*column.value_lengths().to_pylist()}
    if column.null_count or values.null_count or len(lengths) != 1:
        return list(column.to_pylist())
    rows: Sequence[Any] = values.to_numpy(zero_copy_only=False).reshape(len(column), *lengths)
    return rows
