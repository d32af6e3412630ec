"""Building a vector index on a table that has its rows, with what it needs, shows and leaves behind.

>>> from lightvec.peewee import HnswIndex
>>> index = HnswIndex(Doc.embedding, m=8, name="of_eight")
>>> plan = plan_index(database, index)
>>> plan.stands, plan.estimate.rows
(False, 0)
>>> build_index(database, plan)
>>> plan_index(database, index).stands
True
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Any

from lightvec.errors import InvalidOption, LightvecError, SchemaMismatch
from lightvec.index_options import DEFAULTS
from lightvec.peewee._seam import create_index_sql, index_name, peewee_errors
from lightvec.peewee.catalog import StandingIndex, sources_of_view, vector_indexes
from lightvec.peewee.citus import shards_and_pages
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.estimates import Estimate, estimate
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.remains import PATIENCE, Remains, drop_remains
from lightvec.peewee.sessions import held, server_process
from lightvec.peewee.watching import Progress, Watcher
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import DatabaseError, ErrorFields, OperationalError
from lightvec.pg8000.native import Connection
from lightvec.wire.identifiers import identifier

__all__ = ["IndexPlan", "Notice", "build_index", "is_left_invalid", "plan_index"]

#: Seconds between two looks at how far it is.
_PACE = 0.25
#: Seconds that a build may go on after it was cancelled.
_CANCEL_PATIENCE = 60

_DISK_FULL = "53100"
#: Two names that are one: seen by the catalog's own unique index where both builds began at once, else before.
_MADE_MEANWHILE = ("23505", "42P07")


@dataclass(frozen=True)
class IndexPlan:
    """What is to be done for an index, in ``schema`` and ``table`` (the first may be None) under ``name``.

    ``stands`` says that there is nothing to do, ``on_shards`` that the table is one of Citus. Else
    ``remains`` are dropped, which are not valid, and ``create`` is run, with these ``settings``.
    """

    name: str
    schema: str | None
    table: str
    method: str
    stands: bool
    remains: tuple[StandingIndex, ...]
    create: str
    concurrently: bool
    estimate: Estimate
    settings: Mapping[str, object] = field(repr=False)
    on_shards: bool = False

    @property
    def sql(self) -> tuple[str, ...]:
        """The statements."""
        if self.stands:
            return ()
        return (*(_remains(other).drop(concurrently=self.concurrently) for other in self.remains), self.create)


@dataclass(frozen=True)
class Notice:
    """What the server remarked; ``is_memory`` says that it is the graph that no longer fits."""

    message: str
    detail: str
    hint: str
    is_memory: bool


# Before


def plan_index(
    database: Pg8000Database,
    index: VectorIndex,
    *,
    maintenance_work_mem: int | None = None,
    workers: int | None = None,
    any_name: bool = False,
) -> IndexPlan:
    """What is to be done so that the index stands; the database is read, not changed.

    ``maintenance_work_mem`` (bytes) and ``workers`` (``max_parallel_maintenance_workers``) hold for this build.
    ``any_name`` takes the same index by another name for this one. :class:`~lightvec.errors.SchemaMismatch` where
    something else has the name, the index is being built at this moment, or a view stands in place of the table.
    """
    meta: Any = index.field.model._meta
    schema, table = meta.schema or None, meta.table_name
    _check_table(database, table, schema)
    standing = vector_indexes(database, table, schema)
    named = [other for other in standing if other.name == index_name(index)]
    if index.concurrently:
        _check_not_partitioned(database, identifier(*filter(None, (schema, table))))
    _check_name(database, index, identifier(*filter(None, (schema, table))), named)
    concerned = [other for other in standing if other in named or _is_alike(index, other)]
    for other in concerned:
        if other.being_built and not other.valid:
            raise SchemaMismatch(f"the index {other.name} is being built at this moment: wait until that is done")
    whole = [each for each in concerned if each.valid and (each in named or (any_name and _has_options(index, each)))]
    return IndexPlan(
        name=whole[0].name if whole else index_name(index),
        schema=schema,
        table=table,
        method=index.method,
        stands=bool(whole),
        remains=() if whole else tuple(other for other in concerned if not other.valid),
        create=create_index_sql(index.field.model, index),
        concurrently=index.concurrently,
        estimate=estimate(database, index, maintenance_work_mem),
        settings=_settings(database, maintenance_work_mem, workers),
        on_shards=bool(shards_and_pages(database, identifier(*filter(None, (schema, table))))[0]),
    )


def _check_table(database: Pg8000Database, table: str, schema: str | None) -> None:
    sources = sources_of_view(database, table, schema)
    if sources is not None:
        raise SchemaMismatch(
            f"{table} is a view, which no index can stand on: build it on its table ({', '.join(sources) or 'none'})"
        )


def _check_not_partitioned(database: Pg8000Database, table: str) -> None:
    asked = "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)"
    if (True,) in database.execute_sql(asked, (table,)).fetchall():
        raise InvalidOption(
            f"{table} is a partitioned table, on which PostgreSQL builds no index concurrently: leave concurrently "
            f"out, or build the index on one partition after the other"
        )


_KINDS = {"r": "a table", "p": "a table", "v": "a view", "m": "a materialized view", "S": "a sequence"}

# An index has its name in the schema of its table.
_NAMED = """\
SELECT c.relkind::text, i.indrelid::regclass::text FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
WHERE c.relname = %s
  AND c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = to_regclass(%s))"""


def _check_name(database: Pg8000Database, index: VectorIndex, table: str, named: Sequence[StandingIndex]) -> None:
    """Refuse a name that something else has; an index of that name which nothing can use does not count."""
    for other in named:
        if other.valid and not (_is_alike(index, other) and _has_options(index, other)):
            raise SchemaMismatch(
                f"the index {other.name} stands and is another one ({_described(other)}): "
                f"drop it, or give this one another name"
            )
    row = None if named else database.execute_sql(_NAMED, (index_name(index), table)).fetchone()
    if row is not None:
        what = f"an index on {row[1]}" if row[1] else _KINDS.get(row[0], "something else")
        raise SchemaMismatch(f"the name {index_name(index)} is taken by {what}: give the index another name")


def _described(other: StandingIndex) -> str:
    words = [f"{other.method} on {other.column or other.expression}", other.operator_class]
    names = ("m", "ef_construction") if other.method == "hnsw" else ("lists",)
    words += [f"{name} = {other.options.get(name, DEFAULTS[name])}" for name in names]
    return ", ".join(words + ([f"where {other.where}"] if other.where else []))


def _is_alike(index: VectorIndex, other: StandingIndex) -> bool:
    """Whether an index is on the same column in the same form, by the same method and metric."""
    coarse = index.quantization.name if index.quantization else None
    wanted = (index.field.column_name, index.method, index.operator_class, coarse, None)
    return wanted == (other.column, other.method, other.operator_class, other.quantize, other.where)


def _has_options(index: VectorIndex, other: StandingIndex) -> bool:
    """Whether it has the options that are asked for."""
    return all(int(other.options.get(name, DEFAULTS[name])) == value for name, value in index._options.items())


def _remains(other: StandingIndex) -> Remains:
    return Remains(other.schema, other.name, identifier(other.table_schema, other.table))


_SESSION = """\
SELECT %s = ANY(current_schemas(true)), current_setting('search_path') || ', ' || quote_ident(%s),
    current_setting('client_min_messages') IN ('warning', 'error'), current_setting('statement_timeout') <> '0'"""

#: Settings that are good to have, and that a build goes without where they cannot be set.
_OPTIONAL = {"client_min_messages", "statement_timeout"}


def _settings(database: Pg8000Database, memory: int | None, workers: int | None) -> dict[str, object]:
    """What the build is to run with, as far as the session does not have it."""
    settings: dict[str, object] = {}
    if memory is not None:
        settings["maintenance_work_mem"] = f"{memory >> 10}kB"
    if workers is not None:
        settings["max_parallel_maintenance_workers"] = workers
    schema = database.extension().schema
    ((in_reach, path, is_quiet, is_timed),) = database.execute_sql(_SESSION, (schema, schema)).fetchall()
    if not in_reach and schema:
        # Operator classes are found by the search path, also those of an extension outside it.
        settings["search_path"] = path
    if is_quiet:
        settings["client_min_messages"] = "notice"
    if is_timed:
        settings["statement_timeout"] = 0
    return settings


# The build


def build_index(
    database: Pg8000Database,
    plan: IndexPlan,
    *,
    progress: Callable[[Progress], object] | None = None,
    notice: Callable[[Notice], object] | None = None,
) -> None:
    """Drop what an interrupted build left, and build the index.

    ``progress`` is called a few times a second with what the server's own counters say, which takes a connection of its
    own, and ``notice`` with what the server remarks. Whatever stops the build, an interrupt too, cancels it on the
    server and nothing is kept; but CREATE INDEX CONCURRENTLY leaves an invalid index, which is dropped where nobody is
    in the way of that for some seconds (:func:`is_left_invalid` tells). The next build of it drops it.
    """
    if plan.stands:
        return
    if plan.concurrently and database.in_transaction():
        raise InvalidOption("CREATE INDEX CONCURRENTLY cannot run in a transaction: leave that first")
    if plan.concurrently and plan.on_shards and (needed := plan.settings.keys() - _OPTIONAL):
        raise InvalidOption(
            f"{', '.join(sorted(needed))} cannot reach the nodes of Citus with CREATE INDEX CONCURRENTLY, which cannot "
            f"run in a transaction: set it on the nodes (ALTER SYSTEM), or leave out one of the two"
        )
    for other in plan.remains:
        drop_remains(database, _remains(other), concurrently=plan.concurrently)
    with peewee_errors:
        conn = database.live_connection()
        with _session(conn, plan) as settings:
            build = _Build(conn, plan, settings)
            try:
                build.watch(partial(_connect, database), progress, notice)
            except BaseException:
                if plan.concurrently and not conn.closed:
                    _clean_up(database, conn, plan)
                raise


def is_left_invalid(database: Pg8000Database, plan: IndexPlan) -> bool:
    """Whether a build that was stopped left an index that nothing uses."""
    return bool(_left(database, plan))


def _left(database: Pg8000Database, plan: IndexPlan) -> list[StandingIndex]:
    standing = vector_indexes(database, plan.table, plan.schema)
    return [other for other in standing if other.name == plan.name and not other.valid]


def _connect(database: Pg8000Database) -> Connection:
    """Another connection to the same database, in autocommit: a build waits for transactions that are open."""
    return connect(database.database, **database.connect_params)


@contextmanager
def _session(conn: Any, plan: IndexPlan) -> Iterator[Mapping[str, object] | None]:
    """The settings for the statement. CREATE INDEX CONCURRENTLY cannot share a transaction with what sets them: there
    they are the session's, until it is done."""
    if not plan.concurrently or not plan.settings:
        yield plan.settings or None
        return
    settings = {name: str(value) for name, value in plan.settings.items()}
    if server_process(conn) is None:
        if needed := settings.keys() - _OPTIONAL:
            raise InvalidOption(
                f"{', '.join(sorted(needed))} cannot be set for CREATE INDEX CONCURRENTLY behind a connection pooler, "
                f"which may run it on another session: connect to the server itself, or leave out one of the two"
            )
        settings = {}
    with held(conn, settings):
        yield None


