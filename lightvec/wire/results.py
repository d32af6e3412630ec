"""The result of one statement, and how the server's answer fills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import TextIOBase
from struct import Struct
from typing import Any

from lightvec.errors import LightvecError
from lightvec.wire.errors import DataError, InternalError
from lightvec.wire.placeholders import may_be_several
from lightvec.wire.protocol import ColumnDescription, split_row

__all__ = ["CopyResult", "Decoder", "Result", "RowClass", "read_rows", "read_tag", "unreadable"]

Decoder = Callable[[bytes], Any]
RowClass = type[list[Any]] | type[tuple[Any, ...]]

_DATA_ROW = 0x44
_unpack_int32: Callable[[bytes, int], tuple[int]] = Struct("!i").unpack_from
_unpack_row_head: Callable[[bytes, int], tuple[int, int]] = Struct("!iH").unpack_from

#: Characters of a decoder's message that an error repeats: some have the whole value.
_MAX_REASON = 200


class Result:
    """The columns, the rows and the command tag of one statement.

    ``rows`` is None if the statement returns none. ``row_count`` is the number of rows returned or
    changed, -1 if the tag has no number. ``error`` is raised when the server is ready again. What
    cannot be an answer to the statement is an :class:`InternalError`, which closes the connection.
    """

    # Defaults of the class: setting all of them on each instance takes 0.5 µs.
    columns: Sequence[ColumnDescription] | None = None
    decoders: Sequence[Decoder] = ()
    rows: list[Any] | None = None
    row_count = -1
    command = ""
    error: BaseException | None = None
    #: Rows that are no longer in ``rows``, or, if negative, that belong to an earlier statement.
    rows_taken = 0
    is_described = is_done = False
    #: Called when the answer is complete, before the next one is read.
    on_complete: Callable[[Result], None] | None = None

    def __init__(self, sql: str = "", row_class: RowClass = list) -> None:
        self.sql = sql
        self.row_class = row_class

    def reset(self) -> None:
        """Forget the answer, as far as it was read."""
        self.columns = self.rows = self.error = None
        self.decoders = ()
        self.row_count, self.command, self.rows_taken = -1, "", 0
        self.is_described = self.is_done = False

    def describe(self, columns: Sequence[ColumnDescription], decoders: Sequence[Decoder]) -> None:
        """Take in a RowDescription; the portal's may differ from the statement's in formats only."""
        if self.is_done or (self.is_described and (self.rows or _types(self.columns or ()) != _types(columns))):
            self._check_several("another description of its columns")
        self.columns, self.decoders = columns, decoders
        self.is_described, self.is_done = True, False
        if self.rows is None:
            self.rows = []

    def add_rows(self, data: bytes) -> None:
        """Decode DataRow messages. A decoder's error fails the statement, not the connection."""
        if not self.is_described:
            raise InternalError("the server sent a row without describing its columns; the connection is closed")
        if self.error is not None or self.rows is None:
            return
        before = len(self.rows)
        try:
            read_rows(data, 0, self.decoders, self.row_class, self.rows)
        except OSError:
            raise  # From the caller's signal handler, such as a TimeoutError.
        except Exception as error:
            start = 0
            for _ in self.rows[before:]:
                start += 1 + _unpack_int32(data, start + 1)[0]
            end = start + 1 + _unpack_int32(data, start + 1)[0]
            split_row(data[start + 5 : end], len(self.decoders))  # It may not be a row at all.
            self.error = unreadable(error)

    def complete(self, tag: str) -> None:
        """Take in a CommandComplete: ``INSERT 0 5`` and ``SELECT 5`` count rows."""
        if self.is_done:
            self._check_several("a second end of it")
        self.command, count = read_tag(tag)
        if count >= 0:
            self._check_count(count)
            self.row_count = count + max(self.row_count, 0)
        self.rows_taken = -len(self.rows or ())
        self.is_described = False
        self.is_done = True

    def complete_empty(self) -> None:
        """Take in an EmptyQueryResponse: there was no statement."""
        if self.is_done or self.is_described:
            raise InternalError("the server answered a statement that it calls empty; the connection is closed")
        self.is_done = True

    def _check_several(self, what: str) -> None:
        """A text of several statements has as many answers."""
        if not may_be_several(self.sql):
            raise InternalError(f"the server answered one statement with {what}; the connection is closed")

    def _check_count(self, count: int) -> None:
        """Compare the tag with the rows; other commands may return those of a rule."""
        if self.command not in ("SELECT", "FETCH") or not self.is_described or self.rows is None:
            return
        came = self.rows_taken + len(self.rows)
        if came != count and self.error is None:
            raise InternalError(
                f"the server says that it sent {count:,} rows, and {came:,} came: "
                f"rows were lost or doubled; the connection is closed"
            )


class CopyResult(Result):
    """The result of a COPY, and the stream for the data of a COPY TO STDOUT."""

    def __init__(self, sql: str, row_class: RowClass = list, stream: Any = None, encoding: str = "utf-8") -> None:
        super().__init__(sql, row_class)
        self._stream = stream
        self.encoding = encoding
        self.is_binary = self.is_out = False

    def write(self, data: bytes) -> None:
        """Write to the caller's stream; its error fails the statement, and the rest is discarded."""
        if self.error is not None:
            return
        try:
            is_text = isinstance(self._stream, TextIOBase) and not self.is_binary
            self._stream.write(data.decode(self.encoding) if is_text else data)
        except UnicodeDecodeError as error:
            self.error = unreadable(error)
        except Exception as error:
            self.error = error


def read_rows(
    data: bytes,
    position: int,
    decoders: Sequence[Decoder],
    row_class: RowClass,
    rows: list[Any],
) -> int:
    """Decode the DataRow messages from ``position`` on and append them; where they end."""
    width, is_list, size = len(decoders), row_class is list, len(data)
    while position < size and data[position] == _DATA_ROW:
        length, count = _unpack_row_head(data, position + 1)
        end = position + 1 + length
        position += 7
        row: list[Any] = []
        for decode in decoders:
            (length,) = _unpack_int32(data, position)
            position += 4
            if length >= 0:
                row.append(decode(data[position : position + length]))
                position += length
            elif length == -1:
                row.append(None)
            else:
                raise ValueError("a length below -1")
        if count != width or position != end:
            raise ValueError("not a row of these columns")
        rows.append(row if is_list else tuple(row))
    return position


def read_tag(tag: str) -> tuple[str, int]:
    """The command of a tag and its number of rows, -1 if it has none.

    >>> read_tag("INSERT 0 5"), read_tag("CREATE TABLE")
    (('INSERT', 5), ('CREATE TABLE', -1))
    """
    command, _, count = tag.rpartition(" ")
    if not count.isdigit():
        return tag, -1
    try:
        return command.partition(" ")[0], int(count)
    except ValueError:  # More digits than Python converts.
        raise InternalError("the server sent a count that is no number; the connection is closed") from None


def unreadable(error: Exception) -> LightvecError:
    """The error to raise for a value that a decoder refused."""
    if isinstance(error, LightvecError):
        return error
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        reason += " (client_encoding may have changed within the statement)"
    if len(reason) > _MAX_REASON:
        reason = f"{reason[:_MAX_REASON]}..."
    shown = DataError(f"a row of the result cannot be read: {reason}; cast the column to text to see it")
    shown.__cause__ = error
    return shown


def _types(columns: Sequence[ColumnDescription]) -> list[tuple[str, int]]:
    return [(column.name, column.type_oid) for column in columns]
