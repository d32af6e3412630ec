"""Every problem and note that explain and doctor report: one table of what is wrong and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from lightvec.index_options import usual_probes
from lightvec.peewee.catalog import ExistingIndex
from lightvec.wire.identifiers import identifier

__all__ = [
    "FINDINGS",
    "NOTE",
    "OK",
    "PROBLEM",
    "Finding",
    "display_name",
    "finding",
    "format_size",
    "index_command",
    "one_probe",
    "unusable_index",
]

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    ``level`` is ``"ok"``, ``"note"`` (good to know) or ``"problem"``, ``code`` stays the same from
    release to release, and ``remedy`` says what to do; it is empty if there is nothing to do.

    >>> print(finding("no_index", "doc.e", command="lightvec create-index doc"))
    doc.e: there is no vector index on it, so each search reads every row; create one (lightvec create-index doc)
    """

    level: str
    code: str
    subject: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        subject = f"{self.subject}: " if self.subject else ""
        return subject + "; ".join(filter(None, (self.what, self.remedy)))


_ITERATIVE_SCAN = (
    "use an iterative scan (nearest(vector, k, iterative_scan=True), or SET {method}.iterative_scan; pgvector 0.8)"
)

#: Code to what is wrong and the remedy. Of an index or a table, "it" is the subject.
FINDINGS: Mapping[str, tuple[str, str]] = {
    # explain: the query as it is written
    "exact": ("no index is used: exact=True asks to compare every row", "leave exact=True out"),
    "no_distance": (
        "no index is used: the query does not order by the distance of a column",
        "write Model.embedding.nearest(vector, k), or order by a distance method of the field",
    ),
    "in_where": (
        "no index is used: the distance is in WHERE only, and a vector index serves ORDER BY",
        "order by the distance with a LIMIT: nearest(vector, k, min_score=...) does both",
    ),
    "in_subquery": (
        "no index is used: a subquery (or WITH ... AS MATERIALIZED) computes the distances, ordered outside it",
        "put ORDER BY the distance and LIMIT into the subquery, as nearest() does",
    ),
    "not_first": (
        "no index is used: the query orders by something else before the distance",
        "order by the distance first",
    ),
    "function": (
        "no index is used: the query calls a distance function, and an index serves operators only",
        "write the operator, or the field's distance method",
    ),
    "around_distance": (
        "no index is used: the query orders by an expression around the distance, such as a score",
        "order by the distance itself, ascending, which is the highest score first",
    ),
    "descending": (
        "no index is used: the query orders descending, and an index returns the nearest rows first",
        "order by the distance ascending",
    ),
    "nulls_first": (
        "no index is used: the query wants NULL first, and an index has no rows without a vector",
        "leave NULLS FIRST out",
    ),
    "not_constant": (
        "no index is used: the query compares with a column, and an index needs one vector",
        "compare with a vector or a subquery that returns one; for the neighbors of each row, use a LATERAL join",
    ),
    "grouped": (
        "no index is used: the rows are grouped, counted or made distinct before they are ordered",
        "order and limit the rows in a subquery, and group its result",
    ),
    "unexplained": (
        "no index is used, and the plan does not say why",
        "look at .plan; order and limit rows before a join",
    ),
    "not_on_shards": (
        "no index is used: Citus sorts on the coordinator, as for GROUP BY and DISTINCT",
        "order and limit the rows in a subquery, which each shard answers from its index",
    ),
    "unplanned": (
        "whether an index is used is not known: Citus could not get the plan of a shard",
        "write values of user-defined types other than vectors as text, with a cast",
    ),
    # explain: an index serves, and may return too few rows
    "unlimited": (
        "the query has no LIMIT, and the index returns no more rows than it reads (hnsw.ef_search, ivfflat.probes)",
        "add .limit(k)",
    ),
    "limit_over_ef_search": (
        "the query wants {wanted} rows, and the index returns no more than hnsw.ef_search, which is {scanned}",
        "raise hnsw.ef_search (nearest(vector, k) does), or " + _ITERATIVE_SCAN,
    ),
    "limit_over_probes": (
        "the query wants {wanted} rows, and the lists that ivfflat.probes allows have about {scanned}",
        "raise ivfflat.probes (nearest(vector, k, probes=...)), or " + _ITERATIVE_SCAN,
    ),
    "filtered_short": (
        "the index finds about {scanned} rows, and those that pass the conditions of the query, a view or row-level "
        "security ({dropped}) may be fewer than the {wanted} wanted",
        _ITERATIVE_SCAN + ", or create a partial index for the condition",
    ),
    "one_probe": (
        "ivfflat.probes is 1: a search reads one of its {lists:,} lists, and misses the rows in the others",
        "nearest(vector, k, probes={probes}), or SET ivfflat.probes = {probes}, the square root of the lists",
    ),
    "few_probes": (
        "a search with conditions ({dropped}) reads {probes:,} of its {lists:,} lists "
        "(ivfflat.probes), and may miss the nearest rows that pass them",
        "nearest(vector, k, probes={enough}), the default where the model declares the index, or exact=True",
    ),
    "ran_exactly": (
        "{fallback}",
        "where it is slow, raise ef_search or probes, or create a partial index for the filter",
    ),
    # explain: the indexes do not match the query
    "wrong_metric": (
        "the index is not used: it is built for {built}, and the query orders by {wanted}",
        "declare metric='{built}', or build an index for {wanted} ({command})",
    ),
    "wrong_expression": (
        "the index is not used: it is on {built}, and the query orders by {wanted}",
        "order by what is indexed{quantize}, or build an index on {wanted}",
    ),
    "partial_index": (
        "the index is not used: it covers only the rows WHERE {where}, and the query may want others",
        "add that condition to the query, or build an index on all rows",
    ),
    # explain: the planner chose something cheaper
    "index_scan_off": (
        "no index is used, because this setting is off",
        "RESET enable_indexscan, or the setting of the role, the database or the server",
    ),
    "no_limit": (
        "no index is used: the query has no LIMIT, so it wants all rows",
        "add .limit(k)",
    ),
    "join_first": (
        "no index is used: the planner joins the tables first and sorts the result ({costs})",
        "where it is slow, put nearest() into a subquery, and join its result",
    ),
    "filter_first": (
        "no index is used: the planner expects the filter to leave {rows} rows and compares those, which is exact "
        "({costs})",
        "no change is needed; where it is slow, ANALYZE the table, or create a partial index for the filter",
    ),
    "large_limit": (
        "no index is used: for a LIMIT this large the planner prefers to compare all {rows} rows, which is exact "
        "({costs})",
        "no change is needed; a smaller LIMIT uses the index",
    ),
    "small_table": (
        "no index is used: the table is small, so the planner prefers to compare all {rows} rows, which is exact "
        "({costs})",
        "no change is needed; the planner takes the index when the table has grown",
    ),
    # Both
    "no_index": ("there is no vector index on it, so each search reads every row", "create one ({command})"),
    "index_being_built": ("it is being built, and no query uses it yet", "wait until the build ends"),
    "invalid_index": (
        "it is invalid, as an interrupted CREATE INDEX CONCURRENTLY leaves it: no query uses it, and each write "
        "updates it",
        "build it again (REINDEX INDEX CONCURRENTLY {name}, or {command})",
    ),
    "never_analyzed": ("it was never analyzed, so the planner has no statistics of its rows", "ANALYZE {name}"),
    # doctor: the connection
    "latency": (
        "a round trip takes {ms:.2f} ms, longer than an index search",
        "run the program nearer to the server (the same region and zone)",
    ),
    "no_tls": ("no TLS: the network in between can read and change what is sent", "set sslmode=verify-full"),
    "tls_unverified": (
        "{tls}, and the server's certificate is not verified, so it may be anybody's",
        "set sslmode=verify-full, and sslrootcert=FILE if its authority is not a public one",
    ),
    "pgpool": (
        "a pooler is in between, pgpool-II {version}: it keeps a server session for each client",
        "do not stream() rows through it: it drops PortalSuspended, so read them with run()",
    ),
    "transaction_pooler": (
        "a transaction pooler is in between: {statements} statements went to {processes} processes of the server",
        "keep nothing in the session, as lightvec does: no SET, LISTEN, temporary tables, or session locks",
    ),
    "pooler": (
        "a pooler is in between: the server process is not the one that the login named. Whether it shares "
        "sessions between transactions was not seen",
        "unless it pools by session, keep nothing in the session, as lightvec does",
    ),
    # doctor: the server
    "pgvector_missing": (
        "PostgreSQL {version} without pgvector",
        "install its package on the server (Debian: postgresql-<version>-pgvector)",
    ),
    "no_extension": (
        "the server has pgvector {available}, and it is not installed in this database",
        "CREATE EXTENSION vector, or lightvec init-db",
    ),
    "pgvector_old": (
        "before pgvector 0.8, a search with a filter may return too few rows (no iterative scans)",
        "install pgvector 0.8 or newer on the server, then ALTER EXTENSION vector UPDATE",
    ),
    "hnsw_vacuum": (
        "before pgvector 0.8.3, VACUUM beside inserts can corrupt an HNSW index: searches miss rows or fail",
        "install pgvector 0.8.4 or newer on the server, then REINDEX INDEX CONCURRENTLY each HNSW index",
    ),
    "hnsw_vacuum_error": (
        "with pgvector 0.8.3, VACUUM of an HNSW index beside inserts can fail ('hnsw graph not repaired')",
        "install pgvector 0.8.4 or newer on the server",
    ),
    "pgvector_update": (
        "the server has pgvector {available}, and this database uses {installed}",
        "ALTER EXTENSION vector UPDATE",
    ),
    "extension_out_of_path": (
        "pgvector is in the schema {schema}, outside the search path ({search_path}): its operators are not found",
        "ALTER DATABASE {database} SET search_path = {path}",
    ),
    # doctor: tables and columns
    "not_checked": ("it could not be read: {error}", "solve that, and run lightvec doctor again"),
    "no_vectors": ("no table here has a vector column", ""),
    "view": (
        "it is a view: its vectors and their indexes are those of what it reads ({sources})",
        "check those instead",
    ),
    "not_readable": (
        "this user may not read it, so its rows were not checked",
        "have its owner GRANT USAGE ON SCHEMA {schema} and GRANT SELECT ON {name} to this user",
    ),
    "null_vectors": (
        "{count:,} of {rows} have no vector, and no search finds them",
        "UPDATE {name} with the vectors of the rows WHERE {column} IS NULL",
    ),
    "pending_vectors": (
        "{count:,} of {rows} have no vector of their present text: searches find them by their "
        "former text, or not at all",
        "lightvec fill MODULE:Model --with MODULE:FUNCTION",
    ),
    "zero_vectors": (
        "{count:,} of {rows} have a vector of zeros, which the cosine index ({index}) leaves out",
        "find their source (an empty text, a failed call), and store NULL or the right vector",
    ),
    "no_dimensions": (
        "it declares no dimensions, so it cannot be indexed and accepts vectors of another model",
        "ALTER TABLE {name} ALTER COLUMN {column} TYPE {type}",
    ),
    "mixed_dimensions": (
        "it declares no dimensions and holds vectors of {least:,} to {most:,}",
        "put the vectors of each model into a column that declares its dimensions",
    ),
    # doctor: stored vectors beside those of the user's function
    "nothing_to_compare": (
        "no row has both a text and a vector made of it, so {function} was not tried",
        "load some, or run lightvec fill",
    ),
    "other_dimensions": (
        "{function} makes vectors of {got:,} dimensions, and those stored have {dimensions:,}",
        "search with the function of the model that made them",
    ),
    "other_direction": (
        "{function} makes other vectors of the same texts ({count} of {rows} rows, median {measure} "
        "{median:.3f}): the model changed, or a prefix of the text",
        "search with what made them, or make all again (lightvec switch, which moves to a second column)",
    ),
    "some_other_direction": (
        "{function} makes other vectors of the same texts for {count} of {rows} rows (median {measure} "
        "of these {median:.3f}): their texts changed, or another model made them",
        "make these again; a field with source= knows which they are, and lightvec fill makes them",
    ),
    "other_length": (
        "the vectors have {ratio:.3g} times the length of those that {function} makes, and the index is "
        "by {metrics}: the normalization changed",
        "normalize as it was, or make all again",
    ),
    "other_length_by_cosine": (
        "the vectors have {ratio:.3g} times the length of those that {function} makes: the "
        "normalization changed, which searches by cosine do not notice",
        "normalize as it was before you use another metric",
    ),
    "dead_rows": (
        "{dead:,} dead rows beside {live:,} live ones: a search reads them too, and finds fewer",
        "VACUUM (ANALYZE) {name}; to do so automatically, lower autovacuum_vacuum_scale_factor",
    ),
    "updates_not_hot": (
        "{new:,} of {updated:,} updates wrote to all indexes, which is slow with HNSW (fillfactor {fillfactor})",
        "ALTER TABLE {name} SET (fillfactor = 70) keeps room for updates of columns without an index; move columns "
        "that change often into another table",
    ),
    # doctor: indexes
    "build_running": (
        "the server process {pid} builds an index on it ({phase}, since {since}), and goes on if its client is gone",
        "wait until it ends, or SELECT pg_cancel_backend({pid})",
    ),
    "unused_index": (
        "no search has used it since {since}, and each write updates it",
        "see why (lightvec.search.explain), or DROP INDEX CONCURRENTLY {name}",
    ),
    "duplicate_index": (
        "it is the same as {first}: each write updates both, and a query uses one",
        "DROP INDEX CONCURRENTLY {name}",
    ),
    "ivfflat_built_early": (
        "{share:.0%} of the rows are newer than the index, so its lists do not fit them",
        "REINDEX INDEX CONCURRENTLY {name}",
    ),
    "ivfflat_built_empty": (
        "it was built on an empty table, so its lists will not fit the rows",
        "REINDEX INDEX CONCURRENTLY {name}, when the table has its rows",
    ),
    "ivfflat_lists": (
        "it has {lists:,} lists for {rows:,.0f} rows, which is too {consequence}",
        "ALTER INDEX {name} SET (lists = {usual:d}), then REINDEX INDEX CONCURRENTLY {name}",
    ),
    "indexes_beyond_cache": (
        "the vector indexes have {size}, more than the server expects to cache ({memory}): searches wait for the disk",
        "add memory, or halve the indexes (quantize='halfvec'); raise the setting if the server has more",
    ),
    "indexes_beyond_buffers": (
        "the vector indexes have {size}, and shared_buffers is {memory}: searches read through the system's cache",
        "raise shared_buffers, to a quarter of the server's memory",
    ),
    "maintenance_work_mem": (
        "{part} has {size}, and maintenance_work_mem is {memory}: a build that does not fit is many times slower",
        "SET maintenance_work_mem = '{megabytes:d}MB' {where}",
    ),
    # Citus
    "setting_not_on_workers": (
        "it is {here} in this session, and {there} on the workers, which search by their own",
        "give it to the query (nearest(...), settings=), or ALTER DATABASE or ALTER ROLE ... SET it on each node",
    ),
    "citus_node_inactive": (
        "the node is not active: searches that need it fail",
        "start it, then SELECT citus_activate_node(...), or remove it with citus_remove_node(...)",
    ),
    "citus_node_unreachable": (
        "the node cannot be reached ({error}): searches that need it fail",
        "start it, or remove it with citus_remove_node(...)",
    ),
    "citus_no_workers": (
        "there is no worker, so all shards are on the coordinator",
        "SELECT citus_add_node(host, port)",
    ),
    "shard_unreachable": (
        "its shard {shard} cannot be read ({error}), so its rows were not checked",
        "start the node, and run lightvec doctor again",
    ),
    "many_shards": (
        "a search without a condition on {column} reads all of its {shards} shards",
        "where searches are slow, use fewer (SELECT alter_distributed_table({table}, shard_count => 8))",
    ),
    "uneven_shards": (
        "the shard {shard} has {rows:,.0f} rows, and the mean is {mean:,.0f}: a search waits for the slowest shard",
        "distribute by a column with more values than {column}, or isolate_tenant_to_new_shard()",
    ),
    "index_not_on_shard": (
        "it is {state} on the shard {shard} ({nodes}), so each search reads all of that shard",
        "DROP INDEX {name}, and create it again",
    ),
}

