"""Building a vector index on a table that has its rows: plan, build with progress, repair of invalid indexes.

>>> from lightvec.peewee import HnswIndex
>>> index = HnswIndex(Doc.embedding, m=8, name="of_eight")
>>> plan = plan_index(database, index)
>>> plan.exists, plan.estimate.rows
(False, 0)
>>> build_index(database, plan)
>>> plan_index(database, index).exists
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lightvec.errors import InvalidOption, LightvecError, SchemaMismatch
from lightvec.peewee._seam import create_index_sql, index_name, peewee_errors, table_sql
from lightvec.peewee.build_progress import Progress, read_progress
from lightvec.peewee.catalog import ExistingIndex, sources_of_view, vector_indexes
from lightvec.peewee.citus import shard_sizes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.definitions import tables_named
from lightvec.peewee.estimates import Estimate, estimate
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.invalid_indexes import LOCK_TIMEOUT, drop_invalid_index, drop_statement, sqlstate_of
from lightvec.peewee.reference_tables import reference_index
from lightvec.peewee.session_settings import backend_pid, session_settings
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.wire.identifiers import identifier

__all__ = ["IndexPlan", "build_index", "plan_index"]

#: Seconds between two reads of the progress.
_INTERVAL = 0.25
#: Seconds that a build may go on after it was canceled.
_CANCEL_TIMEOUT = 60

#: CREATE INDEX CONCURRENTLY on a partitioned table.
_NOT_SUPPORTED = "0A000"
#: A second build that began at the same time fails in the catalog's own unique index.
_NAME_TAKEN = ("42P07", "23505")


@dataclass(frozen=True)
class IndexPlan:
    """How to create an index: drop the ``invalid`` ones, then run ``create`` with ``settings``.

    ``on_shards`` says that Citus distributes the table.
    """

    name: str
    schema: str | None
    table: str
    exists: bool
    invalid: tuple[ExistingIndex, ...]
    create: str
    concurrently: bool
    estimate: Estimate
    settings: Mapping[str, object] = field(repr=False)
    on_shards: bool = False

    @property
    def sql(self) -> tuple[str, ...]:
        """The statements."""
        drops = (drop_statement(index, concurrently=self.concurrently) for index in self.invalid)
        return () if self.exists else (*drops, self.create)

    @property
    def table_sql(self) -> str:
        """The table, as SQL."""
        return identifier(*filter(None, (self.schema, self.table)))


def plan_index(
    database: Pg8000Database,
    index: VectorIndex,
    *,
    maintenance_work_mem: int | None = None,
    workers: int | None = None,
    any_name: bool = False,
) -> IndexPlan:
    """Plan the build of this index; the database is read, not changed.

    ``maintenance_work_mem`` (bytes) and ``workers`` (``max_parallel_maintenance_workers``) hold for this build.
    ``any_name`` accepts the same index under another name. :class:`~lightvec.errors.SchemaMismatch` if the index of
    this name differs or is being built, or the table is a view.
    """
    model = index.field.model
    schema, table, wanted_name = model._meta.schema or None, model._meta.table_name, index_name(index)
    sources = sources_of_view(database, table, schema)
    if sources is not None:
        raise SchemaMismatch(f"{table} is a view: build the index on its table ({', '.join(sources) or 'none'})")
    existing, invalid = [], []
    others = vector_indexes(database, table, schema)
    # In two steps: the reference needs the table to exist.
    wanted = reference_index(database, index) if others else None
    found = tables_named(database, [table_sql(model)] if others else [])
    for other in others:
        definition = found[table_sql(model)].indexes[other.name]
        has_form = wanted is not None and definition.form == wanted.form
        is_same = wanted is not None and definition.is_as(wanted, options=index.options)
        if other.name == wanted_name and other.valid and not is_same:
            raise SchemaMismatch(
                f"the index {other.name} exists and differs ({definition.words}): drop it, or give this one another "
                f"name"
            )
        if other.name != wanted_name and (not has_form or other.where is not None):
            continue
        if other.being_built and not other.valid:
            raise SchemaMismatch(f"the index {other.name} is being built by another session: wait until that is done")
        if not other.valid:
            invalid.append(other)
        elif other.name == wanted_name or (any_name and is_same):
            existing.append(other.name)
    return IndexPlan(
        name=existing[0] if existing else wanted_name,
        schema=schema,
        table=table,
        exists=bool(existing),
        invalid=() if existing else tuple(invalid),
        create=create_index_sql(model, index.qualified(database.extension().out_of_path)),
        concurrently=index.concurrently,
        estimate=estimate(database, index, maintenance_work_mem),
        settings=_settings(database, maintenance_work_mem, workers),
        on_shards=shard_sizes(database, identifier(*filter(None, (schema, table)))) is not None,
    )


_SESSION = (
    "SELECT current_setting('client_min_messages') IN ('warning', 'error'), current_setting('statement_timeout') <> '0'"
)

#: Settings that a build can do without, where they cannot be set.
_OPTIONAL = {"client_min_messages", "statement_timeout"}


def _settings(database: Pg8000Database, memory: int | None, workers: int | None) -> dict[str, object]:
    ((is_quiet, is_timed),) = database.execute_sql(_SESSION).fetchall()
    settings = {
        "maintenance_work_mem": None if memory is None else f"{memory >> 10}kB",
        "max_parallel_maintenance_workers": workers,
        "client_min_messages": "notice" if is_quiet else None,
        "statement_timeout": 0 if is_timed else None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def build_index(
    database: Pg8000Database,
    plan: IndexPlan,
    *,
    progress: Callable[[Progress], object] | None = None,
    notice: Callable[[str], object] = lambda message: None,
) -> None:
    """Drop invalid indexes and build the index.

    ``progress`` is called a few times a second, with a second connection; ``notice`` with each notice of the server.
    Any exception, KeyboardInterrupt included, cancels the build. The invalid index that CREATE INDEX CONCURRENTLY then
    leaves is dropped, by the next build if another session holds a lock.
    """
    if plan.exists:
        return
    if plan.concurrently and database.in_transaction():
        raise InvalidOption("CREATE INDEX CONCURRENTLY cannot run in a transaction: leave that first")
    for index in plan.invalid:
        drop_invalid_index(database, index, concurrently=plan.concurrently)
    with peewee_errors:
        conn: Any = database.live_connection()
        pid = backend_pid(conn)
        # In autocommit: a build waits for open transactions.
        new_connection = partial(connect, database.database, **database.connect_params)
        samples = read_progress(new_connection, pid, plan.table_sql, on_shards=plan.on_shards)
        conn.notices.clear()
        with _session_settings(conn, plan, pid) as settings, closing(samples), ThreadPoolExecutor(1) as pool:
            build = pool.submit(conn.execute_unnamed, plan.create, settings=settings)
            try:
                while not wait([build], _INTERVAL).done:
                    _relay_notices(conn, notice)
                    if progress is not None:
                        _report(samples, progress, notice)
                _relay_notices(conn, notice)
                build.result()
            except BaseException as error:
                _cancel(conn, build)
                if plan.concurrently and not conn.closed:
                    _drop_left(database, conn, plan)
                if plan.concurrently and sqlstate_of(error) == _NOT_SUPPORTED:
                    raise InvalidOption(f"cannot build {plan.name} concurrently ({error}): leave that out") from error
                if sqlstate_of(error) in _NAME_TAKEN:
                    raise SchemaMismatch(
                        f"the name {plan.name} is taken ({error}): run the command again, or use another name"
                    ) from error
                raise


def _report(
    samples: Iterator[Progress | None], progress: Callable[[Progress], object], notice: Callable[[str], object]
) -> None:
    try:
        found = next(samples, None)
    except LightvecError as error:
        notice(f"no progress is shown: {error}")
        return
    if found is not None:
        progress(found)


def _relay_notices(conn: Any, notice: Callable[[str], object]) -> None:
    while conn.notices:
        fields = conn.notices.popleft()
        parts = (fields[key].decode("utf-8", "replace").rstrip(".") for key in (b"M", b"D", b"H") if key in fields)
        notice(f"the server says: {'; '.join(parts)}")


def _cancel(conn: Any, build: Future[Any]) -> None:
    """Cancel the build, repeatedly: the server may not have begun. Without an answer, close the connection."""
    for _ in range(_CANCEL_TIMEOUT):
        if build.done():
            return
        try:
            conn.cancel()
        except OperationalError:
            break
        wait([build], 1)
    if not build.done():
        conn.close()


@contextmanager
def _session_settings(conn: Any, plan: IndexPlan, pid: int | None) -> Iterator[Mapping[str, object] | None]:
    """The settings for the statement; for CREATE INDEX CONCURRENTLY, which cannot run in a transaction, they are set
    for the session until it is done."""
    if not plan.concurrently or not plan.settings:
        yield plan.settings or None
        return
    needed = ", ".join(sorted(plan.settings.keys() - _OPTIONAL))
    if needed and (plan.on_shards or pid is None):
        where = "on the nodes of Citus" if plan.on_shards else "behind a connection pooler"
        raise InvalidOption(
            f"{needed} cannot be set for CREATE INDEX CONCURRENTLY {where}: set it on the server (ALTER SYSTEM), or "
            f"leave out one of the two"
        )
    with session_settings(conn, {} if pid is None else {name: str(value) for name, value in plan.settings.items()}):
        yield None


def _drop_left(database: Pg8000Database, conn: Any, plan: IndexPlan) -> None:
    """Drop the invalid index of a failed build, if no other session holds a lock for long."""
    usual, conn.command_timeout = conn.command_timeout, LOCK_TIMEOUT
    try:
        for index in vector_indexes(database, plan.table, plan.schema):
            if index.name == plan.name and not index.valid:
                conn.execute_unnamed(drop_statement(index, concurrently=True))
    except LightvecError:
        return
    finally:
        conn.command_timeout = usual
