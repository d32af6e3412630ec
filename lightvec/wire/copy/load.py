"""``copy_rows`` and ``copy_columns``: load a table by binary COPY, with bounded memory.

One round trip looks the columns' types up, one loads. An error of the client ends the COPY with CopyFail, one of the
server is noticed between two blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightvec.types.inputs import is_table, show, show_unread
from lightvec.wire.copy.arrays import array_blocks, items
from lightvec.wire.copy.blocks import Block, binary_blocks, line_blocks, text_blocks
from lightvec.wire.copy.conflict import check_on_conflict, load_by_insert
from lightvec.wire.copy.copy_in import copy_in
from lightvec.wire.copy.target import Target, describe_target
from lightvec.wire.errors import DatabaseError, DataError, ErrorFields, InterfaceError, InternalError
from lightvec.wire.results import CopyResult
from lightvec.wire.session import Session

__all__ = ["Progress", "copy_columns", "copy_rows", "copy_texts", "send_blocks"]

#: Called with the number of rows sent so far, after each block and at the end.
Progress = Callable[[int], object]

#: Row and column in the context of the server's errors, in any language (``CopyFromErrorCallback``,
#: src/backend/commands/copyfromparse.c); in a binary COPY a line is a row, too.
_LINE = re.compile(r"^COPY .{1,200}?, \D{1,100} (\d{1,18})(?:, (.+))?", re.MULTILINE)

#: Classes of SQLSTATE of errors in a row: its values, constraints, checks, sizes, and triggers' own errors. Others
#: happen at a row without being about it, as where Citus cannot send to a worker.
_ABOUT_A_ROW = ("22", "23", "44", "54", "P0")


def copy_rows(
    session: Session,
    table: str | tuple[str, str],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    on_conflict: str | None = None,
    left_alone: Collection[str] = (),
    progress: Progress | None = None,
) -> int:
    """Load rows into a table by binary COPY; the number of rows.

    ``table`` is a name, or a tuple of schema and name, both exact. Each row is a sequence of values
    for ``columns``; None is NULL. ``rows`` may be any iterable and is never held as a whole. Values are
    what INSERT takes as parameters for these types; for vectors also lists, tuples, ``array.array`` and
    NumPy arrays. With a column of a type without a binary form here (a range, a composite, hstore, ...)
    the COPY is text.

    ``on_conflict="ignore"`` skips rows that violate a unique constraint. ``"update"`` updates the row
    with the same primary key (or the only unique key among the loaded columns), except for the columns
    ``left_alone``; of loaded rows with the same key the last one wins. Both load into a temporary table
    first, in a transaction or, inside the caller's, a savepoint; the result is the number of rows
    inserted or updated. ``progress`` is called with the number of rows sent so far, now and then, and
    with the total at the end.

    Whatever it raises, nothing is stored and the connection stays usable.
    :class:`~lightvec.errors.InvalidVector` and :class:`~lightvec.pg8000.exceptions.DataError` name the
    column and the row, counted from 1; a table or column that does not exist is a
    :class:`~lightvec.pg8000.exceptions.ProgrammingError` before anything is sent.

    >>> _ = conn.run("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, title text, embedding vector(3))")
    >>> rows = [(1, "a", [1, 2, 3]), (2, None, Vector([4, 5, 6]))]
    >>> copy_rows(conn.session, "item", ["id", "title", "embedding"], rows)
    2
    >>> copy_rows(conn.session, "item", ["id", "title"], [(2, "b"), (2, "c")], on_conflict="update")
    1
    >>> conn.run("SELECT * FROM item ORDER BY id")
    [[1, 'a', Vector([1.0, 2.0, 3.0])], [2, 'c', Vector([4.0, 5.0, 6.0])]]
    """
    check_on_conflict(on_conflict)
    if unread := show_unread(rows):
        raise InterfaceError(f"expected an iterable of rows, got {unread}")
    if is_table(rows):
        raise InterfaceError(
            f"expected an iterable of rows, got a {type(rows).__name__}: pass its rows, such as "
            f".itertuples(index=False), or a dict of its columns to copy_columns"
        )
    target = describe_target(session, table, columns, left_alone)
    binary = _is_binary(session, target)
    blocks = _row_blocks(session, target, rows, binary)
    return _load(session, target, binary, blocks, on_conflict, progress)


def copy_texts(
    session: Session,
    table: str | tuple[str, str],
    columns: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    *,
    on_conflict: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Load rows of texts by text COPY, which the server reads as literals; otherwise as :func:`copy_rows`.

    >>> _ = conn.run("CREATE TEMPORARY TABLE day (at date, embedding vector(2))")
    >>> copy_texts(conn.session, "day", ["at", "embedding"], [("29 Feb 2024", "[1,2]"), (None, None)])
    2
    """
    check_on_conflict(on_conflict)
    target = describe_target(session, table, columns)
    return _load(session, target, False, line_blocks(rows), on_conflict, progress)