def _clean_up(database: Pg8000Database, conn: Any, plan: IndexPlan) -> None:
    """Drop the invalid index that a build left which was stopped, unless somebody is in the way for long."""
    usual, conn.command_timeout = conn.command_timeout, PATIENCE
    try:
        for other in _left(database, plan):
            conn.execute_unnamed(_remains(other).drop(concurrently=True))
    except LightvecError:
        return  # What stopped the build is what counts; the index is there to be found.
    finally:
        conn.command_timeout = usual


class _Build:
    """CREATE INDEX in a thread of its own, so that this one can look at it and stop it."""

    def __init__(self, conn: Any, plan: IndexPlan, settings: Mapping[str, object] | None) -> None:
        self._conn = conn
        self._plan = plan
        self._pid = server_process(conn)
        self._error: BaseException | None = None
        conn.notices.clear()
        # Not Thread.join: that can take a thread for dead when who waits is interrupted.
        self._done = Event()
        self._thread = Thread(target=self._run, args=(plan.create, settings), daemon=True)

    def _run(self, sql: str, settings: Mapping[str, object] | None) -> None:
        try:
            self._conn.execute_unnamed(sql, settings=settings)
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def watch(
        self,
        connect: Callable[[], Connection],
        progress: Callable[[Progress], object] | None,
        notice: Callable[[Notice], object] | None,
    ) -> None:
        """Build, and tell of it until that is done."""
        plan, watcher = self._plan, None
        if progress is not None:
            watcher = Watcher(connect, self._pid, plan.schema, plan.table, on_shards=plan.on_shards)
        try:
            self._thread.start()
            while not self._done.wait(_PACE):
                self._tell(notice)
                if watcher is not None and progress is not None and (found := watcher.look()) is not None:
                    progress(found)
        except BaseException:
            self._stop()
            raise
        finally:
            if watcher is not None:
                watcher.close()
        self._tell(notice)
        if self._error is not None:
            raise _explained(self._error, self._plan) from self._error

    def _tell(self, notice: Callable[[Notice], object] | None) -> None:
        while self._conn.notices:
            said = _notice(self._conn.notices.popleft())
            if notice is not None:
                notice(said)

    def _stop(self) -> None:
        """Cancel it, again where the server had not begun; if it does not end, leave it to the server."""
        deadline = time.monotonic() + _CANCEL_PATIENCE
        while not self._done.is_set() and time.monotonic() < deadline:
            try:
                self._conn.cancel()
            except OperationalError:
                deadline = 0
            self._done.wait(1)
        if not self._done.is_set():
            self._conn.close()


def _explained(error: BaseException, plan: IndexPlan) -> BaseException:
    """The error, with what to do where the shared memory of a parallel build is full, or another build was quicker."""
    state = error.sqlstate if isinstance(error, DatabaseError) else None
    if state in _MADE_MEANWHILE:
        return SchemaMismatch(
            f"an index {plan.name} was made by somebody else at the same time: run the command again, which takes that "
            f"one if it is the same"
        )
    if state == _DISK_FULL and isinstance(error, DatabaseError) and isinstance(error.fields, ErrorFields):
        error.fields.remedy = (
            "if it is shared memory that is full, which holds maintenance_work_mem in a parallel build and which "
            "containers limit (--shm-size): raise that limit, take less memory, or build with 0 workers"
        )
    return error


def _notice(fields: Mapping[bytes, bytes]) -> Notice:
    said = {key.decode(): value.decode("utf-8", "replace") for key, value in fields.items()}
    # The place in the source is the same in every language.
    is_memory = said.get("F", "").endswith("hnswbuild.c")
    return Notice(said.get("M", ""), said.get("D", ""), said.get("H", ""), is_memory)
