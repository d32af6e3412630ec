"""Distributed tables of Citus: how tables are distributed, and the calls that distribute tables and schemas.

Nothing here sets Citus up, and nothing is distributed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from peewee import ForeignKeyField, Model

from lightvec.errors import SchemaMismatch
from lightvec.peewee._seam import create_foreign_key_sql, table_sql
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.differences import MISSING, Difference
from lightvec.peewee.distribution import Distribution
from lightvec.pg8000.exceptions import NotSupportedError
from lightvec.wire.identifiers import identifier, text_literal

__all__ = [
    "DistributionPlan",
    "TableDistribution",
    "require_citus",
    "schema_distribution_call",
    "shard_sizes",
    "table_distribution",
]


class DistributionPlan:
    """How models that are set up together are to be distributed, and the tables that they refer to."""

    def __init__(
        self, database: Pg8000Database, models: Sequence[type[Model]], wanted: Mapping[type[Model], Distribution]
    ) -> None:
        self._database = database
        self._wanted = wanted
        self._known: dict[Any, Distribution] = dict(wanted)
        if not wanted:
            return
        for other in {field.rel_model for model in models for field in _foreign_keys(model)} - set(wanted):
            if found := table_distribution(database, table_sql(other)).distribution:
                self._known[other] = found
        for model in models:
            for field in _foreign_keys(model):
                self._check_key(model, field)

    def keys_added_later(self, model: Any) -> list[Any]:
        """The foreign keys to other distributed tables: both tables must be distributed before one can be added."""
        if model not in self._wanted or self._wanted[model].reference:
            return []
        others = {field: self._known.get(field.rel_model) for field in _foreign_keys(model)}
        return [field for field, other in others.items() if other is not None and not other.reference]

    def difference(self, model: Any, *, table_exists: bool) -> Difference | None:
        """How the distribution of a model's table differs from its own; None if it has none."""
        distribution = self._wanted.get(model)
        if distribution is None:
            return None
        name, later = table_sql(model), self.keys_added_later(model)
        how = "as a reference table" if distribution.by is None else f"by {distribution.by}"
        found = table_distribution(self._database, name) if table_exists else TableDistribution(None, False)
        kind, shown = "distribution", f"{model._meta.table_name} {how}"
        if found == TableDistribution(None, False):
            if table_exists:
                self._check_existing_keys(model, later)
            keys = (create_foreign_key_sql(field) for field in later)
            return Difference(kind, shown, MISSING, (_distribution_call(name, distribution), *keys))
        if found.distribution is not None and distribution.fits(found.distribution):
            return Difference(kind, shown, "")
        words = f"the table is {found}, expected {distribution}"
        calls = _other_distribution_calls(name, found, distribution)
        return Difference(kind, shown, words, calls, unusable=True)

    def _check_key(self, model: Any, field: Any) -> None:
        """Refuse a foreign key that Citus cannot enforce."""
        own, other, target = self._wanted.get(model), self._known.get(field.rel_model), field.rel_model.__name__
        column, target_column = field.column_name, field.rel_field.column_name
        if other is None:
            if own is not None and not own.reference:
                raise SchemaMismatch(
                    f"{model.__name__}.{field.name} refers to {target}, which is on one node: declare reference = True "
                    f"in the Meta of {target}, or distribute it by {target_column}"
                )
            return
        is_colocated = (
            own is not None
            and (own.by, other.by) == (column, target_column)
            and len({own.shards, other.shards} - {None}) < 2
        )
        if not other.reference and not is_colocated:
            raise SchemaMismatch(
                f"{model.__name__}.{field.name} refers to {target}, which is {other}: Citus enforces that only where "
                f"{model.__name__} is distributed by {column} and {target} by {target_column}, over the same number "
                f"of shards, or {target} is a reference table"
            )

    def _check_existing_keys(self, model: Any, fields: Sequence[Any]) -> None:
        """Refuse to distribute an existing table with a foreign key to one that is distributed."""
        for field in fields:
            values = (table_sql(model), table_sql(field.rel_model))
            row = self._database.execute_sql(_FOREIGN_KEY, values).fetchone()
            if row is not None:
                raise SchemaMismatch(
                    f"the table {model._meta.table_name} refers to {field.rel_model._meta.table_name}, and both are to "
                    f"be distributed, which Citus does one by one: drop the constraint {row[0]}, and run this again, "
                    f"which adds it behind"
                )


_FOREIGN_KEY = """\
SELECT conname FROM pg_catalog.pg_constraint
WHERE contype = 'f' AND conrelid = to_regclass(%s) AND confrelid = to_regclass(%s)
ORDER BY conname"""


def _foreign_keys(model: Any) -> list[Any]:
    return [field for field in model._meta.sorted_fields if isinstance(field, ForeignKeyField) and not field.deferred]


