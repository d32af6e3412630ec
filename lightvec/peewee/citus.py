"""Distributed tables of Citus: what is distributed already, and the calls that distribute tables and schemas.

Nothing here sets Citus up, and nothing is distributed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from peewee import ForeignKeyField, Model

from lightvec.errors import SchemaMismatch
from lightvec.peewee._seam import create_foreign_key_sql
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.distribution import Distribution
from lightvec.pg8000.exceptions import NotSupportedError
from lightvec.wire.identifiers import identifier, text_literal

__all__ = [
    "DistributionPlan",
    "TableDistribution",
    "is_citus",
    "require_citus",
    "schema_distribution_call",
    "shards_and_pages",
    "table_distribution",
]


class DistributionPlan:
    """How models that are set up together are spread, with what they refer to; made before any of them is."""

    def __init__(
        self, database: Pg8000Database, models: Sequence[type[Model]], wanted: Mapping[type[Model], Distribution]
    ) -> None:
        self._database = database
        self._wanted = wanted
        self._known: dict[Any, Distribution] = dict(wanted)
        if wanted:
            others = {field.rel_model for model in models for field in _foreign_keys(model)} - set(wanted)
            found = {other: table_distribution(database, _name(other)).distribution for other in others}
            self._known |= {other: each for other, each in found.items() if each is not None}
            for model in models:
                self._check_keys(model)

    def keys_added_later(self, model: Any) -> list[Any]:
        """The foreign keys to other distributed tables: both tables must be distributed before there can be one."""
        if model not in self._wanted or self._wanted[model].reference:
            return []
        fields = [field for field in _foreign_keys(model) if field.rel_model in self._known]
        return [field for field in fields if not self._known[field.rel_model].reference]

    def calls(self, model: Any, *, is_there: bool) -> tuple[str, bool, tuple[str, ...]] | None:
        """What is done to a model's table, whether that is done already, and the statements; None for nothing.

        :class:`~lightvec.errors.SchemaMismatch` where the table stands and is distributed in another way.
        """
        distribution = self._wanted.get(model)
        if distribution is None:
            return None
        later = self.keys_added_later(model)
        is_done = is_there and _stands(model, distribution, table_distribution(self._database, _name(model)))
        if is_there and later and not is_done:
            self._check_free(model, later)
        keys = (create_foreign_key_sql(field) for field in later)
        name = "as a reference table" if distribution.by is None else f"by {distribution.by}"
        return f"{model._meta.table_name} {name}", is_done, (_call(_name(model), distribution), *keys)

    def _check_keys(self, model: Any) -> None:
        """Refuse a foreign key that Citus cannot keep."""
        own = self._wanted.get(model)
        for field in _foreign_keys(model):
            target: Any = field.rel_model
            other = self._known.get(target)
            if other is None and own is not None and not own.reference:
                raise SchemaMismatch(
                    f"{model.__name__}.{field.name} refers to {target.__name__}, which stands on one node: declare "
                    f"reference = True in the Meta of {target.__name__}, or distribute it by "
                    f"{field.rel_field.column_name}"
                )
            if other is not None and not other.reference and not _are_together(field, own, other):
                raise SchemaMismatch(
                    f"{model.__name__}.{field.name} refers to {target.__name__}, which is {other}: Citus keeps that "
                    f"only where {model.__name__} is distributed by {field.column_name} and {target.__name__} by "
                    f"{field.rel_field.column_name}, over the same number of shards, or {target.__name__} is a "
                    f"reference table"
                )

    def _check_free(self, model: Any, fields: Sequence[Any]) -> None:
        """A table that stands and refers to a distributed one cannot become one with the key in place."""
        for field in fields:
            values = (_name(model), _name(field.rel_model))
            row = self._database.execute_sql(_FOREIGN_KEY, values).fetchone()
            if row is not None:
                raise SchemaMismatch(
                    f"the table {model._meta.table_name} refers to {field.rel_model._meta.table_name}, and both are to "
                    f"be distributed, which Citus does one by one: drop the constraint {row[0]}, and run this again, "
                    f"which adds it behind"
                )


_FOREIGN_KEY = """\
SELECT conname FROM pg_catalog.pg_constraint
WHERE contype = 'f' AND conrelid = to_regclass(%s) AND confrelid = to_regclass(%s)"""


def _are_together(field: Any, own: Distribution | None, other: Distribution) -> bool:
    """Whether rows of two distributed tables that refer to each other by this field are on the same node."""
    if own is None or (own.by, other.by) != (field.column_name, field.rel_field.column_name):
        return False
    return len({own.shards, other.shards} - {None}) < 2


def _name(model: Any) -> str:
    return identifier(*filter(None, (model._meta.schema, model._meta.table_name)))


def _foreign_keys(model: Any) -> list[Any]:
    """Those that the table is made with."""
    return [field for field in model._meta.sorted_fields if isinstance(field, ForeignKeyField) and not field.deferred]


# What stands


def is_citus(database: Pg8000Database) -> bool:
    """Whether Citus is installed in this database; pgvector need not be."""
    sql = "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'citus'"
    return database.execute_sql(sql).fetchone() is not None


def require_citus(database: Pg8000Database) -> None:
    """:class:`~lightvec.pg8000.exceptions.NotSupportedError` where nothing can be distributed."""
    if not is_citus(database):
        raise NotSupportedError(
            "this database has no Citus, so nothing in it can be distributed: have an administrator install it "
            "(shared_preload_libraries = 'citus', then CREATE EXTENSION citus on each node), or leave out what "
            "distributes (--distribute-by, --reference, --distribute-schema, the models' Meta)"
        )


_STANDING = """\
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
    """How a table, named as SQL, stands. Citus must be there."""
    row = database.execute_sql(_STANDING, (table,)).fetchone()
    if row is None:
        return TableDistribution(None, False)
    by, replication, shards, in_distributed_schema = row
    if by is not None:
        return TableDistribution(Distribution(by, shards), False)
    return TableDistribution(Distribution(reference=True) if replication == "t" else None, in_distributed_schema)


