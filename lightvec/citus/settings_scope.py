"""Settings of one statement on Citus reach the workers, and leave nothing behind there either.

``set_config`` reaches the coordinator only. With ``citus.propagate_set_commands = 'local'`` a
``SET LOCAL`` inside a transaction block reaches all workers that take part (Citus documentation,
"Configuration Reference"). It takes no parameters, so the server composes it: the names are in a
setting of our own, the values in the settings themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from lightvec.wire.settings import BEGIN, COMMIT, SettingsScope, Step

__all__ = ["CITUS"]

_NAMES = "lightvec.names"

# A search path is a list of names, not one text; only existing schemas are sent.
# An empty value may be that of an extension that is not loaded here.
_PROPAGATE = Step(
    f"""\
DO $lightvec$
DECLARE
    former text := pg_catalog.current_setting('citus.propagate_set_commands');
    setting text;
    value text;
BEGIN
    PERFORM pg_catalog.set_config('citus.propagate_set_commands', 'local', true);
    FOREACH setting IN ARRAY pg_catalog.string_to_array(pg_catalog.current_setting('{_NAMES}'), ',') LOOP
        CONTINUE WHEN setting ILIKE 'citus.%' OR pg_catalog.lower(setting) = 'temp_tablespaces';
        value := CASE WHEN pg_catalog.lower(setting) = 'search_path' THEN (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ')
            FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS name)
        ELSE pg_catalog.quote_literal(nullif(pg_catalog.current_setting(setting, true), '')) END;
        EXECUTE pg_catalog.format('SET LOCAL %s TO %s', (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(part), '.')
            FROM pg_catalog.unnest(pg_catalog.string_to_array(setting, '.')) AS part), coalesce(value, 'DEFAULT'));
    END LOOP;
    PERFORM pg_catalog.set_config('citus.propagate_set_commands', former, true);
END $lightvec$"""
)


class CitusScope(SettingsScope):
    """A transaction around the statement, or the one that is open."""

    begins = True
    #: Citus also counts rows that ON CONFLICT left out.
    counts_inserts = False

    def around(self, settings: Mapping[str, object], *, inside: bool) -> tuple[list[Step], list[Step]]:
        before, after = super().around(settings, inside=inside)
        names = Step(f"SELECT set_config('{_NAMES}', $1, true)", [",".join(settings)])
        before += [names, _PROPAGATE]
        if inside:
            return before, [*after, _PROPAGATE]
        return [BEGIN, *before], [COMMIT]


CITUS = CitusScope()
