"""The definitions of tables as the server writes them: columns, constraints and indexes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightvec.index_options import DEFAULTS, OPTIONS
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.invalid_indexes import LOCK_TIMEOUT
from lightvec.wire.identifiers import identifier

__all__ = ["Column", "Constraint", "IndexDefinition", "Table", "tables_named"]

#: What ``pg_class.relkind`` says that is not a table.
NOT_TABLES = {
    "v": "a view",
    "m": "a materialized view",
    "i": "an index",
    "I": "an index",
    "S": "a sequence",
    "c": "a type",
}

_OPTIONS = re.compile(r" WITH \(([^()]*)\)(?= WHERE |\Z)")


@dataclass(frozen=True)
class Column:
    """A column. ``sequence`` is the sequence that it owns, as SQL; its default is then ``"sequence"``."""

    name: str
    type: str
    type_name: str
    not_null: bool
    default: str | None
    sequence: str | None
    identity: str
    generated: str
    collation: str | None
    comment: str | None


@dataclass(frozen=True)
class Constraint:
    """A primary key (``kind`` p), unique (u), foreign key (f), check (c) or exclusion constraint (x)."""

    name: str
    kind: str
    definition: str
    valid: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class IndexDefinition:
    """An index. ``definition`` begins with USING; ``constraint`` is the name of the one that it enforces."""

    name: str
    method: str
    unique: bool
    definition: str
    valid: bool
    being_built: bool
    columns: tuple[str, ...]
    has_expressions: bool
    constraint: str | None

    @property
    def is_vector_index(self) -> bool:
        return self.method in OPTIONS

    @property
    def form(self) -> str:
        """Its method and what it indexes, without options and condition."""
        return re.split(r" (?:WITH|WHERE) \(", self.definition)[0]

    @property
    def options(self) -> dict[str, str]:
        """The options of a vector index that differ from their defaults."""
        found = _OPTIONS.search(self.definition) if self.is_vector_index else None
        pairs = found[1].replace("'", "").split(", ") if found else ()
        options = dict(pair.split("=") for pair in sorted(pairs))
        return {name: value for name, value in options.items() if value != str(DEFAULTS.get(name))}

    @property
    def words(self) -> str:
        """The definition without options that have their default values."""
        words = self.definition.removeprefix("USING ")
        if self.is_vector_index:
            given = ", ".join(f"{name} = {value}" for name, value in self.options.items())
            words = _OPTIONS.sub(f" WITH ({given})" if given else "", words, count=1)
        return f"unique {words}" if self.unique else words

    def is_as(self, declared: IndexDefinition, *, options: Collection[str] | None = None) -> bool:
        """Whether it is as declared.

        ``options`` are those that are compared: by default all, but lists that are not declared,
        which are chosen by the rows when the index is built.
        """
        if options is None:
            options = OPTIONS.get(self.method, {}).keys() - ({"lists"} - declared.options.keys())
        own, others = self.options, declared.options
        has_options = all(own.get(name) == others.get(name) for name in options)
        return has_options and self._without_options == declared._without_options

    @property
    def _without_options(self) -> str:
        words = f"{self.unique} {self.definition}"
        return _OPTIONS.sub("", words, count=1) if self.is_vector_index else words


@dataclass(frozen=True)
class Table:
    """A relation; ``not_table`` says what it is if it is no table."""

    schema: str
    name: str
    not_table: str | None
    is_partitioned: bool
    columns: Mapping[str, Column]
    constraints: Sequence[Constraint]
    indexes: Mapping[str, IndexDefinition]

    @property
    def sql(self) -> str:
        """The name, as SQL."""
        return identifier(self.schema, self.name)


# A constraint of a partition, or on one, comes with that of the whole table. A default that is the column's own
# sequence is the same whatever that is named.
_TABLES = """\
SELECT wanted.name, n.nspname, c.relname, c.relkind::text,
  (SELECT json_agg(json_build_object(
      'name', a.attname,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'type_name', t.typname,
      'not_null', a.attnotnull,
      'default', CASE WHEN s.name IS NOT NULL AND a.attidentity = '' THEN 'sequence'
        WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
      'sequence', s.name,
      'identity', a.attidentity::text,
      'generated', CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) ELSE '' END,
      'collation', (SELECT pg_catalog.quote_ident(l.collname) FROM pg_catalog.pg_collation l
        WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation),
      'comment', pg_catalog.col_description(a.attrelid, a.attnum)) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN LATERAL (
      SELECT pg_catalog.format('%%I.%%I', sn.nspname, sc.relname) AS name
      FROM pg_catalog.pg_depend o
      JOIN pg_catalog.pg_class sc ON sc.oid = o.objid AND sc.relkind = 'S'
      JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace
      WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.refclassid = 'pg_catalog.pg_class'::regclass
        AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum AND o.deptype IN ('a', 'i')
        AND (d.oid IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_depend u
          WHERE u.classid = 'pg_catalog.pg_attrdef'::regclass AND u.objid = d.oid AND u.refobjid = sc.oid))
      LIMIT 1) s ON true
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT json_agg(json_build_object(
      'name', k.conname,
      'kind', k.contype::text,
      'definition', pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
      'valid', k.convalidated,
      'columns', ARRAY(SELECT a.attname FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY m(number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = m.number ORDER BY m.place))
      ORDER BY k.conname)
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = c.oid AND k.conparentid = 0 AND k.contype IN ('p', 'u', 'f', 'c', 'x')),
  (SELECT json_agg(json_build_object(
      'name', ic.relname,
      'method', m.amname,
      'unique', i.indisunique,
      'definition', pg_catalog.substr(pg_catalog.pg_get_indexdef(ic.oid), 1 + pg_catalog.length(pg_catalog.format(
        'CREATE %%sINDEX %%I ON %%s%%I.%%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname,
        CASE ic.relkind WHEN 'I' THEN 'ONLY ' ELSE '' END,
        CASE n.oid WHEN pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname END, c.relname))),
      'valid', i.indisvalid,
      'being_built', EXISTS (
        SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = ic.oid),
      'columns', ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND (
        a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_catalog.pg_depend o
          WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = ic.oid
            AND o.refobjid = c.oid AND o.refobjsubid = a.attnum)) AND a.attnum > 0 ORDER BY a.attname),
      'has_expressions', coalesce(i.indexprs, i.indpred) IS NOT NULL,
      'constraint', (SELECT k.conname FROM pg_catalog.pg_constraint k
        WHERE k.conindid = ic.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')))
      ORDER BY ic.relname)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = ic.relam
    WHERE i.indrelid = c.oid)
FROM pg_catalog.unnest(%s::text[]) wanted(name)
JOIN pg_catalog.pg_class c ON c.oid = to_regclass(wanted.name)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""


def tables_named(database: Pg8000Database, names: Sequence[str]) -> dict[str, Table]:
    """The relations of these names (as SQL) that exist, by the names; each is locked for reading for a moment."""
    settings = {"lock_timeout": f"{LOCK_TIMEOUT}s"}
    rows = database.execute_sql(_TABLES, (list(names),), settings=settings).fetchall() if names else ()
    return {row[0]: _table(*row[1:]) for row in rows}


def _table(schema: str, name: str, kind: str, columns: Any, constraints: Any, indexes: Any) -> Table:
    for each in (*(constraints or ()), *(indexes or ())):
        each["columns"] = tuple(each["columns"])
    return Table(
        schema,
        name,
        NOT_TABLES.get(kind),
        kind == "p",
        {each["name"]: Column(**each) for each in columns or ()},
        [Constraint(**each) for each in constraints or ()],
        {each["name"]: IndexDefinition(**each) for each in indexes or ()},
    )
