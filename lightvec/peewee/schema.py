"""Repeatable schema set-up: the extension, tables and indexes of models.

What exists is not changed. Where it differs from its model, the step says how; a difference that would break searches
is an error.

>>> steps = set_up(database, [Doc])
>>> [(step.kind, step.name, step.exists) for step in steps]
[('extension', 'vector', True), ('table', 'doc', True), ('index', 'doc_embedding_cosine_hnsw', False)]
>>> all(step.exists for step in plan(database, [Doc]))
True
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from peewee import Model, NotSupportedError, ProgrammingError

from lightvec.errors import InvalidOption, LightvecError, SchemaMismatch
from lightvec.peewee._seam import execute_as_is, peewee_errors
from lightvec.peewee.catalog import ExistingIndex, indexes_named
from lightvec.peewee.citus import require_citus, schema_distribution_call
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.differences import Difference
from lightvec.peewee.distribution import Distribution, distributions
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.invalid_indexes import drop_invalid_index, drop_statement, sqlstate_of
from lightvec.peewee.schema_diff import compare, set_schema
from lightvec.peewee.session_settings import backend_pid, no_statement_timeout
from lightvec.pg8000 import connect, exceptions
from lightvec.wire.identifiers import identifier

__all__ = ["Step", "lock_outside_transaction", "plan", "set_schema", "set_up"]

_INSUFFICIENT_PRIVILEGE = "42501"

#: The advisory lock of a set-up in this database: "lightvec" in ASCII.
_LOCK = int.from_bytes(b"lightvec", "big")

#: Seconds between two attempts to get it, until giving up, and that its holder may be idle.
_LOCK_INTERVAL, _LOCK_TIMEOUT, _IDLE_TIMEOUT = 0.05, 3_600, 30
#: Seconds to wait for a pooler's second session.
_SESSION_TIMEOUT = 10


@dataclass(frozen=True)
class Step:
    """One object that the schema needs: whether it exists, and if not, the statements that create it.

    ``differs`` says how an existing object differs from its model; it is left as it is. ``invalid`` is an invalid index
    of that name, which is dropped before. ``outside_transaction`` says that the statements cannot run inside one
    (CREATE INDEX CONCURRENTLY), and ``note`` what may surprise about a new object.
    """

    kind: str
    name: str
    exists: bool
    create: tuple[str, ...] = ()
    outside_transaction: bool = False
    note: str = ""
    invalid: ExistingIndex | None = None
    differs: str = ""

    @property
    def sql(self) -> tuple[str, ...]:
        """The statements."""
        if self.invalid is None:
            return self.create
        return (drop_statement(self.invalid, concurrently=self.outside_transaction), *self.create)


def plan(
    database: Pg8000Database,
    models: Sequence[type[Model]],
    *,
    create_extension: bool = True,
    schema: str | None = None,
    concurrently: bool = False,
    distribution: Distribution | None = None,
    distribute_schema: bool = False,
) -> list[Step]:
    """What the models need, in the order of creation; the database is read, not changed.

    ``schema`` is created if it does not exist. ``concurrently`` builds vector indexes without locking out writers.
    ``distribution`` is for models that declare none (:mod:`lightvec.peewee.distribution`); ``distribute_schema`` has
    Citus distribute the schema as a whole.
    :class:`~lightvec.errors.SchemaMismatch` where an existing table or index does not serve its model,
    :class:`~lightvec.pg8000.exceptions.MissingExtension` where pgvector is missing and must not or cannot be created.
    """
    if distribute_schema and distributions(models, distribution):
        raise InvalidOption("a schema that is distributed has its tables whole: distribute it, or the tables, not both")
    if distribute_schema:
        require_citus(database)
    options = {"concurrently": concurrently, "new_concurrently": concurrently}
    extension, *differences = compare(database, models, distribution, **options)
    steps = [_extension(extension, create_extension)]
    if schema is not None:
        exists = _exists(database, "SELECT to_regnamespace(%s)", identifier(schema))
        steps.append(Step("schema", schema, exists, (f"CREATE SCHEMA {identifier(schema)}",)))
    if distribute_schema:
        if schema is None:
            raise InvalidOption("name the schema that is to be distributed (schema=, --schema)")
        exists, call = schema_distribution_call(database, schema)
        steps.append(Step("distribution", f"schema {schema}", exists, (call,)))
    return [*steps, *_steps(database, differences)]


def set_up(database: Pg8000Database, models: Sequence[type[Model]], **options: Any) -> list[Step]:
    """Create what does not exist: all of it or nothing, except what cannot run in a transaction, which comes last.

    Takes the parameters of :func:`plan` and returns its steps. A second set-up of the database waits.
    """
    steps = _set_up_in_transaction(database, models, options)
    if any(step.outside_transaction and not step.exists for step in steps):
        with lock_outside_transaction(database), no_statement_timeout(database):
            # Another set-up may have built the same indexes meanwhile.
            _run(database, [step for step in plan(database, models, **options) if step.outside_transaction])
    return steps


def _set_up_in_transaction(
    database: Pg8000Database, models: Sequence[type[Model]], options: dict[str, Any]
) -> list[Step]:
    """Create what a transaction can create, under a lock that ends with it.

    Waiting for the lock inside a transaction would be a deadlock: CREATE INDEX CONCURRENTLY, which another set-up
    runs under the same lock, waits for the end of older transactions.
    """
    created: list[Step] = []
    for _ in _attempts(database):
        with database.atomic():
            if _exists(database, "SELECT nullif(pg_try_advisory_xact_lock(%s), false)", _LOCK):
                # The index of a table with rows takes its time.
                database.execute_sql("SELECT set_config('statement_timeout', '0', true)")
                steps = plan(database, models, **options)
                new_schema = [step for step in steps if step.kind in ("extension", "schema") and not step.exists]
                if not (new_schema and any(step.kind == "distribution" for step in steps)):
                    _run(database, [step for step in steps if not step.outside_transaction])
                    return [*created, *steps[len(created) :]]
                # Without superuser rights, Citus distributes over connections that must see the schema.
                _run(database, new_schema)
                created = [step for step in steps if step.kind in ("extension", "schema")]
    raise AssertionError("the attempts end with an error")


@contextmanager
def lock_outside_transaction(database: Pg8000Database) -> Iterator[None]:
    """The same lock, for statements that cannot run in a transaction.

    Behind a pooler the lock of a session could stay on a pooled session. There a second connection holds the lock in a
    transaction, for which CREATE INDEX CONCURRENTLY does not wait: between statements it has no snapshot.
    """
    with peewee_errors:
        is_direct = backend_pid(database.live_connection()) is not None
    if is_direct:
        for _ in _attempts(database):
            if _exists(database, "SELECT nullif(pg_try_advisory_lock(%s), false)", _LOCK):
                break
        try:
            yield
        finally:
            database.execute_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))
        return
    with peewee_errors, connect(database.database, **database.connect_params) as holder:
        for _ in _attempts(database):
            holder.run("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 0")
            # As a simple query: the portal of an extended one would keep its snapshot.
            if holder.execute_simple(f"SELECT pg_try_advisory_xact_lock({_LOCK:d})").rows == [[True]]:
                break
            holder.run("ROLLBACK")
        try:
            _check_second_session(database)
            yield
        finally:
            with suppress(LightvecError):
                holder.run("ROLLBACK")


def _check_second_session(database: Pg8000Database) -> None:
    """An error if the pooler has no other session than the holder's."""
    conn = database.live_connection()
    former, conn.command_timeout = conn.command_timeout, _SESSION_TIMEOUT
    try:
        conn.execute_unnamed("SELECT 1")
    except exceptions.OperationalError as error:
        raise exceptions.OperationalError(
            "the pooler gave no second session of the server, which building an index concurrently needs: raise its "
            "pool size (default_pool_size of PgBouncer), connect to the server itself, or leave concurrently out"
        ) from error
    finally:
        conn.command_timeout = former