def copy_columns(
    session: Session,
    table: str | tuple[str, str],
    columns: Mapping[str, Any],
    *,
    on_conflict: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Load whole columns into a table by binary COPY; the number of rows.

    ``columns`` maps names to lists (or other sequences) or NumPy arrays, all of one length n. There is
    no Python work for each row if they are arrays of the shape (n, dimensions) of floats or integers,
    for vector and halfvec; (n,) of integers, floats, bool or datetime64 (in UTC); (n, 16) of uint8, for
    uuid. NaT and masked values are NULL; NaN in a float column is NaN. Anything else is encoded value by
    value. The rest is as in :func:`copy_rows`.

    >>> _ = conn.run("CREATE TEMPORARY TABLE point (id int, v vector(2))")
    >>> copy_columns(conn.session, "point", {"id": [1, 2], "v": [[1, 2], None]})
    2
    >>> conn.run("SELECT * FROM point ORDER BY id")
    [[1, Vector([1.0, 2.0])], [2, None]]
    """
    check_on_conflict(on_conflict)
    if not isinstance(columns, Mapping):
        raise InterfaceError(
            f"expected a dict of column names to lists or arrays, got {show_unread(columns) or show(columns)}"
        )
    target = describe_target(session, table, list(columns))
    binary = _is_binary(session, target)
    values, length = list(columns.values()), _length(columns)
    blocks = array_blocks(target, values, length) if binary else None
    if blocks is None:
        blocks = _row_blocks(session, target, _rows(target, values), binary)
    return _load(session, target, binary, blocks, on_conflict, progress)


def _length(columns: Mapping[str, Any]) -> int:
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        try:
            if isinstance(values, (str, bytes, Mapping, set, frozenset)) or is_table(values):
                raise TypeError
            lengths[name] = len(values)
        except (TypeError, ValueError):
            got = show_unread(values) or show(values)
            raise DataError(f"column {name!r}: expected a list or an array, got {got}") from None
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name!r} has {length:,}" for name, length in lengths.items())
        raise DataError(f"expected columns of one length: {each}")
    return next(iter(lengths.values()))


def _is_binary(session: Session, target: Target) -> bool:
    # A binary COPY has texts in the client's encoding; a text COPY can name its own.
    return target.encoders is not None and session.adapters.encoding == "utf-8"


def _row_blocks(session: Session, target: Target, rows: Iterable[Sequence[Any]], binary: bool) -> Iterator[Block]:
    return binary_blocks(target, rows) if binary else text_blocks(target, session.adapters, rows)


def _rows(target: Target, columns: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    # Some classes have a wrong len(), so the columns may end at different rows.
    try:
        yield from zip(*map(items, columns, target.columns), strict=True)
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"the columns do not all end at the same row ({error}): give lists or arrays") from None


def _load(
    session: Session,
    target: Target,
    binary: bool,
    blocks: Iterator[Block],
    on_conflict: str | None,
    progress: Progress | None,
) -> int:
    total = 0

    def copy(into: Target) -> int:
        nonlocal total
        total = send_blocks(session, into, binary, blocks, progress)
        return total

    count = copy(target) if on_conflict is None else load_by_insert(session, target, on_conflict, copy)
    if progress is not None:
        progress(total)
    return count


def send_blocks(
    session: Session, into: Target, binary: bool, blocks: Iterator[Block], progress: Progress | None
) -> int:
    """Run a COPY with these blocks; the number of rows that the server counted."""
    options = "FORMAT binary" if binary else "FORMAT text, ENCODING 'UTF8'"
    session.transport.enlarge_send_buffer()
    result = CopyResult(f"COPY {into.name} ({into.column_list}) FROM STDIN ({options})")
    with copy_in(session, result) as copy:
        if not copy.is_open:
            raise InternalError(f"the server did not ask for the rows of {result.sql[:40]!r}")
        try:
            for block in blocks:
                copy.write(block.message)
                if progress is not None and block.rows:
                    progress(block.rows)
            copy.finish()
        except DatabaseError as error:
            if error is result.error:
                _add_row(error)
            raise
    return result.row_count


def row_context(fields: Mapping[str, str]) -> re.Match[str] | None:
    """The row, and what follows it, in the context of an error about a row; None for any other error."""
    is_about_row = fields.get("C", "")[:2] in _ABOUT_A_ROW
    return _LINE.search(fields.get("W", "")) if is_about_row else None


def _add_row(error: DatabaseError) -> None:
    """Say which row the error is about, if it is about a row."""
    line = row_context(error.fields)
    if isinstance(error.fields, ErrorFields) and line is not None:
        error.fields.remedy = f"it was row {int(line[1]):,} of the load"
