"""The result of one statement, and how the answer of the server fills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOBase
from struct import Struct
from typing import Any

from lightvec.errors import LightvecError
from lightvec.wire.errors import DataError, InternalError
from lightvec.wire.placeholders import may_be_several
from lightvec.wire.protocol import ColumnDescription, split_row

__all__ = ["CatalogResult", "CopyResult", "Decoder", "Result", "RowClass", "read_tag", "unreadable"]

Decoder = Callable[[bytes], Any]
RowClass = type[list[Any]] | type[tuple[Any, ...]]

_unpack_int32 = Struct("!i").unpack_from
_unpack_uint16 = Struct("!H").unpack_from

#: The most of a decoder's own words that an error repeats: some repeat the whole value.
_LONGEST = 200


class Result:
    """The columns, the rows and the command tag of one statement.

    ``rows`` is None where the statement has none. ``row_count`` is the number of rows that it gave
    or changed, -1 where its tag has no number. ``error`` is what went wrong with the statement; it
    is raised when the server is ready again. What cannot be an answer to the statement is an
    :class:`InternalError`, behind which the connection is closed.
    """

    # Defaults of the class: an instance that has its own for all of them takes 0.5 µs longer to make.
    columns: Sequence[ColumnDescription] | None = None
    decoders: Sequence[Decoder] = ()
    rows: list[Any] | None = None
    row_count = -1
    command = ""
    error: BaseException | None = None
    #: The first error of the transaction that this statement ended.
    rolled_back_by: BaseException | None = None
    #: Rows that are no longer among ``rows``, or, below zero, that belong to an earlier statement.
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
        """Take in a RowDescription.

        A second one, of the portal, differs from the one of the statement in formats only.
        """
        if self.is_done or (self.is_described and (self.rows or not _are_alike(self.columns or (), columns))):
            self._check_several("another description of its columns")
        self.columns, self.decoders = columns, decoders
        self.is_described, self.is_done = True, False
        if self.rows is None:
            self.rows = []

    def add_rows(self, bodies: Sequence[bytes]) -> None:
        """Decode DataRows. A decoder that fails fails the statement, not the connection."""
        if not self.is_described:
            raise InternalError("the server sent a row without describing its columns; the connection is closed")
        if self.error is not None or self.rows is None:
            return
        decoders, row_class, append = self.decoders, self.row_class, self.rows.append
        for body in bodies:
            try:
                append(row_class(_values(body, decoders)))
            except OSError:
                raise  # A signal handler's of the caller's own, such as a TimeoutError.
            except Exception as error:
                split_row(body, len(decoders))  # The value may be part of a row that is none.
                self.error = unreadable(error)
                return

    def complete(self, tag: str) -> None:
        """Take in a CommandComplete: ``INSERT 0 5`` and ``SELECT 5`` count rows, ``CREATE TABLE`` does not."""
        if self.is_done:
            self._check_several("a second end of it")
        self.command, count = read_tag(tag)
        if count >= 0:
            self._check_count(count)
            self.row_count = count + max(self.row_count, 0)
        self.rows_taken = -len(self.rows or ())
        self.is_described = False
        self.end()

    def complete_empty(self) -> None:
        """Take in an EmptyQueryResponse: there was no statement."""
        if self.is_done or self.is_described:
            raise InternalError("the server answered a statement that it calls empty; the connection is closed")
        self.end()

    def end(self) -> None:
        """Take in that the answer is over, as far as it was asked for."""
        self.is_done = True

    def _check_several(self, what: str) -> None:
        """A text of several statements has as many answers."""
        if not may_be_several(self.sql):
            raise InternalError(f"the server answered one statement with {what}; the connection is closed")

    def _check_count(self, count: int) -> None:
        """The rows of these commands are the ones that the tag counts; those of others can be a rule's."""
        if self.command not in ("SELECT", "FETCH") or not self.is_described or self.rows is None:
            return
        came = self.rows_taken + len(self.rows)
        if came != count and self.error is None:
            raise InternalError(
                f"the server says that it sent {count:,} rows, and {came:,} came: rows were lost or doubled; "
                f"the connection is closed"
            )


class CatalogResult(Result):
    """The result of a query of ours on the catalog: every value as text, whatever is registered."""

    def __init__(self, sql: str, encoding: str) -> None:
        super().__init__(sql)
        self._encoding = encoding

    def describe(self, columns: Sequence[ColumnDescription], decoders: Sequence[Decoder]) -> None:
        """Read every column as text."""
        super().describe(columns, [partial(str, encoding=self._encoding)] * len(columns))


class CopyResult(Result):
    """The result of a COPY, and where the data of a COPY TO STDOUT goes."""

    def __init__(self, sql: str, row_class: RowClass = list, stream: Any = None, encoding: str = "utf-8") -> None:
        super().__init__(sql, row_class)
        self._stream = stream
        self.encoding = encoding
        self.is_binary = self.is_out = False

    def begin_out(self, is_binary: bool) -> None:
        """Take in that data follows."""
        self.is_binary, self.is_out = is_binary, True

    def write(self, data: bytes) -> None:
        """Hand data to the caller's stream; one that fails fails the statement, and the rest is passed over."""
        if self.error is not None:
            return
        try:
            is_text = isinstance(self._stream, TextIOBase) and not self.is_binary
            self._stream.write(data.decode(self.encoding) if is_text else data)
        except UnicodeDecodeError as error:
            self.error = unreadable(error)
        except Exception as error:
            self.error = error


def read_tag(tag: str) -> tuple[str, int]:
    """The command of a tag and its number of rows, -1 where it has none.

    >>> read_tag("INSERT 0 5"), read_tag("CREATE TABLE")
    (('INSERT', 5), ('CREATE TABLE', -1))
    """
    command, _, count = tag.rpartition(" ")
    if not count.isdigit():
        return tag, -1
    try:
        return command.partition(" ")[0], int(count)
    except ValueError as error:  # More digits than Python converts.
        raise InternalError("the server sent a count that is no number; the connection is closed") from error


def unreadable(error: Exception) -> LightvecError:
    """The error to raise for a value that a decoder failed at."""
    if isinstance(error, LightvecError):
        return error
    said = str(error)
    if isinstance(error, UnicodeDecodeError):
        said = f"{said} (client_encoding may have changed within the statement)"
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
    shown = DataError(f"a row of the result cannot be read: {said}; cast the column to text to see it")
    shown.__cause__ = error
    return shown


def _are_alike(some: Sequence[ColumnDescription], others: Sequence[ColumnDescription]) -> bool:
    """Whether these are the same columns, in whatever formats."""
    return [(each.name, each.type_oid) for each in some] == [(each.name, each.type_oid) for each in others]


def _values(body: bytes, decoders: Sequence[Decoder]) -> list[Any]:
    if _unpack_uint16(body)[0] != len(decoders):
        raise ValueError("another number of columns")
    values: list[Any] = []
    position = 2
    for decode in decoders:
        (length,) = _unpack_int32(body, position)
        position += 4
        if length >= 0:
            values.append(decode(body[position : position + length]))
            position += length
        elif length == -1:
            values.append(None)
        else:
            raise ValueError("a length below -1")
    if position != len(body):
        raise ValueError("bytes behind the last column")
    return values