_HOLDER = """\
SELECT a.pid, a.state = 'idle' AND a.state_change < now() - %s * interval '1 second'
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid::int8 << 32 | l.objid::int8 = %s AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"""


def _attempts(database: Pg8000Database) -> Iterator[None]:
    """Attempts to get the lock; an error after an hour, or if an idle session has it, which has been left behind."""
    give_up = time.monotonic() + _LOCK_TIMEOUT
    while True:
        yield
        time.sleep(_LOCK_INTERVAL)
        for pid, is_idle in database.execute_sql(_HOLDER, (_IDLE_TIMEOUT, _LOCK)).fetchall():
            if is_idle or time.monotonic() > give_up:
                raise exceptions.OperationalError(
                    f"process {pid} of the server holds the lock of schema set-up (see pg_stat_activity): wait until "
                    f"its set-up is done, or run SELECT pg_terminate_backend({pid}) if that is gone"
                )


def _run(database: Pg8000Database, steps: Iterable[Step]) -> None:
    missing = [step for step in steps if not step.exists and not step.differs]
    if any(step.kind == "distribution" for step in missing):
        # Several tables in one transaction, of which some refer to others, go over one connection to each worker.
        database.execute_sql("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    for step in missing:
        try:
            if step.invalid is not None:
                drop_invalid_index(database, step.invalid, concurrently=step.outside_transaction)
            if step.kind in ("table", "index") and not step.outside_transaction:
                _add_extension_to_path(database)
            for statement in step.create:
                execute_as_is(database, statement)
        except ProgrammingError as error:
            if step.kind == "extension" and sqlstate_of(error) == _INSUFFICIENT_PRIVILEGE:
                raise exceptions.ProgrammingError(
                    f"this user may not create the extension vector: the database's owner or an administrator must run "
                    f"`{step.sql[0]}` in it first"
                ) from error
            raise
        except NotSupportedError as error:
            if step.outside_transaction:
                raise SchemaMismatch(
                    f"the index {step.name} cannot be built concurrently ({error}): leave concurrently out"
                ) from error
            raise


def _add_extension_to_path(database: Pg8000Database) -> None:
    """Until the end of the transaction, find pgvector's types where its schema is not in the search path."""
    if schema := database.extension().out_of_path:
        database.execute_sql(
            "SELECT set_config('search_path', current_setting('search_path') || ', ' || quote_ident(%s), true) "
            "WHERE NOT %s = ANY(current_schemas(true))",
            (schema, schema),
        )


# What exists, and what is to be created


def _extension(found: Difference, create: bool) -> Step:
    if found.differs and not found.sql:
        raise exceptions.ProgrammingError(f"pgvector {found.differs.removeprefix('it ')}")
    if found.is_missing and not create:
        raise exceptions.MissingExtension
    # An older version than the server has serves.
    return Step(found.kind, found.name, not found.is_missing, found.sql)


def _steps(database: Pg8000Database, differences: Sequence[Difference]) -> Iterator[Step]:
    created = {each.model for each in differences if each.kind == "table" and each.is_missing}
    differing = {each.model for each in differences if _is_shown(each) and each.kind not in _OBJECTS}
    for each in differences:
        if each.unusable:
            raise _mismatch(each)
        if not _is_shown(each) or (each.kind == "table" and each.model in differing and not each.is_missing):
            continue
        yield _step(database, each, each.model in created)


#: What init-db creates where it is missing; what else differs is a part of a table.
_OBJECTS = {"table", "sequence", "distribution", "model", "index", "vector index"}


def _is_shown(each: Difference) -> bool:
    """Whether it concerns the model: what it does not declare does so beside an index of its own only."""
    if not each.undeclared:
        return bool(each.differs) or each.kind in _OBJECTS
    if each.kind != "vector index" or each.existing is None:
        return False
    declared = (index for index in each.model._meta.fields_to_index() if isinstance(index, VectorIndex))
    return any(index.field.column_name in each.existing.columns for index in declared)


def _step(database: Pg8000Database, each: Difference, is_of_new_table: bool) -> Step:
    kind = "index" if each.kind == "vector index" else each.kind
    if not each.differs:
        return Step(kind, each.name, True)
    is_invalid = each.existing is not None and not each.existing.valid and not each.undeclared
    is_created = is_of_new_table or each.kind in _OBJECTS
    if not is_invalid and not (each.is_missing and is_created):
        return Step(kind, each.name, False, differs=each.differs)
    meta = each.model._meta
    # The last statement creates an index, behind the drop of an invalid one.
    sql = each.sql[-1:] if kind == "index" else each.sql
    invalid = indexes_named(database, [each.name], meta.table_name, meta.schema)[each.name] if is_invalid else None
    return Step(kind, each.name, False, sql, each.outside_transaction, each.note, invalid)


def _mismatch(each: Difference) -> SchemaMismatch:
    if each.kind == "model":
        return SchemaMismatch(each.differs)
    name = f"of {each.name}" if each.kind == "type" else each.name
    hint = ": `lightvec diff` prints how to change the table" if each.sql else ""
    return SchemaMismatch(f"the {each.kind} {name} of {each.model.__name__}: {each.differs}{hint}")


def _exists(database: Pg8000Database, question: str, *values: object) -> bool:
    row = database.execute_sql(question, values).fetchone()
    return row is not None and row[0] is not None
