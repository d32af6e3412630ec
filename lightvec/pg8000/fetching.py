"""The rows of a query as columns: matrices and arrays where NumPy is installed, lists where it is not.

Rows of the same length follow each other in the read buffer, message by message. Seen as one structured array they are
decoded together: no Python work for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightvec.pg8000 import messages
from lightvec.pg8000.columns import ArrayColumn, ListColumn, array_column
from lightvec.pg8000.exceptions import InternalError
from lightvec.pg8000.formats import gives_rows
from lightvec.pg8000.messages import BINARY, DESCRIBE_PORTAL, DESCRIBE_STATEMENT, FLUSH, SYNC, TEXT, Parameter
from lightvec.pg8000.results import Result, split, unreadable
from lightvec.pg8000.streaming import sent_and_read

if TYPE_CHECKING:
    from lightvec.pg8000.wire import Wire

__all__ = ["fetch_columns"]

#: What comes before a DataRow's body: its code and its length.
_HEAD = 1 + 4


def fetch_columns(wire: Wire, statement: str, vals: Sequence[Any], oids: Sequence[int | None]) -> dict[str, Any]:
    """The columns of a query by name; see :meth:`lightvec.pg8000.Connection.fetch_columns`."""
    numpy = _numpy()
    if numpy is None or not gives_rows(statement):
        return _as_lists(wire.execute_unnamed(statement, vals, oids))
    wire.check_usable()
    wire.meet(vals)
    result = Result(statement, list)
    parameters = wire.parameters(vals, oids)
    columns: list[ArrayColumn | ListColumn] = []
    try:
        if _described(wire, result, parameters):
            columns = [_column(wire, numpy, description) for description in result.columns or ()]
            _fetch(wire, numpy, result, parameters, columns)
        else:
            wire.exchange(SYNC, [result])
    except BaseException:
        wire.close_unless_in_step()
        raise
    if result.error is not None:
        raise result.error
    return {column.name: column.values() for column in columns}


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _as_lists(result: Result) -> dict[str, list[Any]]:
    rows = result.rows or []
    return {column["name"]: [row[i] for row in rows] for i, column in enumerate(result.columns or ())}


def _described(wire: Wire, result: Result, parameters: Sequence[Parameter]) -> bool:
    """Prepare the statement and learn its columns, of which it may have none, in a round trip; False if it failed."""
    ahead = wire.ahead(result.statement, None)
    data = b"".join(each.data for each in ahead) + messages.parse(wire.encode(result.statement), parameters)
    results = [*(each.result for each in ahead), result]
    return sent_and_read(wire, data + DESCRIBE_STATEMENT + FLUSH, results, until=b"TnE") != b"E"


def _column(wire: Wire, numpy: Any, description: dict[str, Any]) -> ArrayColumn | ListColumn:
    # Asking now would prepare the question in place of the statement: the look-up went ahead of it.
    types = {oid: name for name, oid in wire.known_types.oids.items()}
    column = array_column(numpy, description, types.get(description["type_oid"]), wire.decoder)
    if column is not None:
        return column
    wanted = BINARY if wire.binary_formats_of([description]) else TEXT
    return ListColumn(description["name"], wire.decoder({**description, "format": wanted}), wanted)


def _fetch(
    wire: Wire,
    numpy: Any,
    result: Result,
    parameters: Sequence[Parameter],
    columns: list[ArrayColumn | ListColumn],
) -> None:
    """Run the statement that is prepared, and fill the columns; an error ends up in the result."""

    def take_run(run: memoryview, size: int) -> None:
        if result.error is not None:
            return
        try:
            _take_run(numpy, columns, run, size)
        except Exception as error:
            # Perhaps the value is part of a row that is none.
            for start in range(0, len(run), size):
                split(run[start + _HEAD : start + size], len(columns))
            result.error = unreadable(error)
        result.taken += len(run) // size

    formats = [column.format for column in columns]
    data = messages.bind(parameters, formats) + DESCRIBE_PORTAL + messages.execute() + SYNC
    code = wire.exchange(data, [result], until=b"TnE")
    described = (result.columns or ()) if code == b"T" else ()
    if result.error is None and formats != [column["format"] for column in described]:
        result.error = InternalError("the server sends columns in other formats than they were asked for")
    if result.error is not None:
        wire.exchange(b"", [result])
    else:
        wire.exchange(b"", [result], take_run=take_run)


def _take_run(numpy: Any, columns: list[ArrayColumn | ListColumn], run: memoryview, size: int) -> None:
    """Rows of one length: together, if their columns are of one length too and are numbers; else one by one."""
    layout = _layout(columns, run[:size])
    if layout is not None:
        rows = numpy.frombuffer(run, numpy.dtype({**layout, "itemsize": size}))
        alike = [name for name in layout["names"] if name[0] != "v"]
        if all((rows[name] == rows[name][0]).all() for name in alike):
            for index, column in enumerate(columns):
                assert isinstance(column, ArrayColumn), "a layout has arrays only"
                column.extend(rows[f"v{index}"])
            return
    for start in range(0, len(run), size):
        _take_row(columns, run[start : start + size])


def _layout(columns: list[ArrayColumn | ListColumn], row: memoryview) -> dict[str, list[Any]] | None:
    """Where the first row has its number of columns (n), their lengths (l), headers (h) and values (v), for NumPy."""
    layout: dict[str, list[Any]] = {"names": ["n"], "formats": [">u2"], "offsets": [_HEAD]}

    def add(name: str, value_format: Any, offset: int) -> None:
        for key, value in zip(layout, (name, value_format, offset), strict=True):
            layout[key].append(value)

    for index, (place, length) in enumerate(split(row[_HEAD:], len(columns))):
        column, offset = columns[index], _HEAD + place
        value_format = column.value_format(row[offset : offset + length]) if length >= 0 else None
        if value_format is None:
            return None
        add(f"l{index}", ">i4", offset - 4)
        if column.header:
            add(f"h{index}", ">i4", offset)
        add(f"v{index}", value_format, offset + column.header)
    return layout


def _take_row(columns: list[ArrayColumn | ListColumn], row: memoryview) -> None:
    body = row[_HEAD:]
    for column, (place, length) in zip(columns, split(body, len(columns)), strict=True):
        column.add(None if length < 0 else bytes(body[place : place + length]))
