"""``on_conflict``: a COPY into a temporary table, then one INSERT with ON CONFLICT from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from json import loads
from uuid import uuid4

from lightvec.errors import InvalidOption
from lightvec.wire.copy.target import Target
from lightvec.wire.errors import ProgrammingError
from lightvec.wire.execute import ask, execute
from lightvec.wire.identifiers import identifier
from lightvec.wire.lookup import read_catalog
from lightvec.wire.session import Session
from lightvec.wire.settings import IMPLICIT

__all__ = ["check_on_conflict", "load_by_insert"]

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

#: The columns of a unique index, and whether it has NULLS NOT DISTINCT.
_Key = tuple[tuple[str, ...], bool]


def check_on_conflict(on_conflict: str | None) -> None:
    """:class:`InvalidOption` for anything but None, "ignore" and "update"."""
    if on_conflict not in (None, "ignore", "update"):
        raise InvalidOption(f'expected on_conflict to be None, "ignore" or "update", got {on_conflict!r}')


def load_by_insert(session: Session, target: Target, on_conflict: str, copy: Callable[[Target], object]) -> int:
    """Load by ``copy`` into a temporary table and insert from it; the number of rows inserted or updated."""
    key = _key(session, target) if on_conflict == "update" else None
    unique = uuid4().hex
    table, place = identifier(f"lightvec_{unique}"), identifier(f"place_{unique}")
    staging = Target(f"pg_temp.{table}", target.columns)
    columns = target.column_list
    # As COPY does, this writes identity columns that are generated always.
    insert = f"INSERT INTO {target.name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM "
    with _transaction(session, table):
        execute(
            session,
            f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS SELECT {columns} FROM {target.name} WITH NO DATA",
        )
        if key is not None:
            execute(session, f"ALTER TABLE {staging.name} ADD {place} bigint GENERATED ALWAYS AS IDENTITY")
        copy(staging)
        if key is None:
            insert += f"{staging.name} ON CONFLICT DO NOTHING"
        else:
            insert += _last_rows(staging.name, key, place) + _on_conflict(target, key)
        count = _inserted(session, insert)
        execute(session, f"DROP TABLE {staging.name}")
    return count


def _last_rows(table: str, key: _Key, place: str) -> str:
    """Of rows with the same key the last one: ON CONFLICT DO UPDATE may not touch a row twice (SQLSTATE 21000)."""
    names, nulls_not_distinct = key
    same = ", ".join(map(identifier, names))
    if not nulls_not_distinct:
        # Rows with a NULL in the key never conflict, but for DISTINCT ON NULLs are equal.
        has_null = " OR ".join(f"{identifier(name)} IS NULL" for name in names)
        same += f", CASE WHEN {has_null} THEN {place} END"
    return f"(SELECT DISTINCT ON ({same}) * FROM {table} ORDER BY {same}, {place} DESC) AS last_rows ORDER BY {place}"


def _on_conflict(target: Target, key: _Key) -> str:
    names = [column.name for column in target.columns if not column.is_always_generated]
    others = [identifier(name) for name in names if name not in (*key[0], *target.left_alone)]
    assignments = ", ".join(f"{name} = excluded.{name}" for name in others)
    action = f"DO UPDATE SET {assignments}" if others else "DO NOTHING"
    return f" ON CONFLICT ({', '.join(map(identifier, key[0]))}) {action}"


def _inserted(session: Session, insert: str) -> int:
    if not session.catalog_is_read:
        read_catalog(session)
    if (session.settings_scope or IMPLICIT).counts_inserts:
        return execute(session, insert).row_count
    answer = execute(session, f"WITH inserted AS ({insert} RETURNING 1) SELECT count(*) FROM inserted")
    return int(answer.rows[0][0]) if answer.rows else 0


def _key(session: Session, target: Target) -> _Key:
    """The primary key if its columns are loaded, else the one unique key whose columns are."""
    loaded = [column.name for column in target.columns]
    keys: list[_Key] = ask(
        session, _KEYS, target.name, read=lambda names, nulls: (tuple(loads(names)), nulls == "true")
    )
    usable = [key for key in keys if set(loaded).issuperset(key[0])]
    if not usable:
        raise ProgrammingError(
            f'on_conflict="update" needs the primary key or a unique constraint of {target.name} among the loaded '
            f"columns {_shown([loaded])}: the table has {_shown(names for names, _ in keys) or 'none'}"
        )
    if len(usable) > 1 and usable[0] != keys[0]:
        raise ProgrammingError(
            f'on_conflict="update" cannot choose among the keys of {target.name} in the loaded columns: '
            f"{_shown(names for names, _ in usable)}; load the primary key, too"
        )
    return usable[0]


def _shown(keys: Iterable[Iterable[str]]) -> str:
    return ", ".join(f"({', '.join(names)})" for names in keys)


@contextmanager
def _transaction(session: Session, savepoint: str) -> Iterator[None]:
    """A transaction, or inside the caller's a savepoint."""
    inside = session.in_transaction
    execute(session, f"SAVEPOINT {savepoint}" if inside else "BEGIN")
    try:
        yield
    except BaseException:
        if not session.closed:
            execute(session, f"ROLLBACK TO {savepoint}" if inside else "ROLLBACK")
        raise
    execute(session, f"RELEASE {savepoint}" if inside else "COMMIT")