#: The codes that are good to know, not problems.
_NOTES = {
    "ran_exactly",
    "exact",
    "no_distance",
    "join_first",
    "filter_first",
    "large_limit",
    "small_table",
    "index_being_built",
    "setting_not_on_workers",
    "latency",
    "pgpool",
    "transaction_pooler",
    "pooler",
    "hnsw_vacuum_error",
    "pgvector_update",
    "no_vectors",
    "view",
    "not_readable",
    "null_vectors",
    "pending_vectors",
    "nothing_to_compare",
    "other_length_by_cosine",
    "build_running",
    "unused_index",
    "ivfflat_built_empty",
    "indexes_beyond_buffers",
    "maintenance_work_mem",
    "citus_no_workers",
    "many_shards",
}

#: Entries that are variants of another code's.
_CODES = {
    "pgpool": "pooler",
    "ivfflat_built_empty": "ivfflat_built_early",
    "some_other_direction": "other_direction",
    "other_length_by_cosine": "other_length",
}


def finding(code: str, subject: str = "", level: str | None = None, **values: object) -> Finding:
    """An entry of the table with these values in its texts."""
    what, remedy = FINDINGS[code]
    level = level or (NOTE if code in _NOTES else PROBLEM)
    return Finding(level, _CODES.get(code, code), subject, what.format_map(values), remedy.format_map(values))


