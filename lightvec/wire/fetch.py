"""The rows of a query as columns: matrices and arrays where NumPy is installed, lists where it is not.

Rows of the same length follow each other in the read buffer, message by message. Seen as one structured array they are
decoded together: no Python work for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightvec.wire import protocol
from lightvec.wire.columns import ArrayColumn, ListColumn, array_column
from lightvec.wire.errors import InternalError
from lightvec.wire.execute import company, execute, parameters_of, renewed
from lightvec.wire.portal import describe
from lightvec.wire.protocol import BINARY, DESCRIBE_PORTAL, SYNC, TEXT, ColumnDescription, Parameter, split_row
from lightvec.wire.results import Result, unreadable
from lightvec.wire.session import Session
from lightvec.wire.statements import gives_rows

__all__ = ["fetch_columns"]

#: What comes before a DataRow's body: its code and its length.
_HEAD = 1 + 4


def fetch_columns(session: Session, sql: str, values: Sequence[Any], oids: Sequence[int | None] = ()) -> dict[str, Any]:
    """The columns of a query by name; see :meth:`lightvec.pg8000.Connection.fetch_columns`."""
    numpy = _numpy()
    if numpy is None or not gives_rows(sql):
        return _as_lists(execute(session, sql, values, oids))
    session.check_usable()
    parameters = parameters_of(session, values, oids)
    before, _ = company(session, sql, None)
    result = Result(sql)
    columns: list[ArrayColumn | ListColumn] = []
    with session.turn("idle", [result]):
        failed = describe(session, result, parameters, before)
        if failed is None:
            columns = [_column(session, numpy, column) for column in result.columns or ()]
            _fetch(session, numpy, result, parameters, columns)
        else:
            session.send(SYNC, takes_effect=True)
            session.read_ready([result])
    if renewed(session, result.error):
        return fetch_columns(session, sql, values, oids)
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
    return {column.name: [row[i] for row in rows] for i, column in enumerate(result.columns or ())}


def _column(session: Session, numpy: Any, column: ColumnDescription) -> ArrayColumn | ListColumn:
    types = {oid: name for name, oid in session.extension.oids.items()}
    adapters = session.adapters
    array = array_column(numpy, column, types.get(column.type_oid), adapters.decoder)
    if array is not None:
        return array
    wanted = BINARY if adapters.has_binary(column.type_oid) else TEXT
    return ListColumn(column.name, adapters.decoder(column.type_oid, wanted), wanted)


def _fetch(
    session: Session,
    numpy: Any,
    result: Result,
    parameters: Sequence[Parameter],
    columns: list[ArrayColumn | ListColumn],
) -> None:
    """Run the statement that is prepared, and fill the columns; an error ends up in the result."""
    formats = [column.format for column in columns]
    head = protocol.bind_head([parameter.format for parameter in parameters])
    bind = protocol.bind(head, parameters, protocol.bind_tail(formats))
    session.send(bind + DESCRIBE_PORTAL + protocol.execute() + SYNC, takes_effect=True)
    event = session.read_until((protocol.RowDescription, protocol.NO_DATA), result)
    if event is protocol.NO_DATA and formats:
        raise InternalError("the server describes columns, and then none; the connection is closed")
    if type(event) is protocol.RowDescription and formats != [column.format for column in event.columns]:
        result.error = InternalError("the server sends columns in other formats than they were asked for")
    if result.error is None:
        _read_runs(session, numpy, result, columns)
    session.read_ready([result])


def _read_runs(session: Session, numpy: Any, result: Result, columns: list[ArrayColumn | ListColumn]) -> None:
    """Read up to a message that is no DataRow."""
    while run := session.transport.read_run(b"D"):
        if not result.is_described:
            raise InternalError("the server sent a row without describing its columns; the connection is closed")
        size = 1 + int.from_bytes(run[1:5], "big")
        if result.error is None:
            try:
                _take_run(numpy, columns, run, size)
            except OSError:
                raise  # A signal handler's of the caller's own, such as a TimeoutError.
            except Exception as error:
                # The value may be part of a row that is none.
                for start in range(0, len(run), size):
                    split_row(run[start + _HEAD : start + size], len(columns))
                result.error = unreadable(error)
        result.rows_taken += len(run) // size


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

    for index, (place, length) in enumerate(split_row(row[_HEAD:], len(columns))):
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
    for column, (place, length) in zip(columns, split_row(body, len(columns)), strict=True):
        column.add(None if length < 0 else bytes(body[place : place + length]))
