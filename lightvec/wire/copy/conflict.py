"""``on_conflict``: a COPY into a temporary table, then one INSERT with ON CONFLICT from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import loads
from typing import NamedTuple
from uuid import uuid4

from lightvec.errors import InvalidOption
from lightvec.wire.copy.target import Target
from lightvec.wire.errors import ProgrammingError
from lightvec.wire.execute import ask, execute
from lightvec.wire.identifiers import identifier
from lightvec.wire.lookup import look_up
from lightvec.wire.session import Session
from lightvec.wire.settings import IMPLICIT

__all__ = ["IGNORE", "UPDATE", "check_on_conflict", "load_by_insert"]

IGNORE, UPDATE = "ignore", "update"

#: Unique indexes that ON CONFLICT can name by their columns: the primary key first. By way of JSON, because
#: ``indnullsnotdistinct`` came with PostgreSQL 15.
_KEYS = """\
SELECT (SELECT pg_catalog.json_agg(a.attname ORDER BY k.place)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts),
    pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'
FROM pg_catalog.pg_index i
WHERE i.indrelid = pg_catalog.to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, i.indexrelid"""


class Key(NamedTuple):
    """The columns of a unique index, and whether it has NULLS NOT DISTINCT."""

    columns: tuple[str, ...]
    nulls_not_distinct: bool


def check_on_conflict(on_conflict: str | None) -> None:
    """:class:`InvalidOption` for anything but None, "ignore" and "update"."""
    if on_conflict not in (None, IGNORE, UPDATE):
        raise InvalidOption(f'expected on_conflict to be None, "ignore" or "update", got {on_conflict!r}')


def load_by_insert(session: Session, target: Target, on_conflict: str, copy: Callable[[Target], int]) -> int:
    """Load by ``copy`` into a temporary table and insert from it; the number of rows inserted or updated."""
    key = _key(session, target) if on_conflict == UPDATE else None
    unique = uuid4().hex
    place = f"place_{unique}"
    staging = Target(identifier("pg_temp", f"lightvec_{unique}"), target.columns)
    with _block(session, unique):
        execute(
            session,
            f"CREATE TEMPORARY TABLE {identifier(f'lightvec_{unique}')} ON COMMIT DROP AS "
            f"SELECT {target.column_list} FROM {target.name} WITH NO DATA",
        )
        if key is not None:
            execute(session, f"ALTER TABLE {staging.name} ADD {identifier(place)} bigint GENERATED ALWAYS AS IDENTITY")
        copy(staging)
        sql = _ignoring(target, staging) if key is None else _updating(target, staging, key, identifier(place))
        inserted = _run(session, sql)
        execute(session, f"DROP TABLE {staging.name}")
    return inserted


def _run(session: Session, insert: str) -> int:
    if not session.is_looked_up:
        look_up(session)
    if (session.framing or IMPLICIT).counts_inserts:
        return execute(session, insert).row_count
    answer = execute(session, f"WITH inserted AS ({insert} RETURNING 1) SELECT count(*) FROM inserted")
    return int(answer.rows[0][0]) if answer.rows else 0


def _ignoring(target: Target, staging: Target) -> str:
    return f"{_insert(target)} SELECT {target.column_list} FROM {staging.name} ON CONFLICT DO NOTHING"


def _updating(target: Target, staging: Target, key: Key, place: str) -> str:
    """Of rows with the same key the last one: ON CONFLICT DO UPDATE may not touch a row twice (SQLSTATE 21000)."""
    names = [identifier(name) for name in key.columns]
    same = ", ".join(names)
    if not key.nulls_not_distinct:
        # Rows with a NULL in the key never conflict, but for DISTINCT ON NULLs are equal.
        same += f", CASE WHEN {' OR '.join(f'{name} IS NULL' for name in names)} THEN {place} END"
    return (
        f"{_insert(target)} SELECT {target.column_list} "
        f"FROM (SELECT DISTINCT ON ({same}) * FROM {staging.name} ORDER BY {same}, {place} DESC) AS last_rows "
        f"ORDER BY {place} ON CONFLICT ({', '.join(names)}) {_assignments(target, key)}"
    )


def _insert(target: Target) -> str:
    # As COPY does, this writes identity columns that are generated always.
    return f"INSERT INTO {target.name} ({target.column_list}) OVERRIDING SYSTEM VALUE"


def _assignments(target: Target, key: Key) -> str:
    others = [
        identifier(column.name)
        for column in target.columns
        if column.name not in (*key.columns, *target.left_alone) and not column.is_always_generated
    ]
    if not others:
        return "DO NOTHING"
    return "DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others)


def _key(session: Session, target: Target) -> Key:
    """The primary key if its columns are loaded, else the one unique key whose columns are."""
    loaded = {column.name for column in target.columns}
    keys = ask(session, _KEYS, target.name, read=lambda names, nulls: Key(tuple(loads(names)), nulls == "true"))
    usable = [key for key in keys if loaded.issuperset(key.columns)]
    if not usable:
        there = ", ".join(_shown(key.columns) for key in keys) or "none"
        raise ProgrammingError(
            f'on_conflict="update" needs the primary key or a unique constraint of {target.name} among the loaded '
            f"columns {_shown([column.name for column in target.columns])}: the table has {there}"
        )
    if len(usable) > 1 and usable[0] != keys[0]:
        raise ProgrammingError(
            f'on_conflict="update" cannot choose among the keys of {target.name} in the loaded columns: '
            f"{', '.join(_shown(key.columns) for key in usable)}; load the primary key, too"
        )
    return usable[0]


def _shown(names: Sequence[str]) -> str:
    return f"({', '.join(names)})"


@contextmanager
def _block(session: Session, unique: str) -> Iterator[None]:
    """A transaction, or inside the caller's a savepoint."""
    name = identifier(f"lightvec_{unique}")
    inside = session.in_transaction
    execute(session, f"SAVEPOINT {name}" if inside else "BEGIN")
    try:
        yield
    except BaseException:
        if not session.closed:
            execute(session, f"ROLLBACK TO {name}" if inside else "ROLLBACK")
        raise
    execute(session, f"RELEASE {name}" if inside else "COMMIT")
