"""Settings for one statement, as SQL before and after it.

``set_config(name, value, true)`` holds until the transaction ends (PostgreSQL documentation, 9.28.1). Outside a
transaction block that is the end of the statement. In the caller's block the former values are saved in settings of
lightvec's own, and restored after the statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lightvec.wire.errors import InterfaceError
from lightvec.wire.identifiers import identifier

_KEPT = "lightvec.former_"


class AtLeast(NamedTuple):
    """A number that a setting is raised to if it is lower; ``default`` is its value when unset."""

    value: int
    default: int


class WithSchema(NamedTuple):
    """The search path with a schema appended, where it hides no other names."""

    name: str


def setting(settings: Mapping[str, object], *, keep: bool) -> tuple[str, list[str]]:
    """The statement that applies settings, and its parameters; ``keep`` also saves the former values.

    >>> setting({"hnsw.ef_search": 100}, keep=False)
    ('SELECT set_config($1, $2, true)', ['hnsw.ef_search', '100'])
    """
    calls: list[str] = []
    values: list[str] = []
    for name in settings:
        if not isinstance(name, str):
            raise InterfaceError(f"expected a setting's name as a str, got {type(name).__name__}")
        if name.lower() == "client_encoding":
            raise InterfaceError("client_encoding cannot be set for one statement: use SET client_encoding")
    if keep:
        for index, name in enumerate(settings):
            former = f"coalesce('=' || current_setting(${len(values) + 1}, true), '')"
            calls.append(f"set_config('{_KEPT}{index}', {former}, true)")
            values.append(name)
    for name, value in settings.items():
        name_at, value_at = f"${len(values) + 1}", f"${len(values) + 2}"
        values += (name, _as_text(value))
        if isinstance(value, AtLeast):
            former = f"coalesce(nullif(current_setting({name_at}, true), ''), '{value.default:d}')::int"
            calls.append(f"set_config({name_at}, greatest({former}, {value_at}::int)::text, true)")
        elif isinstance(value, WithSchema):
            former = f"nullif(current_setting({name_at}), '')"
            calls.append(f"set_config({name_at}, concat_ws(', ', {former}, {value_at}::text), true)")
        else:
            calls.append(f"set_config({name_at}, {value_at}, true)")
    return f"SELECT {', '.join(calls)}", values


def restoring(settings: Mapping[str, object]) -> tuple[str, list[str]]:
    """The statement that restores what ``setting(..., keep=True)`` saved, and its parameters.

    A former value is saved with an equals sign before it; without one the setting was unset, and NULL resets it.
    """
    calls = []
    for index in range(len(settings)):
        kept = f"current_setting('{_KEPT}{index}')"
        former = f"CASE WHEN {kept} <> '' THEN substr({kept}, 2) END"
        calls.append(f"set_config(${index + 1}, {former}, true)")
    return f"SELECT {', '.join(calls)}", list(settings)


def _as_text(value: object) -> str:
    """A value as text, booleans as on and off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, AtLeast):
        return str(value.value)
    if isinstance(value, WithSchema):
        return identifier(value.name)
    if not isinstance(value, (str, int, float)):
        raise InterfaceError(f"expected a setting's value as str, int, float or bool, got {type(value).__name__}")
    return str(value)
