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
from lightvec.index_options import DEFAULTS
from lightvec.peewee._seam import create_index_sql, index_name, peewee_errors
from lightvec.peewee.build_progress import Progress, read_progress
from lightvec.peewee.catalog import ExistingIndex, sources_of_view, vector_indexes
from lightvec.peewee.citus import shards_and_pages
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.estimates import Estimate, estimate
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.invalid_indexes import LOCK_TIMEOUT, InvalidIndex, drop_invalid_index, sqlstate_of
from lightvec.peewee.sessions import server_process, session_settings
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.pg8000.native import Connection
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

    ``on_shards`` says that the table is distributed by Citus.
    """

    name: str
    schema: str | None
    table: str
    exists: bool
    invalid: tuple[InvalidIndex, ...]
    create: str
    concurrently: bool
    estimate: Estimate
    settings: Mapping[str, object] = field(repr=False)
    on_shards: bool = False

    @property
    def sql(self) -> tuple[str, ...]:
        """The statements."""
        drops = (index.drop_statement(concurrently=self.concurrently) for index in self.invalid)
        return () if self.exists else (*drops, self.create)


def plan_index(
    database: Pg8000Database,
    index: VectorIndex,
    *,
    maintenance_work_mem: int | None = None,
    workers: int | None = None,
    any_name: bool = False,
) -> IndexPlan:
    """What to do for this index; the database is read, not changed.

    ``maintenance_work_mem`` (bytes) and ``workers`` (``max_parallel_maintenance_workers``) hold for this build.
    ``any_name`` accepts the same index under another name. :class:`~lightvec.errors.SchemaMismatch` if the index of
    this name differs or is being built, or the table is a view.
    """
    meta: Any = index.field.model._meta
    schema, table = meta.schema or None, meta.table_name
    sources = sources_of_view(database, table, schema)
    if sources is not None:
        raise SchemaMismatch(f"{table} is a view: build the index on its table ({', '.join(sources) or 'none'})")
    alike = []
    for other in vector_indexes(database, table, schema):
        if other.name == index_name(index) and other.valid and not _is_same(index, other):
            raise SchemaMismatch(
                f"the index {other.name} exists and differs ({_described(other)}): drop it, or give this one another "
                f"name"
            )
        if other.name == index_name(index) or _is_alike(index, other):
            alike.append(other)
    for other in alike:
        if other.being_built and not other.valid:
            raise SchemaMismatch(f"the index {other.name} is being built by another session: wait until that is done")
    existing = [
        other.name
        for other in alike
        if other.valid and (other.name == index_name(index) or (any_name and _is_same(index, other)))
    ]
    return IndexPlan(
        name=existing[0] if existing else index_name(index),
        schema=schema,
        table=table,
        exists=bool(existing),
        invalid=() if existing else tuple(_invalid(other) for other in alike if not other.valid),
        create=create_index_sql(index.field.model, index),
        concurrently=index.concurrently,
        estimate=estimate(database, index, maintenance_work_mem),
        settings=_settings(database, maintenance_work_mem, workers),
        on_shards=bool(shards_and_pages(database, _as_sql(schema, table))[0]),
    )


def _as_sql(schema: str | None, table: str) -> str:
    return identifier(*filter(None, (schema, table)))


def _invalid(other: ExistingIndex) -> InvalidIndex:
    return InvalidIndex(other.schema, other.name, identifier(other.table_schema, other.table))


def _described(other: ExistingIndex) -> str:
    words = [f"{other.method} on {other.column or other.expression}", other.operator_class]
    names = ("m", "ef_construction") if other.method == "hnsw" else ("lists",)
    words += [f"{name} = {other.options.get(name, DEFAULTS[name])}" for name in names]
    return ", ".join(words + ([f"where {other.where}"] if other.where else []))


def _is_alike(index: VectorIndex, other: ExistingIndex) -> bool:
    """Whether both index the same column in the same form, by the same method and metric."""
    quantize = index.quantization.name if index.quantization else None
    wanted = (index.field.column_name, index.method, index.operator_class, quantize, None)
    return wanted == (other.column, other.method, other.operator_class, other.quantize, other.where)


def _is_same(index: VectorIndex, other: ExistingIndex) -> bool:
    """Whether the options that were given are the same, too."""
    return _is_alike(index, other) and all(
        int(other.options.get(name, DEFAULTS[name])) == value for name, value in index._options.items()
    )


_SESSION = """\
SELECT %s = ANY(current_schemas(true)), current_setting('search_path') || ', ' || quote_ident(%s),
    current_setting('client_min_messages') IN ('warning', 'error'), current_setting('statement_timeout') <> '0'"""

#: Settings that a build can do without, where they cannot be set.
_OPTIONAL = {"client_min_messages", "statement_timeout"}


def _settings(database: Pg8000Database, memory: int | None, workers: int | None) -> dict[str, object]:
    schema = database.extension().schema
    ((is_in_path, path, is_quiet, is_timed),) = database.execute_sql(_SESSION, (schema, schema)).fetchall()
    settings = {
        "maintenance_work_mem": None if memory is None else f"{memory >> 10}kB",
        "max_parallel_maintenance_workers": workers,
        # Operator classes are found by the search path.
        "search_path": path if schema and not is_in_path else None,
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

    ``progress`` is called a few times a second, for which a second connection is opened; ``notice`` with each notice of
    the server. Any exception, KeyboardInterrupt included, cancels the build on the server. CREATE INDEX CONCURRENTLY
    then leaves an invalid index, which is dropped unless another session holds a lock; the next build drops it.
    """
    if plan.exists:
        return
    if plan.concurrently and database.in_transaction():
        raise InvalidOption("CREATE INDEX CONCURRENTLY cannot run in a transaction: leave that first")
    for index in plan.invalid:
        drop_invalid_index(database, index, concurrently=plan.concurrently)
    with peewee_errors:
        conn: Any = database.live_connection()
        pid = server_process(conn)
        table = _as_sql(plan.schema, plan.table)
        samples = read_progress(partial(_connect, database), pid, table, on_shards=plan.on_shards)
        conn.notices.clear()
        with _session_settings(conn, plan, pid) as settings, closing(samples), ThreadPoolExecutor(1) as pool:
            build = pool.submit(conn.execute_unnamed, plan.create, settings=settings)
            try:
                while not wait([build], _INTERVAL).done:
                    _relay_notices(conn, notice)
                    if progress is not None and (found := _next(samples, notice)) is not None:
                        progress(found)
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


def _connect(database: Pg8000Database) -> Connection:
    """A connection in autocommit: a build waits for open transactions."""
    return connect(database.database, **database.connect_params)


def _next(samples: Iterator[Progress | None], notice: Callable[[str], object]) -> Progress | None:
    try:
        return next(samples, None)
    except LightvecError as error:
        notice(f"no progress is shown: {error}")
        return None


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
    """The settings for the statement. CREATE INDEX CONCURRENTLY cannot share a transaction with what sets them, so
    they are set for the session until it is done."""
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
    """Drop the invalid index of a build that failed; if another session holds a lock for long, the next build does."""
    usual, conn.command_timeout = conn.command_timeout, LOCK_TIMEOUT
    try:
        for index in vector_indexes(database, plan.table, plan.schema):
            if index.name == plan.name and not index.valid:
                conn.execute_unnamed(_invalid(index).drop_statement(concurrently=True))
    except LightvecError:
        return
    finally:
        conn.command_timeout = usual
