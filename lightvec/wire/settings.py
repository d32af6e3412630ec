"""Settings that hold for one statement, as SQL before and after it.

``set_config(name, value, true)`` holds until the transaction ends (PostgreSQL documentation, 9.28.1).
The statements before one Sync are one implicit transaction. A pooler that sends a Sync of its own in
between (pgpool-II does) ends that, so there it is an explicit one. In the caller's block the former
values are saved in settings of lightvec's own, and restored after the statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lightvec.wire.errors import InterfaceError
from lightvec.wire.identifiers import identifier

__all__ = ["EXPLICIT", "IMPLICIT", "AtLeast", "SettingsScope", "Step", "WithSchema", "restore_step", "set_step"]

_FORMER = "lightvec.former_"


class AtLeast(NamedTuple):
    """A number that a setting is raised to if it is lower; ``default`` is its value when unset."""

    value: int
    default: int


class WithSchema(NamedTuple):
    """The search path with a schema appended, where it hides no other names."""

    name: str


class Step(NamedTuple):
    """A statement and its parameters."""

    sql: str
    values: list[str] = []  # noqa: RUF012  (never changed)


BEGIN, COMMIT = Step("BEGIN"), Step("COMMIT")


class SettingsScope:
    """The statements around one that has settings."""

    #: Whether the tag of an INSERT counts the rows that were stored, not those that were sent.
    counts_inserts = True

    def around(self, settings: Mapping[str, object], *, inside: bool) -> tuple[list[Step], list[Step]]:
        """The statements before and after it; ``inside`` a transaction block."""
        return [set_step(settings, keep=inside)], [restore_step(settings)] if inside else []


class ExplicitScope(SettingsScope):
    """An explicit transaction, where the implicit one of a Sync is not kept."""

    def around(self, settings: Mapping[str, object], *, inside: bool) -> tuple[list[Step], list[Step]]:
        before, after = super().around(settings, inside=inside)
        return (before, after) if inside else ([BEGIN, *before], [COMMIT])


IMPLICIT, EXPLICIT = SettingsScope(), ExplicitScope()


def set_step(settings: Mapping[str, object], *, keep: bool) -> Step:
    """The statement that applies settings; ``keep`` also saves the former values.

    >>> tuple(set_step({"hnsw.ef_search": 100}, keep=False))
    ('SELECT set_config($1, $2, true)', ['hnsw.ef_search', '100'])
    """
    saves: list[str] = []
    calls: list[str] = []
    values: list[str] = []
    for index, (name, value) in enumerate(settings.items()):
        if not isinstance(name, str):
            raise InterfaceError(f"expected a setting's name as a str, got {type(name).__name__}")
        if name.lower() == "client_encoding":
            raise InterfaceError("client_encoding cannot be set for one statement: use SET client_encoding")
        name_at, value_at = f"${len(values) + 1}", f"${len(values) + 2}"
        values += (name, _text(value))
        if keep:
            former = f"coalesce('=' || current_setting({name_at}, true), '')"
            saves.append(f"set_config('{_FORMER}{index}', {former}, true)")
        if isinstance(value, AtLeast):
            former = f"coalesce(nullif(current_setting({name_at}, true), ''), '{value.default:d}')"
            value_at = f"greatest({former}::int, {value_at}::int)::text"
        elif isinstance(value, WithSchema):
            former = f"nullif(current_setting({name_at}), '')"
            value_at = f"concat_ws(', ', {former}, {value_at}::text)"
        calls.append(f"set_config({name_at}, {value_at}, true)")
    return Step(f"SELECT {', '.join(saves + calls)}", values)


def restore_step(settings: Mapping[str, object]) -> Step:
    """The statement that restores what ``set_step(..., keep=True)`` saved.

    A former value was saved with an equals sign before it; without one the setting was unset, and NULL
    resets it.
    """
    calls = []
    for index in range(len(settings)):
        saved = f"current_setting('{_FORMER}{index}')"
        former = f"CASE WHEN {saved} <> '' THEN substr({saved}, 2) END"
        calls.append(f"set_config(${index + 1}, {former}, true)")
    return Step(f"SELECT {', '.join(calls)}", list(settings))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, AtLeast):
        return str(value.value)
    if isinstance(value, WithSchema):
        return identifier(value.name)
    if not isinstance(value, (str, int, float)):
        raise InterfaceError(f"expected a setting's value as str, int, float or bool, got {type(value).__name__}")
    return str(value)
