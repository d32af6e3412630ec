"""Vectors for the rows that have none of their present text: :func:`fill`.

The user's function runs outside any transaction. Workers keep off each other's rows by advisory
locks, which a second connection holds in a transaction: that is right behind a pooler, too, and
without a snapshot it hinders neither VACUUM nor CREATE INDEX CONCURRENTLY. A claim in a column would
be one more UPDATE of each row, and so one more entry in each of its indexes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from peewee import SQL, EnclosedNodeList, Expression, Value, fn

from lightvec.errors import InvalidOption, InvalidVector, LightvecError
from lightvec.peewee._seam import create_index_sql, database_of, execute_as_is, index_name, peewee_errors, table_sql
from lightvec.peewee.citus import shard_sizes
from lightvec.peewee.column_comments import (
    comments_of,
    declared_origin,
    origin_in,
    other_model,
    record_origin,
)
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.embedding_source import (
    PendingIndex,
    hash_field,
    is_pending,
    key_fields,
    source_hash,
    source_text,
)
from lightvec.peewee.schema import lock_outside_transaction
from lightvec.peewee.session_settings import no_statement_timeout
from lightvec.pg8000 import connect
from lightvec.wire.identifiers import identifier

__all__ = ["Embedder", "Filled", "Pending", "adopt", "count_pending", "fill"]

#: A function from texts to their vectors, in the same order.
Embedder = Callable[[list[str]], Sequence[Any]]

#: Rows written in a transaction, which locks them: an index on the vectors takes up to 5 ms a row.
_ROWS_WRITTEN = 8

#: Calls that fail one after the other until the embedder counts as down. One bad row of 1,024 takes 11.
_MOST_FAILURES = 16

#: Milliseconds that are left for writing and leaving.
_MARGIN = 1_000


@dataclass
class Filled:
    """What :func:`fill` did.

    ``written`` rows have a new vector, ``cleared`` ones none, as they have no text. ``changed`` rows
    got another text meanwhile, or were locked, and are pending still. ``failed`` is the error of each
    row, by its key, for which the embedder failed, or which has no text where the field takes no
    NULL. ``stopped`` says why not all rows were tried; None if they were.
    """

    written: int = 0
    cleared: int = 0
    changed: int = 0
    failed: dict[Any, Exception] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def tried(self) -> int:
        """All rows."""
        return self.written + self.cleared + self.changed + len(self.failed)


@dataclass(frozen=True)
class Pending:
    """The number of pending rows, and of characters in their texts."""

    rows: int
    characters: int


@dataclass(frozen=True)
class _Row:
    key: tuple[Any, ...]
    text: str | None
    hash: Any


def fill(
    field: Any,
    embed: Embedder,
    *,
    batch: int = 64,
    deadline: Callable[[], float | None] | None = None,
    part: tuple[int, int] | None = None,
    limit: int | None = None,
    in_place: bool = False,
    progress: Callable[[Filled], object] | None = None,
) -> Filled:
    """Make the vectors of the pending rows of a field with ``source=``, and store them.

    ``embed`` is called with at most ``batch`` texts, outside any transaction. A vector is stored only
    if the text is still the same. If a call fails, its rows are tried in halves, down to the bad row;
    if calls keep failing, the fill stops. Rows without a text, or with a blank one, get no vector.

    Any number of workers may run at the same time; ``part=(1, 4)`` is the first of four parts of the
    keys. ``deadline`` returns the milliseconds left (as ``context.get_remaining_time_in_millis`` of
    AWS Lambda; by default the database's): no batch begins that could not end in time. ``limit`` is
    the number of rows to try. ``progress`` is called after each batch.

    :class:`~lightvec.errors.SchemaMismatch` if the column has vectors of another model:
    ``in_place=True`` replaces them one after the other. Until it is done only searches with
    ``fresh=True`` are of one model.

    >>> from peewee import Model, TextField
    >>> from lightvec.peewee import VectorField, fill
    >>> class Page(Model):
    ...     body = TextField()
    ...     embedding = VectorField(2, metric="l2", model="lengths", source="body")
    ...     class Meta:
    ...         database = database
    ...         temporary = True
    >>> database.create_tables([Page])
    >>> _ = Page.insert_many([{"body": "one"}, {"body": "three"}]).execute()
    >>> fill(Page.embedding, lambda texts: [[len(text), 1] for text in texts]).written
    2
    >>> [page.body for page in Page.embedding.nearest([5, 1], k=1)]
    ['three']
    """
    _check_count("batch", batch)
    if limit is not None:
        _check_count("limit", limit)
    if part is not None:
        _check_part(part)
    database = _database(field)
    _check_origin(database, field, in_place)
    if deadline is None:
        deadline = database.milliseconds_left
    run = _Fill(database, field, embed, batch, deadline, part, limit, progress)
    return run.run()


def count_pending(field: Any, part: tuple[int, int] | None = None) -> Pending:
    """Count what :func:`fill` would do; nothing is changed."""
    text = source_text(field)
    query = field.model.select(fn.COUNT(SQL("*")), fn.COALESCE(fn.SUM(fn.LENGTH(text)), 0))
    ((rows, characters),) = query.where(*_conditions(field, part)).tuples().execute(_database(field))
    return Pending(rows, int(characters))


def adopt(field: Any, *, progress: Callable[[int], object] | None = None) -> int:
    """Take the vectors that were stored without :func:`fill` as made of their present texts.

    For a table that gets ``source=`` when it has its vectors. Returns the number of rows.
    """
    database, hashes, keys = _database(field), hash_field(field), key_fields(field)
    _check_origin(database, field, in_place=False)
    model, total = field.model, 0
    has_vector = hashes.is_null() & field.is_null(False)
    after: tuple[Any, ...] | None = None
    while True:
        page = model.select(*keys).where(has_vector, *_after(keys, after)).order_by(*keys)
        found = list(page.limit(_ROWS_WRITTEN).tuples().execute(database))
        if not found:
            return total
        locked = page.limit(_ROWS_WRITTEN).for_update("FOR UPDATE SKIP LOCKED")
        update = model.update({hashes: source_hash(field)}).where(_row(keys).in_(locked))
        total += update.execute(database)
        after = found[-1]
        if progress is not None:
            progress(total)


class _Fill:
    """One run of :func:`fill`."""

    def __init__(
        self,
        database: Pg8000Database,
        field: Any,
        embed: Embedder,
        batch: int,
        deadline: Callable[[], float | None],
        part: tuple[int, int] | None,
        limit: int | None,
        progress: Callable[[Filled], object] | None,
    ) -> None:
        self._database = database
        self._field = field
        self._embed = embed
        self._batch = batch
        self._deadline = deadline
        self._limit = limit
        self._progress = progress
        self._keys = key_fields(field)
        self._conditions = _conditions(field, part)
        self._filled = Filled()
        self._failures = 0
        #: The seconds of the slowest batch.
        self._slowest = 0.0

    def run(self) -> Filled:
        # Rows that change behind the first pass, or that a worker left, are found by the next one.
        with _RowLocks(self._database, self._field) as locks:
            while self._run_pass(locks):
                pass
        return self._filled

    def _run_pass(self, locks: _RowLocks) -> bool:
        """Go through all pending rows; whether another pass is worth it."""
        filled, after = self._filled, None
        before = filled.written + filled.cleared
        filled.changed = 0  # They are tried again.
        while True:
            size = self._batch if self._limit is None else min(self._batch, self._limit - filled.tried)
            if filled.stopped is None and size < 1:
                filled.stopped = f"the limit of {self._limit:,} rows is reached"
            self._check_time()
            if filled.stopped is not None:
                return False
            keys = self._next_keys(after, size)
            if not keys:
                return filled.written + filled.cleared > before
            after = keys[-1]
            begin = time.monotonic()
            with locks.taken([key for key in keys if _name(key) not in filled.failed]) as taken:
                tried = self._fill(taken) if taken else 0
            self._slowest = max(self._slowest, time.monotonic() - begin)
            if tried and self._progress is not None:
                self._progress(filled)

    def _fill(self, keys: list[tuple[Any, ...]]) -> int:
        """Fill the rows of these keys; how many were pending."""
        filled, rows = self._filled, self._read(keys)
        blank = [(row, None) for row in rows if not (row.text or "").strip()]
        if not self._field.null:
            what = f"expected a text, got none, and {self._field.display_name} takes no NULL"
            filled.failed |= {_name(row.key): InvalidVector(what) for row, _ in blank}
            blank = []
        given = list(self._vectors_of([row for row in rows if (row.text or "").strip()]))
        cleared, written = self._write(blank), self._write(given)
        filled.cleared += cleared
        filled.written += written
        filled.changed += len(blank) + len(given) - cleared - written
        return len(rows)

    def _check_time(self) -> None:
        """Stop if what comes next could not end in time."""
        left = self._deadline() if self._filled.stopped is None else None
        if left is not None and left <= 1_500 * self._slowest + _MARGIN:
            self._filled.stopped = "the time is up"

    def _next_keys(self, after: tuple[Any, ...] | None, size: int) -> list[tuple[Any, ...]]:
        query = self._field.model.select(*self._keys).where(*self._conditions, *_after(self._keys, after))
        return list(query.order_by(*self._keys).limit(size).tuples().execute(self._database))

    def _read(self, keys: list[tuple[Any, ...]]) -> list[_Row]:
        """The rows that are pending still, now that nobody else fills them."""
        columns = [*self._keys, source_text(self._field), source_hash(self._field)]
        is_one = _row(self._keys).in_([_row(key) for key in keys])
        query = self._field.model.select(*columns).where(is_one, *self._conditions)
        rows = query.tuples().execute(self._database)
        return [_Row(tuple(key), text, found) for *key, text, found in rows]

    def _vectors_of(self, rows: list[_Row]) -> Iterator[tuple[_Row, Any]]:
        """The rows that the embedder did not fail for, with their vectors."""
        if not rows or self._filled.stopped is not None:
            return
        begin = time.monotonic()
        try:
            vectors = self._embedded([row.text or "" for row in rows])
        except Exception as error:  # Of the user's function, or of what it returned.
            self._note_failure(rows, error)
            if len(rows) > 1:
                # A service that is down lets each call wait.
                self._slowest = max(self._slowest, time.monotonic() - begin)
                self._check_time()
                middle = len(rows) // 2
                yield from self._vectors_of(rows[:middle])
                yield from self._vectors_of(rows[middle:])
            return
        self._failures = 0
        yield from zip(rows, vectors, strict=True)

    def _embedded(self, texts: list[str]) -> list[Any]:
        vectors = [self._field.db_value(vector) for vector in self._embed(texts)]
        if len(vectors) != len(texts) or None in vectors:
            got = "None among them" if None in vectors else f"{len(vectors)}"
            raise InvalidVector(f"expected {len(texts)} vectors from the embedder, got {got}")
        return vectors

    def _note_failure(self, rows: list[_Row], error: Exception) -> None:
        self._failures += 1
        if len(rows) == 1:
            self._filled.failed[_name(rows[0].key)] = error
        if self._failures >= _MOST_FAILURES:
            self._filled.stopped = (
                f"the embedder failed {self._failures} times in succession, the last time with "
                f"{type(error).__name__}: {error}"
            )

    def _write(self, rows: list[tuple[_Row, Any]]) -> int:
        """Store these vectors where the texts are the same still; how many."""
        written = 0
        for start in range(0, len(rows), _ROWS_WRITTEN):
            statements = [self._update(row, vector) for row, vector in rows[start : start + _ROWS_WRITTEN]]
            with peewee_errors:
                cursor = self._database.live_connection().cursor()
                cursor.executemany(statements[0][0], [values for _, values in statements])
            written += cursor.rowcount
        return written

    def _update(self, row: _Row, vector: Any) -> tuple[str, list[Any]]:
        field, key = self._field, _row(self._keys)
        wanted = key == _row(row.key)
        is_same = Expression(source_hash(field), "IS NOT DISTINCT FROM", Value(row.hash, converter=False))
        # A row that somebody else has locked is left for later: waiting would keep the others locked.
        unlocked = field.model.select(*self._keys).where(wanted, is_same).for_update("FOR UPDATE SKIP LOCKED")
        values = {field: vector, hash_field(field): row.hash}
        query = field.model.update(values).where(key.in_(unlocked), is_same)
        sql, params = self._database.get_sql_context().sql(query).query()
        return sql, params


class _RowLocks:
    """Locks on the keys of rows, held by a second connection in a transaction."""

    def __init__(self, database: Pg8000Database, field: Any) -> None:
        self._database = database
        meta = field.model._meta
        self._column = (meta.schema, meta.table_name, field.column_name)
        self._conn: Any = None

    def __enter__(self) -> _RowLocks:
        return self

    def __exit__(self, *error: object) -> None:
        if self._conn is not None:
            self._conn.close()

    @contextmanager
    def taken(self, keys: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
        """Those of the keys that no other worker has."""
        if not keys:
            yield []
            return
        with peewee_errors:
            if self._conn is not None and not self._conn.is_alive():
                self._conn.close()
                self._conn = None
            if self._conn is None:
                self._conn = connect(self._database.database, **self._database.connect_params)
            # A simple Query: the portal of an extended one would keep its snapshot.
            self._conn.execute_simple(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            calls = ", ".join(f"pg_try_advisory_xact_lock({self._number(key):d})" for key in keys)
            (found,) = self._conn.execute_simple(f"SELECT {calls}").rows
        try:
            yield [key for key, is_taken in zip(keys, found, strict=True) if is_taken]
        finally:
            # On a connection that broke the server has released them.
            with suppress(LightvecError):
                self._conn.execute_simple("ROLLBACK")

    def _number(self, key: tuple[Any, ...]) -> int:
        name = repr((*self._column, *map(str, key))).encode()
        return int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)


# Keys and conditions


def _name(key: tuple[Any, ...]) -> Any:
    return key[0] if len(key) == 1 else key


def _conditions(field: Any, part: tuple[int, int] | None) -> list[Any]:
    conditions: list[Any] = [is_pending(field)]
    if part is not None:
        number, parts = part
        text = fn.CONCAT_WS(SQL("' '"), *(key.cast("text") for key in key_fields(field)))
        hashed = fn.HASHTEXT(text).cast("bigint")
        conditions.append(fn.MOD(fn.ABS(hashed), parts) == number - 1)
    return conditions


def _row(values: Sequence[Any]) -> Any:
    """A key, or several as a row, to compare with another."""
    return values[0] if len(values) == 1 else EnclosedNodeList(list(values))


def _after(keys: Sequence[Any], last: tuple[Any, ...] | None) -> list[Any]:
    return [] if last is None else [_row(keys) > _row(last)]


# What fill() takes


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"expected {name} to be a number from 1, got {value!r}")


def _check_part(part: object) -> None:
    is_pair = isinstance(part, tuple) and len(part) == 2 and all(type(each) is int for each in part)
    if not is_pair or not 1 <= part[0] <= part[1]:  # type: ignore[index]
        raise InvalidOption(f"expected part to be a number and that of all parts, such as (1, 4), got {part!r}")


def _database(field: Any) -> Pg8000Database:
    database = database_of(field.model)
    if not isinstance(database, Pg8000Database):
        got = "none" if database is None else f"a {type(database).__name__}"
        raise InvalidOption(f"expected {field.model.__name__} to have a Pg8000Database, got {got}")
    if database.in_transaction():
        raise InvalidOption("filling takes its time and commits each batch: leave the transaction first")
    return database


def _check_origin(database: Pg8000Database, field: Any, in_place: bool) -> None:
    """Check that the column's comment names the field's model; with ``in_place`` have it do so."""
    declared, meta = declared_origin(field), field.model._meta
    source_hash(field)  # Raises without source=.
    if shard_sizes(database, table_sql(field.model)) is not None:
        raise InvalidOption(
            f"the table {meta.table_name} is distributed: Citus does not lock rows of several shards, "
            f"which fill() does; fill it by an UPDATE of your own"
        )

    def found() -> Any:
        return origin_in(comments_of(database, field.model).get(field.column_name))

    origin = found()
    if origin in (None, declared):
        return
    if origin.model != field.embedding_model and not in_place:
        raise other_model(field, origin.model)
    index = PendingIndex(field)
    name = identifier(*filter(None, (meta.schema, index_name(index))))
    with lock_outside_transaction(database), no_statement_timeout(database):
        if found() == declared:
            return  # Another worker has done it meanwhile.
        database.execute_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        execute_as_is(database, create_index_sql(field.model, index, concurrently=True))
        # Last, so that this is done again if it was interrupted.
        record_origin(database, field)
