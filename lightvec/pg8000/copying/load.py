"""Rows and columns into a table by binary COPY: the quickest way in, with bounded memory.

One round trip asks for the columns' types, one loads. Whatever goes wrong, a value that cannot be sent, an exception of
the caller's own or an error of the server, nothing is kept and the connection stays good: an error of the client ends
the load with CopyFail, an error of the server is seen between two blocks and ends it there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightvec.pg8000.copying.arrays import array_blocks, items
from lightvec.pg8000.copying.blocks import Block, NumberedRows, binary_blocks, text_blocks
from lightvec.pg8000.copying.conflict import check_on_conflict, load_by_insert
from lightvec.pg8000.copying.parallel import RowsInTurn, Spans, check_jobs, load_in_parts
from lightvec.pg8000.copying.sending import Progress, copy_in, is_binary
from lightvec.pg8000.copying.target import Target, look_up
from lightvec.pg8000.exceptions import DataError, InterfaceError
from lightvec.pg8000.parameters import Dumpers
from lightvec.pg8000.wire import Wire
from lightvec.types._messages import show

__all__ = ["Progress", "copy_columns", "copy_rows"]


def copy_rows(
    conn: Wire,
    table: str | tuple[str, str],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    on_conflict: str | None = None,
    left_alone: Collection[str] = (),
    as_text: bool = False,
    progress: Progress | None = None,
    jobs: int = 1,
) -> int:
    """Load rows into a table by binary COPY; how many rows went in.

    ``table`` is one name, or schema and name as a tuple; names are quoted, so they are meant exactly as written.
    ``columns`` are the names of the columns to load, each row a list, tuple or other sequence of values in their order;
    None is NULL. ``rows`` may be any iterable and is never held as a whole. Values are what INSERT takes as parameters
    for these types; for vectors also plain lists, tuples, ``array.array`` and NumPy arrays. Where a column has a type
    without a binary form here (a range, a composite, hstore, …) the load is text; ``as_text`` makes it so, for values
    that are texts which only the server can read, such as dates in its many forms.

    ``on_conflict="ignore"`` leaves out rows that violate a unique constraint. ``"update"`` writes the loaded columns
    over the row with the same primary key (or the only unique key among the loaded columns); of rows with the same key
    in the load itself the last one stays; ``left_alone`` are columns that only new rows get. Both load into a temporary
    table first, in a transaction or, inside the caller's, a savepoint; what is returned is the number of rows inserted
    or updated.

    ``progress`` is called with the rows sent so far, now and then, and with the total when the load is done: what it
    raises before stops the load, then it is too late for that.

    ``jobs`` loads over so many connections at once, opened with the parameters of this one (not what was SET on it);
    the iterable is read, and its rows are encoded, in this thread. It is for what takes the server longer than Python:
    a table with an index, constraints or triggers, and columns of arrays on a server with cores of its own. All parts
    are done, deferred constraints too, before the first is committed, so that what any of them raises leaves nothing.
    Only a server or a network that breaks down between two commits can part them, and then
    :class:`~lightvec.pg8000.exceptions.PartlyLoaded` says which rows are in. Rows are counted in the order of the
    iterable; in which order they get into the table, and which key that counts up by itself each gets, is open. Refused
    are an open transaction, whose part they would not be, a temporary table, ``on_conflict``, and rows of two parts
    that would wait for each other (the same unique key). ``cancel()`` does not reach such a load; an interrupt,
    ``command_timeout`` and ``deadline`` do.

    Raises, with nothing kept and the connection good: :class:`~lightvec.errors.InvalidVector` (wrong dimensions, NaN)
    and :class:`~lightvec.pg8000.exceptions.DataError` (another value that cannot be sent) naming row, counted from 1,
    and column; what the iterable or ``progress`` raises, as it is; what the server says;
    :class:`~lightvec.pg8000.exceptions.ProgrammingError`, before anything is sent, for a table or column that is not
    there.

    >>> _ = conn.run("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, title text, embedding vector(3))")
    >>> copy_rows(conn, "item", ["id", "title", "embedding"], [(1, "a", [1, 2, 3]), (2, None, Vector([4, 5, 6]))])
    2
    >>> copy_rows(conn, "item", ["id", "title"], [(2, "b"), (2, "c")], on_conflict="update")
    1
    >>> conn.run("SELECT * FROM item ORDER BY id")
    [[1, 'a', Vector([1.0, 2.0, 3.0])], [2, 'c', Vector([4.0, 5.0, 6.0])]]
    """
    check_on_conflict(on_conflict)
    check_jobs(jobs, on_conflict)
    target = look_up(conn, table, columns, left_alone)
    if as_text:
        target.encoders = None

    def blocks(sender: Wire) -> Iterator[Block]:
        return _row_blocks(sender, target, conn.dumpers, enumerate(rows, 1))

    if jobs > 1:
        return load_in_parts(conn, target, RowsInTurn(jobs, blocks), jobs, progress)
    return _load(conn, target, lambda: blocks(conn), on_conflict, progress)


def copy_columns(
    conn: Wire,
    table: str | tuple[str, str],
    columns: Mapping[str, Any],
    *,
    on_conflict: str | None = None,
    progress: Progress | None = None,
    jobs: int = 1,
) -> int:
    """Load whole columns into a table by binary COPY; how many rows went in.

    ``columns`` maps names to lists (or other sequences) or NumPy arrays, all of one length n. An array of the shape
    (n, dimensions) and any float or integer dtype, byte order and stride is a vector or halfvec column; one of the
    shape (n,) is a column of integers, floats, bool, dates and timestamps (datetime64, taken as UTC) or intervals
    (timedelta64); one of the shape (n, 16) and uint8 is a uuid column. Where all columns are of this kind there is no
    Python work for a row. NaT and masked values are NULL; NaN in a float column is NaN. Anything else is encoded value
    by value as :func:`copy_rows` does.

    ``on_conflict``, ``progress``, ``jobs`` (each has a span of the rows) and errors are those of :func:`copy_rows`;
    columns of different lengths are a :class:`~lightvec.pg8000.exceptions.DataError`.

    >>> _ = conn.run("CREATE TEMPORARY TABLE point (id int, v vector(2))")
    >>> copy_columns(conn, "point", {"id": [1, 2], "v": [[1, 2], None]})
    2
    >>> conn.run("SELECT * FROM point ORDER BY id")
    [[1, Vector([1.0, 2.0])], [2, None]]
    >>> _ = conn.run("CREATE TABLE spot (id int)")
    >>> copy_columns(conn, "spot", {"id": range(1000)}, jobs=2)
    1000
    >>> _ = conn.run("DROP TABLE spot")
    """
    check_on_conflict(on_conflict)
    if not isinstance(columns, Mapping):
        raise InterfaceError(f"expected a dict of column names to lists or arrays, got {show(columns)}")
    check_jobs(jobs, on_conflict)
    target = look_up(conn, table, list(columns))
    held = _Columns(target, conn.dumpers, columns)
    if jobs > 1:
        source = Spans(held.length, held.blocks)
        return load_in_parts(conn, target, source, max(min(jobs, held.length), 1), progress)
    return _load(conn, target, lambda: held.blocks(conn, range(held.length)), on_conflict, progress)


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


def _row_blocks(conn: Wire, target: Target, dumpers: Dumpers, rows: NumberedRows) -> Iterator[Block]:
    return binary_blocks(target, rows) if is_binary(conn, target) else text_blocks(target, dumpers, rows)


class _Columns:
    """Columns of one length, to be sent whole or in spans of their rows."""

    def __init__(self, target: Target, dumpers: Dumpers, columns: Mapping[str, Any]) -> None:
        self._target = target
        self._dumpers = dumpers
        self._values = list(columns.values())
        self.length = _length(columns)

    def blocks(self, conn: Wire, span: range) -> Iterator[Block]:
        """The COPY of these rows on this connection."""
        blocks = array_blocks(self._target, self._values, span) if is_binary(conn, self._target) else None
        return blocks or _row_blocks(conn, self._target, self._dumpers, enumerate(self._rows(span), span.start + 1))

    def _rows(self, span: range) -> Iterator[tuple[Any, ...]]:
        """The values row by row, to an end that is that of all columns, whatever they said of their lengths."""
        stop = None if span.stop == self.length else span.stop
        try:
            yield from zip(*(items(values, span.start, stop) for values in self._values), strict=True)
        except (ValueError, NotImplementedError) as error:
            raise DataError(
                f"the columns cannot be read, each to the same end ({error}): give lists or arrays"
            ) from error


def _load(
    conn: Wire,
    target: Target,
    blocks: Callable[[], Iterator[Block]],
    on_conflict: str | None,
    progress: Progress | None,
) -> int:
    ready = blocks()
    total = 0

    def copy(into: Target) -> int:
        nonlocal total
        total = copy_in(conn, into, is_binary(conn, target), ready, progress)
        return total

    count = copy(target) if on_conflict is None else load_by_insert(conn, target, on_conflict, copy)
    if progress is not None:
        progress(total)
    return count