_SHARDS = """\
SELECT count(*)::int, citus_relation_size(to_regclass(%s)) / current_setting('block_size')::int
FROM pg_catalog.pg_dist_shard WHERE logicalrelid = to_regclass(%s)"""


def shards_and_pages(database: Pg8000Database, table: str) -> tuple[int, int]:
    """How many shards a table has, named as SQL, and how many pages they have together; no shards without Citus."""
    if not database.extension().citus:
        return 0, 0
    if table_distribution(database, table) == TableDistribution(None, False):
        return 0, 0
    ((shards, pages),) = database.execute_sql(_SHARDS, (table, table)).fetchall()
    return shards, pages


def _stands(model: Any, distribution: Distribution, found: TableDistribution) -> bool:
    """Whether the table is distributed as it is to be; :class:`~lightvec.errors.SchemaMismatch` if in another way."""
    if found.distribution is None and not found.in_distributed_schema:
        return False
    if found.distribution is None or not distribution.fits(found.distribution):
        raise SchemaMismatch(
            f"the table {model._meta.table_name} is {found}, and {model.__name__} is to be {distribution}: change the "
            f"model, or move the table yourself (SELECT alter_distributed_table(...), undistribute_table(...))"
        )
    return True


# The calls


def _call(table: str, distribution: Distribution) -> str:
    """The statement that distributes a table, named as SQL."""
    name = text_literal(table)
    if distribution.by is None:
        return f"SELECT create_reference_table({name})"
    column = text_literal(distribution.by)
    if distribution.shards is None:
        return f"SELECT create_distributed_table({name}, {column})"
    return f"SELECT create_distributed_table({name}, {column}, shard_count => {distribution.shards:d})"


_SCHEMA = """\
SELECT 1 FROM pg_catalog.pg_dist_schema WHERE schemaid = to_regnamespace(%s)"""


def schema_distribution_call(database: Pg8000Database, schema: str) -> tuple[bool, str]:
    """Whether a schema is distributed as a whole, and the statement that does it."""
    is_there = database.execute_sql(_SCHEMA, (identifier(schema),)).fetchone() is not None
    return is_there, f"SELECT citus_schema_distribute({text_literal(identifier(schema))})"