# What is distributed


def require_citus(database: Pg8000Database) -> None:
    """:class:`~lightvec.pg8000.exceptions.NotSupportedError` if Citus is not installed; pgvector need not be."""
    if not database.execute_sql("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'citus'").fetchall():
        raise NotSupportedError(
            "this database has no Citus, so nothing in it can be distributed: have an administrator install it "
            "(shared_preload_libraries = 'citus', then CREATE EXTENSION citus on each node), or leave out what "
            "distributes (--distribute-by, --reference, --distribute-schema, the models' Meta)"
        )


_DISTRIBUTION = """\
SELECT pg_catalog.column_to_column_name(p.logicalrelid, p.partkey), p.repmodel::text,
    (SELECT count(*) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = p.logicalrelid)::int,
    EXISTS (SELECT FROM pg_catalog.pg_dist_schema s JOIN pg_catalog.pg_class c ON c.relnamespace = s.schemaid
        WHERE c.oid = p.logicalrelid)
FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = to_regclass(%s)"""


class TableDistribution(NamedTuple):
    """How Citus has a table: distributed, in a schema that is distributed as a whole, or on one node."""

    distribution: Distribution | None
    in_distributed_schema: bool

    def __str__(self) -> str:
        if self.distribution is not None:
            return str(self.distribution)
        return "distributed with its schema" if self.in_distributed_schema else "on one node"


def table_distribution(database: Pg8000Database, table: str) -> TableDistribution:
    """How a table, named as SQL, is distributed. Citus must be installed."""
    row = database.execute_sql(_DISTRIBUTION, (table,)).fetchone()
    if row is None:
        return TableDistribution(None, False)
    by, replication, shards, in_distributed_schema = row
    if by is not None:
        return TableDistribution(Distribution(by, shards), False)
    return TableDistribution(Distribution(reference=True) if replication == "t" else None, in_distributed_schema)


# Run on each shard, by its name; the memory is that of its node.
_SHARD = """\
SELECT jsonb_build_array(pg_relation_size(%1$L::regclass) / current_setting('block_size')::int,
    pg_size_bytes(current_setting('maintenance_work_mem')))"""

_SHARDS = """\
SELECT count(*)::int, sum(pages)::int8, max(pages)::int8, min(memory)::int8
FROM run_command_on_shards(to_regclass(%s), %s) r CROSS JOIN LATERAL (
    SELECT (r.result::jsonb->>0)::int8 AS pages, (r.result::jsonb->>1)::int8 AS memory) s
WHERE r.success"""


class ShardSizes(NamedTuple):
    """The shards of a table, their pages, those of the largest, and their nodes' least ``maintenance_work_mem``."""

    shards: int
    pages: int
    largest: int
    maintenance_work_mem: int


def shard_sizes(database: Pg8000Database, table: str) -> ShardSizes | None:
    """The shards of a table, named as SQL; None if it is not distributed, or none of them can be read."""
    if not database.extension().citus or table_distribution(database, table) == TableDistribution(None, False):
        return None
    sizes = ShardSizes(*database.execute_sql(_SHARDS, (table, _SHARD)).fetchall()[0])
    return sizes if sizes.shards else None


# The calls


def _distribution_call(table: str, distribution: Distribution) -> str:
    name = text_literal(table)
    if distribution.by is None:
        return f"SELECT create_reference_table({name})"
    column = text_literal(distribution.by)
    if distribution.shards is None:
        return f"SELECT create_distributed_table({name}, {column})"
    return f"SELECT create_distributed_table({name}, {column}, shard_count => {distribution.shards:d})"


def _other_distribution_calls(table: str, found: TableDistribution, wanted: Distribution) -> tuple[str, ...]:
    """The calls for a table that is distributed in another way; none if its schema is distributed."""
    name = text_literal(table)
    if found.distribution is None:
        return ()
    if found.distribution.by is None or wanted.by is None:
        return (f"SELECT undistribute_table({name})", _distribution_call(table, wanted))
    shards = "" if wanted.shards is None else f", shard_count => {wanted.shards:d}"
    column = text_literal(wanted.by)
    return (f"SELECT alter_distributed_table({name}, distribution_column => {column}{shards})",)


_SCHEMA = "SELECT 1 FROM pg_catalog.pg_dist_schema WHERE schemaid = to_regnamespace(%s)"


def schema_distribution_call(database: Pg8000Database, schema: str) -> tuple[bool, str]:
    """Whether a schema is distributed as a whole, and the statement that does it."""
    is_done = database.execute_sql(_SCHEMA, (identifier(schema),)).fetchone() is not None
    return is_done, f"SELECT citus_schema_distribute({text_literal(identifier(schema))})"
