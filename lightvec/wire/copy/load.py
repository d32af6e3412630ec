"""Rows and columns into a table by binary COPY: the quickest way in, with bounded memory.

One round trip asks for the columns' types, one loads. Whatever goes wrong, a value that cannot be sent, an exception of
the caller's own or an error of the server, nothing is kept and the connection stays good: an error of the client ends
the load with CopyFail, an error of the server is seen between two blocks and ends it there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightvec.types._messages import show
from lightvec.wire.copy.arrays import array_blocks, items
from lightvec.wire.copy.blocks import Block, binary_blocks, line_blocks, text_blocks
from lightvec.wire.copy.conflict import check_on_conflict, load_by_insert
from lightvec.wire.copy.sending import Progress, is_binary, send_blocks
from lightvec.wire.copy.target import Target, look_up
from lightvec.wire.errors import DataError, InterfaceError
from lightvec.wire.session import Session

__all__ = ["Progress", "copy_columns", "copy_rows", "copy_texts"]


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
    """Load rows into a table by binary COPY; how many rows went in.

    ``table`` is one name, or schema and name as a tuple; names are quoted, so they are meant exactly as written.
    ``columns`` are the names of the columns to load, each row a list, tuple or other sequence of values in their order;
    None is NULL. ``rows`` may be any iterable and is never held as a whole. Values are what INSERT takes as parameters
    for these types; for vectors also plain lists, tuples, ``array.array`` and NumPy arrays. Where a column has a type
    without a binary form here (a range, a composite, hstore, …) the load is text.

    ``on_conflict="ignore"`` leaves out rows that violate a unique constraint. ``"update"`` writes the loaded columns
    over the row with the same primary key (or the only unique key among the loaded columns); of rows with the same key
    in the load itself the last one stays; ``left_alone`` are columns that only new rows get. Both load into a temporary
    table first, in a transaction or, inside the caller's, a savepoint; what is returned is the number of rows inserted
    or updated.

    ``progress`` is called with the rows sent so far, now and then, and with the total when the load is done: what it
    raises before stops the load, then it is too late for that.

    Raises, with nothing kept and the connection good: :class:`~lightvec.errors.InvalidVector` (wrong dimensions, NaN)
    and :class:`~lightvec.pg8000.exceptions.DataError` (another value that cannot be sent) naming row, counted from 1,
    and column; what the iterable or ``progress`` raises, as it is; what the server says;
    :class:`~lightvec.pg8000.exceptions.ProgrammingError`, before anything is sent, for a table or column that is not
    there.

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
    target = look_up(session, table, columns, left_alone)
    return _load(session, target, _row_blocks(session, target, rows), on_conflict, progress)


def copy_texts(
    session: Session,
    table: str | tuple[str, str],
    columns: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    *,
    on_conflict: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Load rows of texts by text COPY, which the server reads as it reads literals; otherwise as :func:`copy_rows`.

    >>> _ = conn.run("CREATE TEMPORARY TABLE day (at date, embedding vector(2))")
    >>> copy_texts(conn.session, "day", ["at", "embedding"], [("29 Feb 2024", "[1,2]"), (None, None)])
    2
    """
    check_on_conflict(on_conflict)
    target = look_up(session, table, columns)
    target.encoders = None
    return _load(session, target, line_blocks(rows), on_conflict, progress)


def copy_columns(
    session: Session,
    table: str | tuple[str, str],
    columns: Mapping[str, Any],
    *,
    on_conflict: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Load whole columns into a table by binary COPY; how many rows went in.

    ``columns`` maps names to lists (or other sequences) or NumPy arrays, all of one length n. An array of the shape
    (n, dimensions) and any float or integer dtype, byte order and stride is a vector or halfvec column; one of the
    shape (n,) is a column of integers, floats, bool, dates and timestamps (datetime64, taken as UTC) or intervals
    (timedelta64); one of the shape (n, 16) and uint8 is a uuid column. Where all columns are of this kind there is no
    Python work for a row. NaT and masked values are NULL; NaN in a float column is NaN. Anything else is encoded value
    by value as :func:`copy_rows` does.

    ``on_conflict``, ``progress`` and errors are those of :func:`copy_rows`;
    columns of different lengths are a :class:`~lightvec.pg8000.exceptions.DataError`.

    >>> _ = conn.run("CREATE TEMPORARY TABLE point (id int, v vector(2))")
    >>> copy_columns(conn.session, "point", {"id": [1, 2], "v": [[1, 2], None]})
    2
    >>> conn.run("SELECT * FROM point ORDER BY id")
    [[1, Vector([1.0, 2.0])], [2, None]]
    """
    check_on_conflict(on_conflict)
    if not isinstance(columns, Mapping):
        raise InterfaceError(f"expected a dict of column names to lists or arrays, got {show(columns)}")
    target = look_up(session, table, list(columns))
    return _load(session, target, _column_blocks(session, target, columns), on_conflict, progress)


def _length(columns: Mapping[str, Any]) -> int:
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
            raise DataError(f"column {name!r}: expected a list or an array, got {show(values)}")
        if getattr(values, "ndim", 1) == 0:
            raise DataError(f"column {name!r}: expected an array with a row for each value, got {show(values)}")
        try:
            lengths[name] = len(values)
        except (TypeError, ValueError) as error:
            raise DataError(f"column {name!r}: expected a list or an array, got {show(values)}") from error
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name!r} has {length:,}" for name, length in lengths.items())
        raise DataError(f"expected columns of one length: {each}")
    return next(iter(lengths.values()))


def _row_blocks(session: Session, target: Target, rows: Iterable[Sequence[Any]]) -> Iterator[Block]:
    return binary_blocks(target, rows) if is_binary(session, target) else text_blocks(target, session.adapters, rows)


def _column_blocks(session: Session, target: Target, columns: Mapping[str, Any]) -> Iterator[Block]:
    values, length = list(columns.values()), _length(columns)
    blocks = array_blocks(target, values, length) if is_binary(session, target) else None
    return blocks or _row_blocks(session, target, _rows(target, values))


def _rows(target: Target, columns: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The values row by row, to an end that is that of all columns, whatever they said of their lengths."""
    try:
        yield from zip(*map(items, columns, target.columns), strict=True)
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"the columns cannot be read, each to the same end ({error}): give lists or arrays") from error


def _load(
    session: Session,
    target: Target,
    blocks: Iterator[Block],
    on_conflict: str | None,
    progress: Progress | None,
) -> int:
    total = 0

    def copy(into: Target) -> int:
        nonlocal total
        total = send_blocks(session, into, is_binary(session, target), blocks, progress)
        return total

    count = copy(target) if on_conflict is None else load_by_insert(session, target, on_conflict, copy)
    if progress is not None:
        progress(total)
    return count
