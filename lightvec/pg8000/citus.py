"""Settings of one statement on Citus: how they reach the workers, and leave nothing behind there either.

``set_config`` reaches the coordinator only. With ``citus.propagate_set_commands = 'local'`` a ``SET LOCAL`` inside a
transaction block is sent on to all workers that take part (Citus documentation, "Configuration Reference"). It takes no
parameters, so the server writes it: the names are in a setting of our own, the values in the settings themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from lightvec.pg8000.results import Result
from lightvec.pg8000.settings import restoring, setting

__all__ = ["Begin", "around"]

_NAMES = "lightvec.names"

# A search path is a list of names: as one text it would be one name. Those schemas are meant that are there. What is
# empty may be a setting of an extension that is not loaded here, which has no value of its own then.
_TELL_WORKERS = f"""\
DO $lightvec$
DECLARE
    usual text := pg_catalog.current_setting('citus.propagate_set_commands');
    setting text;
    told text;
BEGIN
    PERFORM pg_catalog.set_config('citus.propagate_set_commands', 'local', true);
    FOREACH setting IN ARRAY pg_catalog.string_to_array(pg_catalog.current_setting('{_NAMES}'), ',') LOOP
        CONTINUE WHEN setting ILIKE 'citus.%' OR pg_catalog.lower(setting) = 'temp_tablespaces';
        told := CASE WHEN pg_catalog.lower(setting) = 'search_path' THEN (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ')
            FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS name)
        ELSE pg_catalog.quote_literal(nullif(pg_catalog.current_setting(setting, true), '')) END;
        EXECUTE pg_catalog.format('SET LOCAL %s TO %s', (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(part), '.')
            FROM pg_catalog.unnest(pg_catalog.string_to_array(setting, '.')) AS part), coalesce(told, 'DEFAULT'));
    END LOOP;
    PERFORM pg_catalog.set_config('citus.propagate_set_commands', usual, true);
END $lightvec$"""


class Begin(Result):
    """The answer to a BEGIN of ours. If what follows fails, the transaction is rolled back before anybody sees it."""

    def __init__(self) -> None:
        super().__init__("BEGIN", list)


def around(settings: Mapping[str, object], *, keep: bool) -> tuple[list[tuple[Result, list[str]]], ...]:
    """What goes before a statement with these settings, and what goes behind it, each with its parameters.

    ``keep`` puts the former values back, in a transaction that is open; else there is one for the statement alone.
    """
    sql, values = setting(settings, keep=keep)
    told: tuple[Result, list[str]] = (Result(_TELL_WORKERS, list), [])
    names = Result(f"SELECT set_config('{_NAMES}', $1, true)", list)
    before = [(Result(sql, list), values), (names, [",".join(settings)]), told]
    if not keep:
        return [(Begin(), []), *before], [(Result("COMMIT", list), [])]
    sql, values = restoring(settings)
    return before, [(Result(sql, list), values), (Result(_TELL_WORKERS, list), [])]
