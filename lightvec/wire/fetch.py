"""The rows of a query as columns: arrays where NumPy is installed and the values allow it, else lists.

Rows of equal length that follow each other in the read buffer are decoded together, as one structured
array, without Python work for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types.inputs import MAX_DIMENSIONS
from lightvec.wire import protocol
from lightvec.wire.datatypes import BY_OID, DENSE
from lightvec.wire.errors import DataError, InternalError
from lightvec.wire.execute import execute, parameters_of, refresh_after, surrounding_requests
from lightvec.wire.portal import describe
from lightvec.wire.protocol import (
    BINARY,
    DESCRIBE_PORTAL,
    SYNC,
    TEXT,
    ColumnDescription,
    Parameter,
    split_row,
)
from lightvec.wire.results import Decoder, Result, unreadable
from lightvec.wire.session import Session
from lightvec.wire.statements import gives_rows

#: The code and the length of a DataRow message.
_HEAD = 1 + 4
#: The dimensions of a dense vector, and a field that is zero.
_VECTOR_HEAD = 4
_NOT_BOOLEAN = "expected a boolean of 0 or 1, got another byte"


def fetch_columns(session: Session, sql: str, values: Sequence[Any], oids: Sequence[int | None] = ()) -> dict[str, Any]:
    """The columns of a query by name; see :meth:`lightvec.pg8000.Connection.fetch_columns`."""
    try:
        import numpy
    except ImportError:
        numpy = None  # type: ignore[assignment]
    if numpy is None or not gives_rows(sql):
        result = execute(session, sql, values, oids)
        rows = result.rows or []
        return {each.name: [row[i] for row in rows] for i, each in enumerate(result.columns or ())}
    session.check_usable()
    parameters = parameters_of(session, values, oids)
    before, _ = surrounding_requests(session, sql, None)
    result = Result(sql)
    columns: list[_ListColumn] = []
    with session.turn("idle", [result]):
        if describe(session, result, parameters, before):
            columns = [_column(session, numpy, column) for column in result.columns or ()]
            _fetch(session, numpy, result, parameters, columns)
        else:
            session.send(SYNC, takes_effect=True)
            session.read_ready([result])
    if refresh_after(session, result.error):
        return fetch_columns(session, sql, values, oids)
    if result.error is not None:
        raise result.error
    return {column.name: column.values() for column in columns}


def _column(session: Session, numpy: Any, column: ColumnDescription) -> _ListColumn:
    name, oid = column.name, column.type_oid
    adapters = session.adapters
    names = [each for each, known in session.extension.oids.items() if known == oid]
    if names and names[0] in DENSE:
        number = numpy.dtype(DENSE[names[0]])
        return _ArrayColumn(numpy, name, number, _VECTOR_HEAD, adapters.decoder(oid, BINARY))
    if oid in BY_OID and BY_OID[oid].dtype:
        number = numpy.dtype(BY_OID[oid].dtype)
        return _ArrayColumn(numpy, name, number, 0, partial(_number, numpy, number))
    wanted = BINARY if adapters.has_binary(oid) else TEXT
    return _ListColumn(name, adapters.decoder(oid, wanted), wanted)


def _number(numpy: Any, number: Any, data: bytes) -> Any:
    if len(data) != number.itemsize:
        raise DataError(f"expected a number of {number.itemsize} bytes, got {len(data):,}")
    if number.kind == "b" and data > b"\1":
        raise DataError(_NOT_BOOLEAN)
    return numpy.frombuffer(data, number)[0].item()


def _fetch(
    session: Session,
    numpy: Any,
    result: Result,
    parameters: Sequence[Parameter],
    columns: list[_ListColumn],
) -> None:
    """Run the statement that is prepared, and fill the columns; an error is the result's."""
    formats = [column.format for column in columns]
    bind = protocol.bind(parameters, formats)
    session.send(bind + DESCRIBE_PORTAL + protocol.execute() + SYNC, takes_effect=True)
    code = session.read_until(protocol.ROW_DESCRIPTION + protocol.NO_DATA, result)
    if code == protocol.NO_DATA and formats:
        raise InternalError("the server describes columns, and then none; the connection is closed")
    if code == protocol.ROW_DESCRIPTION and formats != [column.format for column in result.columns or ()]:
        result.error = InternalError("the server sends columns in other formats than they were asked for")
    if result.error is None:
        _read_runs(session, numpy, result, columns)
    session.read_ready([result])


def _read_runs(session: Session, numpy: Any, result: Result, columns: list[_ListColumn]) -> None:
    """Read up to a message that is no DataRow."""
    while run := session.transport.read_run(b"D"):
        if not result.is_described:
            raise InternalError("the server sent a row without describing its columns; the connection is closed")
        size = 1 + int.from_bytes(run[1:5], "big")
        if result.error is None:
            try:
                _take_run(numpy, columns, run, size)
            except OSError:
                raise  # From the caller's signal handler, such as a TimeoutError.
            except Exception as error:
                for start in range(0, len(run), size):  # They may not be rows at all.
                    split_row(run[start + _HEAD : start + size], len(columns))
                result.error = unreadable(error)
        result.rows_taken += len(run) // size


