"""A schema for the tests, so that they find no table of anybody else's and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from uuid import uuid4

from lightvec.pg8000 import connect
from lightvec.wire.identifiers import identifier

#: Tables and views of a schema, but for those of extensions.
_RELATIONS = """\
SELECT c.relname FROM pg_catalog.pg_class c
WHERE c.relnamespace = pg_catalog.to_regnamespace(:schema) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname LIMIT 5"""


@contextmanager
def own_schema(url: str) -> Iterator[str]:
    """The URL with a search path of a new schema and pgvector's; the new one is dropped behind the block.

    pgvector is created in the new schema if the database has none. AssertionError where its schema has tables: by
    their names the tests could take them for their own.
    """
    schema = f"lightvec_{uuid4().hex[:12]}"
    with connect(url) as admin:
        admin.run(f"CREATE SCHEMA {identifier(schema)}")
    try:
        with connect(url) as admin:
            shared = admin.extension().schema
            if not shared:
                admin.run(f"CREATE EXTENSION vector SCHEMA {identifier(schema)}")
            found = [row[0] for row in admin.run(_RELATIONS, schema=identifier(shared))] if shared else []
        assert not found, (
            f"pgvector of this database is in the schema {shared}, which has tables ({', '.join(found)}): name a "
            f"database where its schema has none (CREATE EXTENSION vector SCHEMA pgvector)"
        )
        yield _with_path(url, ",".join(map(identifier, filter(None, (schema, shared)))))
    finally:
        with connect(url) as admin:
            admin.run(f"DROP SCHEMA {identifier(schema)} CASCADE")


def _with_path(url: str, path: str) -> str:
    option = "-c search_path=" + path.replace("\\", r"\\").replace(" ", r"\ ")
    if "://" not in url:
        return f"{url} options='{option}'"
    head, _, query = url.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    given = [value for name, _, value in pairs if name == "options"]
    others = [f"{name}={value}" for name, _, value in pairs if name != "options"]
    return f"{head}?{'&'.join([*others, 'options=' + '%20'.join([*given, quote(option)])])}"
