"""The statements that change columns, constraints and indexes from one definition into another.

None of them holds a lock for long on a table with rows, and each can be run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lightvec.peewee.definitions import Column, Constraint, IndexDefinition, Table
from lightvec.wire.identifiers import MAX_BYTES, identifier, text_literal

__all__ = [
    "add_column",
    "add_constraint",
    "change_default",
    "change_null",
    "change_type",
    "change_type_and_default",
    "column_definition",
    "create_index",
    "drop_column",
    "drop_constraint",
    "drop_index",
    "replace_index",
    "restore_column",
]


def column_definition(column: Column, *, null: bool = False, default: str | None = None) -> str:
    """A column as in CREATE TABLE; ``null`` leaves NOT NULL out, ``default`` is in place of its own."""
    words = [identifier(column.name), column.type]
    if column.collation:
        words.append(f"COLLATE {column.collation}")
    if column.generated:
        words.append(f"GENERATED ALWAYS AS ({column.generated}) STORED")
    elif column.identity:
        words.append(f"GENERATED {_IDENTITY[column.identity]} AS IDENTITY")
    elif default or column.default:
        words.append(f"DEFAULT {default or column.default}")
    if column.not_null and not null:
        words.append("NOT NULL")
    return " ".join(words)


_IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}
#: The notations of PostgreSQL for a number with a sequence.
_SERIALS = {"integer": "serial", "bigint": "bigserial", "smallint": "smallserial"}


def add_column(table: Table, column: Column, *, default: str | None = None) -> tuple[str, ...]:
    """``default`` is the value for the rows that exist."""
    name = identifier(column.name)
    if column.default == "sequence":
        null = "NOT NULL" if column.not_null else "NULL"
        definition = f"{name} {_SERIALS[column.type]} {null}"
    else:
        definition = column_definition(column, default=default)
    added = f"ALTER TABLE {table.sql} ADD COLUMN IF NOT EXISTS {definition}"
    if default is None:
        return (added,)
    return (added, f"ALTER TABLE {table.sql} ALTER COLUMN {name} DROP DEFAULT")


def restore_column(table: Table, column: Column) -> Iterator[str]:
    """Add a column that was dropped; NOT NULL only where there is no row without a value."""
    is_filled = column.default or column.identity or column.generated
    if not column.not_null or is_filled:
        yield from add_column(table, column)
    else:
        alter = f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(column.name)} SET NOT NULL"
        block = f"BEGIN IF NOT EXISTS (SELECT FROM {table.sql}) THEN {alter}; END IF; END"
        yield f"ALTER TABLE {table.sql} ADD COLUMN IF NOT EXISTS {column_definition(column, null=True)}"
        yield f"DO {text_literal(block)}"
    if column.comment is not None:
        place = identifier(table.schema, table.name, column.name)
        yield f"COMMENT ON COLUMN {place} IS {text_literal(column.comment)}"


def drop_column(table: Table, column: Column) -> tuple[str, ...]:
    return (f"ALTER TABLE {table.sql} DROP COLUMN IF EXISTS {identifier(column.name)}",)


def change_type(table: Table, old: Column, new: Column, *, using: bool) -> tuple[str, ...]:
    """``using`` casts the values explicitly."""
    name = identifier(new.name)
    actions = []
    if old.default not in (None, "sequence"):
        # It may have no cast.
        actions.append(f"ALTER COLUMN {name} DROP DEFAULT")
    collate = new.collation or identifier("default")
    collation = "" if old.collation == new.collation else f" COLLATE {collate}"
    cast = f" USING {name}::{new.type}" if using else ""
    actions.append(f"ALTER COLUMN {name} TYPE {new.type}{collation}{cast}")
    if new.default not in (None, "sequence"):
        actions.append(f"ALTER COLUMN {name} SET DEFAULT {new.default}")
    statements = [f"ALTER TABLE {table.sql} {', '.join(actions)}"]
    if old.sequence and new.sequence:
        statements.append(f"ALTER SEQUENCE {old.sequence} AS {new.type}")
    return tuple(statements)


def change_type_and_default(table: Table, old: Column, new: Column, *, using: bool) -> tuple[str, ...]:
    """A default may have no cast, and one of the new type cannot come before it."""
    bare_old, bare_new = (replace(each, default=None, identity="", sequence=None) for each in (old, new))
    return (
        *change_default(table, old, bare_old),
        *change_type(table, bare_old, bare_new, using=using),
        *change_default(table, bare_new, new),
    )


def change_default(table: Table, old: Column, new: Column) -> tuple[str, ...]:
    """From one default, sequence or identity to another."""
    alter = f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(new.name)}"
    statements = []
    if old.identity:
        statements.append(f"{alter} DROP IDENTITY IF EXISTS")
    elif old.default:
        statements.append(f"{alter} DROP DEFAULT")
        if old.sequence and old.default == "sequence":
            statements.append(f"DROP SEQUENCE IF EXISTS {old.sequence}")
    if new.identity:
        statements.append(f"{alter} ADD GENERATED {_IDENTITY[new.identity]} AS IDENTITY")
        statements.append(_set_sequence(table, new))
    elif new.default == "sequence":
        sequence = identifier(table.schema, f"{table.name}_{new.name}_seq"[:MAX_BYTES])
        column = identifier(table.schema, table.name, new.name)
        statements += [
            f"CREATE SEQUENCE IF NOT EXISTS {sequence} AS {new.type} OWNED BY {column}",
            f"{alter} SET DEFAULT nextval({text_literal(sequence)}::regclass)",
            _set_sequence(table, new),
        ]
    elif new.default:
        statements.append(f"{alter} SET DEFAULT {new.default}")
    return tuple(statements)


def _set_sequence(table: Table, column: Column) -> str:
    """Have the sequence of a column go on behind its values."""
    sequence = f"pg_get_serial_sequence({text_literal(table.sql)}, {text_literal(column.name)})"
    return f"SELECT setval({sequence}, coalesce(max({identifier(column.name)}), 0) + 1, false) FROM {table.sql}"


def change_null(table: Table, column: Column) -> tuple[str, ...]:
    """Validating a constraint first, SET NOT NULL needs no scan under its lock."""
    alter, name = f"ALTER TABLE {table.sql}", identifier(column.name)
    if not column.not_null:
        return (f"{alter} ALTER COLUMN {name} DROP NOT NULL",)
    check = identifier("lightvec_not_null")
    return (
        f"{alter} DROP CONSTRAINT IF EXISTS {check}",
        f"{alter} ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID",
        f"{alter} VALIDATE CONSTRAINT {check}",
        f"{alter} ALTER COLUMN {name} SET NOT NULL",
        f"{alter} DROP CONSTRAINT IF EXISTS {check}",
    )


def drop_constraint(table: Table, constraint: Constraint) -> tuple[str, ...]:
    return (f"ALTER TABLE {table.sql} DROP CONSTRAINT IF EXISTS {identifier(constraint.name)}",)


def add_constraint(table: Table, constraint: Constraint, old: Constraint | None = None) -> tuple[str, ...]:
    """In place of the ``old`` one; a foreign key and a check are validated without blocking writes."""
    alter, name = f"ALTER TABLE {table.sql}", identifier(constraint.name)
    drops = dict.fromkeys(identifier(each.name) for each in (old, constraint) if each is not None)
    drop = ", ".join(f"DROP CONSTRAINT IF EXISTS {each}" for each in drops)
    add = f"ADD CONSTRAINT {name} {constraint.definition}"
    if constraint.kind not in "fc" or table.is_partitioned:
        return (f"{alter} {drop}, {add}",)
    return (f"{alter} {drop}, {add} NOT VALID", f"{alter} VALIDATE CONSTRAINT {name}")


def create_index(
    table: Table, index: IndexDefinition, *, concurrently: bool, name: str | None = None
) -> tuple[str, ...]:
    """Behind the drop of what an interrupted build left."""
    unique = "UNIQUE " if index.unique else ""
    word = "CONCURRENTLY " if concurrently else ""
    written = identifier(name or index.name)
    create = f"CREATE {unique}INDEX {word}{written} ON {table.sql} {index.definition}"
    return (_drop_index(table, name or index.name, concurrently), create)


def drop_index(table: Table, index: IndexDefinition, *, concurrently: bool) -> str:
    if index.constraint is not None:
        return f"ALTER TABLE {table.sql} DROP CONSTRAINT IF EXISTS {identifier(index.constraint)}"
    return _drop_index(table, index.name, concurrently)


def _drop_index(table: Table, name: str, concurrently: bool) -> str:
    word = "CONCURRENTLY " if concurrently else ""
    return f"DROP INDEX {word}IF EXISTS {identifier(table.schema, name)}"


def replace_index(table: Table, old: IndexDefinition, new: IndexDefinition, *, concurrently: bool) -> Iterator[str]:
    """Searches have one of the two all the time."""
    suffix = "_new"
    stem = new.name.encode()[: MAX_BYTES - len(suffix)].decode(errors="ignore")
    yield from create_index(table, new, concurrently=concurrently, name=stem + suffix)
    yield drop_index(table, old, concurrently=concurrently)
    yield f"ALTER INDEX {identifier(table.schema, stem + suffix)} RENAME TO {identifier(new.name)}"