def unusable_index(index: ExistingIndex) -> Finding | None:
    """Why no query uses an index, whatever the query; None for a valid one."""
    if index.valid:
        return None
    subject = display_name(index.schema, index.name)
    if index.being_built:
        return finding("index_being_built", subject)
    command = index_command(index.table, index.table_schema, vector_column=index.column, metric=index.metric)
    return finding("invalid_index", subject, name=identifier(index.schema, index.name), command=command)


def one_probe(index: ExistingIndex, level: str | None = None) -> Finding:
    """That searches read one of the lists of an IVFFlat index."""
    subject = display_name(index.schema, index.name)
    return finding("one_probe", subject, level, lists=index.lists, probes=usual_probes(index.lists))


def display_name(schema: str, name: str) -> str:
    """The name of a table or an index as messages show it.

    >>> display_name("public", "doc"), display_name("tenant_1", "doc")
    ('doc', 'tenant_1.doc')
    """
    return name if schema == "public" else f"{schema}.{name}"


def index_command(table: str, schema: str | None = None, **options: str | None) -> str:
    """The command that builds or repairs an index on a table.

    >>> index_command("my docs", "public", metric="cosine")
    "lightvec create-index 'my docs' --metric cosine"
    """
    if schema == "pg_temp":
        return "CREATE INDEX in the session of this temporary table"
    given = {"schema": None if schema == "public" else schema, **options}
    words = ((f"--{name.replace('_', '-')}", value) for name, value in given.items() if value is not None)
    return shlex.join(["lightvec", "create-index", table, *chain.from_iterable(words)])


def format_size(size: float) -> str:
    """A number of bytes as pg_size_pretty() writes it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 10 * 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GB"