def _take_run(numpy: Any, columns: list[_ListColumn], run: memoryview, size: int) -> None:
    """Rows of one length: together, if their columns are numbers of one length, too; else one by one."""
    layout = _layout(columns, run[:size])
    if layout is not None:
        rows = numpy.frombuffer(run, numpy.dtype({**layout, "itemsize": size}))
        alike = [name for name in layout["names"] if name[0] != "v"]
        if all((rows[name] == rows[name][0]).all() for name in alike):
            for index, column in enumerate(columns):
                column.extend(rows[f"v{index}"])
            return
    for start in range(0, len(run), size):
        body = run[start + _HEAD : start + size]
        places = split_row(body, len(columns))
        for column, (place, length) in zip(columns, places, strict=True):
            column.add(None if length < 0 else bytes(body[place : place + length]))


def _layout(columns: list[_ListColumn], row: memoryview) -> dict[str, Any] | None:
    """Where a row has its number of columns (n), their lengths (l), headers (h) and values (v), for NumPy."""
    fields = [("n", ">u2", _HEAD)]
    for index, (place, length) in enumerate(split_row(row[_HEAD:], len(columns))):
        column, offset = columns[index], _HEAD + place
        value_format = column.value_format(row[offset : offset + length]) if length >= 0 else None
        if value_format is None:
            return None
        fields.append((f"l{index}", ">i4", offset - 4))
        if column.header:
            fields.append((f"h{index}", ">i4", offset))
        fields.append((f"v{index}", value_format, offset + column.header))
    names, formats, offsets = zip(*fields, strict=True)
    return {"names": names, "formats": formats, "offsets": offsets}


class _ListColumn:
    """A column of values that are decoded one by one."""

    header = 0

    def __init__(self, name: str, decode: Decoder, value_format: int) -> None:
        self.name = name
        self.format = value_format
        self._decode = decode
        self._list: list[Any] = []

    def value_format(self, value: memoryview) -> Any:
        """How NumPy reads this value and others of its length; None if it cannot."""
        return None

    def add(self, data: bytes | None) -> None:
        """Append one value."""
        self._list.append(None if data is None else self._decode(data))

    def extend(self, values: Any) -> None:
        """Append the values that NumPy has read."""
        self._list += values

    def values(self) -> Any:
        """All values."""
        return self._list


class _ArrayColumn(_ListColumn):
    """A column of numbers, or of vectors of the same dimensions.

    A NULL, or a vector of other dimensions, turns it into a list.
    """

    def __init__(self, numpy: Any, name: str, number: Any, header: int, decode: Decoder) -> None:
        super().__init__(name, decode, BINARY)
        self.header = header
        self._numpy = numpy
        self._number = number
        self._array = numpy.empty((0, 0) if header else 0, number.newbyteorder("="))
        self._count = 0
        self._is_list = False

    def value_format(self, value: memoryview) -> Any:
        """As in a list; None also for a malformed value, which :meth:`add` refuses."""
        if self._is_list:
            return None
        if not self.header:
            return self._number if len(value) == self._number.itemsize else None
        count, rest = divmod(len(value) - self.header, self._number.itemsize)
        if rest or not 1 <= count <= MAX_DIMENSIONS or value[: self.header] != _head(count):
            return None
        return self._number, (count,)  # As text it would be parsed for each run: a tenth of the time.

    def add(self, data: bytes | None) -> None:
        if data is not None and self.value_format(memoryview(data)) is not None:
            numbers = self._numpy.frombuffer(data, self._number, offset=self.header)
            self.extend(numbers.reshape(1, -1) if self.header else numbers)
        else:
            self._become_list()
            super().add(data)

    def extend(self, values: Any) -> None:
        if self._number.kind == "b" and (values.view("u1") > 1).any():
            raise DataError(_NOT_BOOLEAN)
        shape = values.shape[1:]
        if self._count and shape != self._array.shape[1:]:
            self._become_list()
            self._list += map(self._item, values)
            return
        end = self._count + len(values)
        if end > len(self._array):
            larger = self._numpy.empty((max(2 * len(self._array), end), *shape), self._array.dtype)
            if self._count:
                larger[: self._count] = self._array[: self._count]
            self._array = larger
        self._array[self._count : end] = values
        self._count = end

    def values(self) -> Any:
        if self._is_list:
            return self._list
        array = self._array[: self._count]
        if self.header and not self._numpy.isfinite(array).all():
            raise InvalidVector(f"the column {self.name!r} expected finite numbers and got NaN or infinity")
        return array

    def _become_list(self) -> None:
        if not self._is_list:
            self._is_list = True
            self._list = [self._item(value) for value in self._array[: self._count]]

    def _item(self, value: Any) -> Any:
        """An item of the array as the value in a row."""
        if not self.header:
            return value.item()
        return self._decode(_head(len(value)) + value.astype(self._number).tobytes())


def _head(count: int) -> bytes:
    """What a dense vector begins with."""
    return count.to_bytes(2, "big") + bytes(2)
