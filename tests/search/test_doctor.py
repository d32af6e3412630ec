"""What doctor looks at: each thing that goes wrong quietly, made on purpose and named."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from peewee import AutoField, Model, TextField

from lightvec.errors import SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField, fill
from lightvec.peewee.reflect import model_of, model_with
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import connect
from lightvec.search import doctor_connection, doctor_indexes, doctor_tables, explain, table_statistics
from lightvec.search.doctor import examine
from lightvec.search.doctor_server import read_server, server_findings
from lightvec.search.findings import Finding
from lightvec.server import Server
from lightvec.wire.identifiers import identifier
from tests.places import open_folder
from tests.pooler.pooler import Pooler
from tests.search.builds import interrupt_build
from tests.tls.certificates import issued
from tests.tls.conftest import bouncer
from tests.tls.postgres import PASSWORD

TABLE = 'CREATE TABLE "the docs" (id int PRIMARY KEY, note text, e vector(3)) WITH (autovacuum_enabled = off)'
FILL = """INSERT INTO "the docs" SELECT n, 'x', ARRAY[sin(n), cos(n), 1]::vector FROM generate_series(1, 500) n"""
INDEX = 'CREATE INDEX "the index" ON "the docs" USING hnsw (e vector_cosine_ops)'
ANALYZE = 'ANALYZE "the docs"'


@pytest.fixture
def ready(empty_url: str) -> Callable[..., Pg8000Database]:
    """Runs statements on an empty database with pgvector, and gives it to whoever looks at it then."""

    def ready(*statements: str, **params: Any) -> Pg8000Database:
        with connect(empty_url) as conn:
            conn.run("CREATE EXTENSION IF NOT EXISTS vector")
            for statement in statements:
                conn.run(statement)
            conn.run("SELECT pg_stat_force_next_flush()")
        return Pg8000Database(empty_url, **params)

    return ready


def examined(database: Pg8000Database, *args: Any) -> list[Finding]:
    """What was found, each a whole sentence."""
    with database.connection_context():
        found = examine(database, *args)
    for finding in found:
        assert finding.level in ("ok", "note", "problem")
        assert finding.what
        assert bool(finding.remedy) == (finding.level != "ok") or finding.code == "no_vectors"
    return found


def bad(database: Pg8000Database, *args: Any) -> dict[str, Finding]:
    """What is not well, by its code."""
    return {finding.code: finding for finding in examined(database, *args) if finding.level != "ok"}


Ready = Callable[..., Pg8000Database]


def test_all_is_well(ready: Ready) -> None:
    found = examined(ready(TABLE, FILL, INDEX, ANALYZE))
    assert {finding.level for finding in found} == {"ok"}
    assert [(finding.code, finding.subject) for finding in found][-4:] == [
        ("column", "the docs.e"),
        ("index", "the index"),
        ("statistics", "the docs"),
        ("index_memory", "shared_buffers"),
    ]
    assert "vector(3), 500 rows" in str(found)
    assert "the docs (e) by cosine" in str(found)


def test_nothing_is_changed(ready: Ready) -> None:
    database = ready(TABLE, FILL, INDEX, ANALYZE, options="-c default_transaction_read_only=on")
    assert bad(database) == {}
    with database.connection_context(), database.atomic():
        assert [finding.level for finding in examine(database) if finding.level != "ok"] == []


def test_these_tables_only(ready: Ready) -> None:
    database = ready(
        TABLE, FILL, INDEX, ANALYZE, "CREATE SCHEMA s", "CREATE TABLE s.t (e vector)", "CREATE TABLE p (i int)"
    )
    assert set(bad(database)) == {"no_dimensions"}
    assert bad(database, ["the docs"]) == {}
    assert set(bad(database, ["t"], "s")) == {"no_dimensions"}
    assert set(bad(database, None, "s")) == {"no_dimensions"}
    assert bad(database, ["p"])["no_vectors"].level == "note"
    with pytest.raises(SchemaMismatch, match="there is no table t; the tables there are: p, the docs"):
        bad(database, ["t"])


# The connection


def by_code(database: Pg8000Database) -> dict[str, Finding]:
    return {finding.code: finding for finding in examined(database)}


def test_the_way_there(ready: Ready) -> None:
    found = by_code(ready())
    assert found["latency"].what.startswith("a round trip takes ")
    assert found["tls"].what == "no TLS, and what is sent stays on this machine"
    assert found["no_pooler"].level == "ok"


def test_a_long_way(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_connection, "_SLOW", 0.0)
    assert bad(ready())["latency"].level == "note"


def test_a_pooler_by_the_transaction(server: Server, url: str) -> None:
    with Pooler(server) as pooler:
        pooled = pooler.url(url)
        others = [Pg8000Database(pooled) for _ in range(2)]
        for other in others:  # Two sessions stand, and the pooler takes them in turn.
            other.connect()
            other.begin()
            other.execute_sql("SELECT 1")
        for other in others:
            other.rollback()
        found = bad(Pg8000Database(pooled))
        for other in others:
            other.close()
    assert found["transaction_pooler"].level == "note"
    assert "10 statements went to 2 processes" in found["transaction_pooler"].what


def test_a_pooler_with_one_session(server: Server, url: str) -> None:
    with Pooler(server) as pooler:
        found = bad(Pg8000Database(pooler.url(url)))
    assert "was not seen" in found["pooler"].what


@pytest.fixture
def encrypted(server: Server, url: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "root.crt"))
    with bouncer(server, issued(authority, "127.0.0.1", clients=authority)) as pooler:
        yield {
            "host": "127.0.0.1",
            "port": pooler.port,
            "user": "me",
            "password": PASSWORD,
            "sslrootcert": str(tmp_path / "root.crt"),
            "database": urlsplit(url).path[1:],
        }


@pytest.mark.parametrize(
    ("sslmode", "code", "told"),
    [
        ("verify-full", "tls", "TLSv1.3; its certificate and host name are verified"),
        ("verify-ca", "tls", "TLSv1.3; its certificate is verified"),
        ("require", "tls", "TLSv1.3; its certificate is verified"),
    ],
)
def test_tls(encrypted: dict[str, Any], sslmode: str, code: str, told: str) -> None:
    assert by_code(Pg8000Database(**encrypted, sslmode=sslmode))[code].what == told


def test_tls_that_nobody_verified(encrypted: dict[str, Any]) -> None:
    del encrypted["sslrootcert"]
    finding = by_code(Pg8000Database(**encrypted, sslmode="require"))["tls_unverified"]
    assert finding.level == "note"
    assert "it may be anybody's" in finding.what


class FakeConnection:
    """A connection to elsewhere, as far as its socket tells."""

    def __init__(self, peer: Any, context: ssl.SSLContext | None) -> None:
        self.socket = self.transport = self.session = self
        self._peer = peer
        if context is not None:
            self.context = context

    def getpeername(self) -> Any:
        return self._peer

    def version(self) -> str:
        return "TLSv1.2"


@pytest.mark.parametrize(
    ("host", "is_encrypted", "level", "code"),
    [
        ("8.8.8.8", False, "problem", "no_tls"),
        ("8.8.8.8", True, "problem", "tls_unverified"),
        ("10.1.2.3", False, "note", "no_tls"),
        ("10.1.2.3", True, "note", "tls_unverified"),
        ("2001:4860:4860::8888", False, "problem", "no_tls"),
        ("127.0.0.1", False, "ok", "tls"),
        ("fe80::1%eth0", False, "note", "no_tls"),
    ],
)
def test_a_server_elsewhere(host: str, is_encrypted: bool, level: str, code: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = FakeConnection((host, 5432), context if is_encrypted else None)
    found = doctor_connection._tls(connection, *doctor_connection._peer(connection.getpeername()))
    assert (found.level, found.code) == (level, code)


# The server


def test_no_extension(empty_url: str) -> None:
    found = bad(Pg8000Database(empty_url))
    assert [*found] == ["no_extension"]
    assert found["no_extension"].remedy == "CREATE EXTENSION vector, or lightvec init-db"


def test_an_old_pgvector(ready: Ready) -> None:
    found = bad(ready("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"))
    assert found["pgvector_old"].level == "problem"
    assert found["pgvector_update"].remedy == "ALTER EXTENSION vector UPDATE"
    assert set(bad(ready("UPDATE pg_extension SET extversion = '0.8.0' WHERE extname = 'vector'"))) == {
        "pgvector_update",
        "no_vectors",
    }


@pytest.mark.parametrize(
    ("installed", "available", "code"),
    [
        ("0.5.1", "0.5.1", "hnsw_vacuum"),
        ("0.8.0", "0.8.2", "hnsw_vacuum"),
        ("0.8.3", "0.8.3", "hnsw_vacuum_error"),
        ("0.8.0", "0.8.4", None),
        ("0.8.6", None, None),
    ],
)
def test_a_vacuum_that_may_corrupt(ready: Ready, installed: str, available: str | None, code: str | None) -> None:
    """By the library that the server has: the database may use functions of an older version."""
    database = ready()
    with database.connection_context():
        server = read_server(database)._replace(installed=installed, available=available)
    found = {each.code: each for each in server_findings(server) if each.code.startswith("hnsw_")}
    assert [*found] == ([code] if code else [])
    for each in found.values():
        assert each.level == ("problem" if code == "hnsw_vacuum" else "note")


def test_an_extension_outside_the_search_path(empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run('CREATE SCHEMA "the ext"; CREATE EXTENSION vector SCHEMA "the ext"')
        conn.run(TABLE.replace("vector(3)", '"the ext".vector(3)'))
        conn.run("INSERT INTO \"the docs\" VALUES (1, 'x', '[0,0,0]'), (2, 'y', NULL)")
        conn.run(INDEX.replace("vector_cosine_ops", '"the ext".vector_cosine_ops'))
        conn.run(ANALYZE)
        found = bad(Pg8000Database(empty_url))
        assert set(found) == {"extension_out_of_path", "zero_vectors", "null_vectors"}
        conn.run(found["extension_out_of_path"].remedy)
    assert "extension_out_of_path" not in bad(Pg8000Database(empty_url))


# Columns


def test_rows_without_a_vector_and_with_zeros(ready: Ready) -> None:
    zeros = "INSERT INTO \"the docs\" SELECT n, 'x', '[0,0,0]' FROM generate_series(600, 606) n"
    nulls = "INSERT INTO \"the docs\" SELECT n, 'x', NULL FROM generate_series(700, 702) n"
    found = bad(ready(TABLE, FILL, zeros, nulls, INDEX, ANALYZE))
    assert set(found) == {"null_vectors", "zero_vectors"}
    assert found["null_vectors"].what.startswith("3 of 510 rows have no vector")
    assert found["zero_vectors"].what.startswith("7 of 510 rows")
    by_l2 = INDEX.replace("cosine", "l2").replace("the index", "by l2")
    assert set(bad(ready('DROP INDEX "the index"', by_l2))) == {"null_vectors"}, "l2 has no trouble with zeros"


def test_a_sample_of_a_large_table(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "INSERT INTO \"the docs\" SELECT n, repeat('x', 900), '[0,0,0]' FROM generate_series(501, 3000) n"
    database = ready(TABLE, FILL, more, INDEX, ANALYZE)
    monkeypatch.setattr(table_statistics, "_SAMPLE_BYTES", 1 << 20)
    found = by_code(database)
    assert found["column"].what == "vector(3), about 3,000 rows"
    assert " rows of a sample have a vector of zeros" in found["zero_vectors"].what
    with database.connection_context():
        sample = table_statistics.vector_tables(database)[0].columns[0].sample
    assert sample is not None
    assert 0 < sample.zeros <= sample.rows < 3_000


def test_other_types(ready: Ready) -> None:
    made = (
        "CREATE TABLE kinds (h halfvec(2), s sparsevec(9), b bit(4), flag bit(4))",
        "INSERT INTO kinds VALUES ('[0,0]', '{}/9', B'0000', B'1000'), ('[1,2]', '{1:1}/9', B'1111', NULL)",
        "CREATE INDEX ON kinds USING hnsw (h halfvec_cosine_ops)",
        "CREATE INDEX ON kinds USING hnsw (s sparsevec_cosine_ops)",
        "CREATE INDEX ON kinds USING hnsw (b bit_hamming_ops)",
        "ANALYZE kinds",
    )
    found = examined(ready(*made))
    zeros = [finding.subject for finding in found if finding.code == "zero_vectors"]
    assert zeros == ["kinds.h", "kinds.s"]
    columns = [finding.subject for finding in found if finding.code == "column"]
    assert columns == ["kinds.h", "kinds.s", "kinds.b"], "bits without a vector index are flags"


def test_no_dimensions(ready: Ready) -> None:
    database = ready("CREATE TABLE d (e vector)", "INSERT INTO d VALUES ('[1,2]'), ('[3,4]')", "ANALYZE d")
    found = bad(database)
    assert set(found) == {"no_dimensions"}
    remedy = found["no_dimensions"].remedy
    assert remedy == 'ALTER TABLE "public"."d" ALTER COLUMN "e" TYPE vector(2)'
    assert set(bad(ready(remedy, "ANALYZE d"))) == {"no_index"}


def test_several_models_in_a_column(ready: Ready) -> None:
    found = bad(ready("CREATE TABLE d (e vector)", "INSERT INTO d VALUES ('[1,2]'), ('[3,4,5]')", "ANALYZE d"))
    assert "vectors of 2 to 3" in found["mixed_dimensions"].what


def test_no_index(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    database = ready(TABLE, FILL, ANALYZE)
    assert bad(database)["no_index"].level == "note"
    monkeypatch.setattr(doctor_tables, "_MANY_ROWS", 500)
    finding = bad(database)["no_index"]
    assert finding.level == "problem"
    assert finding.remedy == "create one (lightvec create-index 'the docs' --vector-column e)"


def test_too_many_dimensions_for_an_index(ready: Ready) -> None:
    found = bad(ready("CREATE TABLE long (e vector(2001), h halfvec(4001))", "ANALYZE long"))
    assert [*found] == ["no_index"]
    assert found["no_index"].remedy.startswith("create one (lightvec create-index long")
    made = "CREATE INDEX ON long USING hnsw ((e::halfvec(2001)) halfvec_cosine_ops)"
    assert "long.e" not in [finding.subject for finding in bad(ready(made)).values()]


@pytest.fixture
def as_stranger(ready: Ready) -> Iterator[Ready]:
    """Looks at it as a user with no rights but those of all."""

    def as_stranger(*statements: str) -> Pg8000Database:
        return ready("DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger", *statements, options="-c role=stranger")

    yield as_stranger
    ready("DROP OWNED BY stranger", "DROP ROLE stranger")


def test_a_table_that_may_not_be_read(as_stranger: Ready) -> None:
    database = as_stranger(TABLE, FILL, INDEX, ANALYZE)
    found = bad(database)
    assert [*found] == ["not_readable"], "that it was never analysed nobody can say"
    assert 'GRANT SELECT ON "public"."the docs" to this user' in found["not_readable"].remedy


def test_a_table_in_a_schema_that_may_not_be_used(as_stranger: Ready) -> None:
    hidden = ("CREATE SCHEMA hidden", TABLE.replace('"the docs"', "hidden.t"), "GRANT SELECT ON hidden.t TO stranger")
    database = as_stranger(
        TABLE, FILL, INDEX, ANALYZE, 'GRANT SELECT ON "the docs" TO stranger', *hidden, "ANALYZE hidden.t"
    )
    found = examined(database)
    assert [each.subject for each in found if each.code == "not_readable"] == ["hidden.t.e"]
    assert 'GRANT USAGE ON SCHEMA "hidden"' in bad(database)["not_readable"].remedy
    assert [each.subject for each in found if each.code == "column"] == ["the docs.e"]
    assert "not_readable" in bad(database, ["t"], "hidden")
    with pytest.raises(SchemaMismatch, match="there is no table nosuch"):
        bad(database, ["nosuch"], "hidden")


def test_a_table_that_cannot_be_read_does_not_end_it(ready: Ready, as_stranger: Ready) -> None:
    as_stranger(
        TABLE, FILL, INDEX, ANALYZE, 'GRANT SELECT ON "the docs" TO stranger',
        'ALTER TABLE "the docs" ENABLE ROW LEVEL SECURITY',
        "CREATE TABLE another (e vector(3))", "GRANT SELECT ON another TO stranger",
    )  # fmt: skip
    database = ready(options="-c role=stranger -c row_security=off")
    for inside in (False, True):
        with database.connection_context(), database.atomic() if inside else nullcontext():
            found = {each.code: each for each in examine(database) if each.level != "ok"}
        assert [*found] == ["no_index", "not_checked"]
        assert (found["not_checked"].level, found["not_checked"].subject) == ("problem", "the docs")
        assert "row-level security" in found["not_checked"].what


def test_a_sample_is_a_literal(ready: Ready, sent: list[bytes]) -> None:
    """Citus does not pass a parameter on to the only shard of a table."""
    bad(ready(TABLE, FILL, INDEX, ANALYZE))
    sampling = [each for each in sent if b"TABLESAMPLE" in each]
    assert sampling
    assert all(b"TABLESAMPLE SYSTEM (100.000000000)" in each for each in sampling)


def test_a_view(ready: Ready) -> None:
    view = 'CREATE VIEW "the view" AS SELECT t.* FROM "the docs" t JOIN other USING (id)'
    database = ready(TABLE, FILL, INDEX, ANALYZE, "CREATE TABLE other (id int)", view)
    found = bad(database, ["the view"])
    assert [(each.code, each.level, each.subject) for each in found.values()] == [("view", "note", "the view")]
    assert found["view"].what.endswith('those of what it reads ("the docs", other)')
    assert [*bad(database, ["the docs", "the view"])] == ["view"]
    assert bad(database) == {}


def test_a_partitioned_table(ready: Ready) -> None:
    parts = [f"CREATE TABLE parts_{n} PARTITION OF parts FOR VALUES IN ({n})" for n in (0, 1)]
    fill = "INSERT INTO parts SELECT mod(n, 2), ARRAY[n, 1]::vector FROM generate_series(1, 100) n"
    made = ("CREATE TABLE parts (n int, e vector(2)) PARTITION BY LIST (n)", *parts, fill)
    database = ready(*made, "CREATE INDEX ON parts USING hnsw (e vector_l2_ops)", "ANALYZE parts")
    found = examined(database)
    assert {finding.level for finding in found} == {"ok"}
    assert [finding.what for finding in found if finding.code == "column"] == ["vector(2), 100 rows"]


# Indexes


def test_an_invalid_index(ready: Ready) -> None:
    broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"the index\"'::regclass"
    found = bad(ready(TABLE, FILL, INDEX, ANALYZE, broken))
    assert found["invalid_index"].level == "problem"
    assert 'REINDEX INDEX CONCURRENTLY "public"."the index"' in found["invalid_index"].remedy


def test_an_index_whose_build_was_interrupted(ready: Ready, empty_url: str) -> None:
    database = ready(TABLE, FILL, ANALYZE)
    create = INDEX.replace("INDEX", "INDEX CONCURRENTLY").replace("the index", "stopped")
    interrupt_build(empty_url, "INSERT INTO \"the docs\" VALUES (0, 'x', '[1,2,3]')", create)
    finding = bad(database)["invalid_index"]
    assert (finding.level, finding.subject) == ("problem", "stopped")
    reindex = 'REINDEX INDEX CONCURRENTLY "public"."stopped"'
    assert reindex in finding.remedy
    assert "invalid_index" not in bad(ready(reindex))


def test_the_same_index_twice(ready: Ready) -> None:
    second = INDEX.replace("the index", "a second")
    database = ready(TABLE, FILL, INDEX, second, ANALYZE)
    found = bad(database)
    assert [*found] == ["duplicate_index"]
    assert found["duplicate_index"].remedy == 'DROP INDEX CONCURRENTLY "public"."the index"'
    assert bad(ready(found["duplicate_index"].remedy)) == {}
    part = INDEX.replace("the index", "part") + " WHERE id > 5"
    assert bad(ready(part)) == {}, "of other rows"


LISTS = 'CREATE INDEX lists ON "the docs" USING ivfflat (e vector_cosine_ops) WITH (lists = {})'


def test_lists_of_an_empty_table(ready: Ready) -> None:
    assert bad(ready(TABLE, LISTS.format(3), ANALYZE))["ivfflat_built_early"].level == "note"
    database = ready(FILL, ANALYZE)
    finding = bad(database)["ivfflat_built_early"]
    assert finding.level == "problem"
    assert finding.what.startswith("100% of the rows are newer than the index")
    assert [*bad(ready(finding.remedy))] == ["one_probe"]


def test_lists_of_rows_that_were_updated(ready: Ready) -> None:
    database = ready(TABLE, FILL, LISTS.format(3), "UPDATE \"the docs\" SET note = 'y'", ANALYZE)
    assert "ivfflat_built_early" not in bad(database)


@pytest.mark.parametrize(("lists", "is_far"), [(1, False), (3, False), (40, False), (100, True)])
def test_the_number_of_lists(ready: Ready, lists: int, is_far: bool) -> None:
    found = bad(ready(TABLE, FILL, LISTS.format(lists), ANALYZE))
    assert ("ivfflat_lists" in found) == is_far
    if is_far:
        assert "too many" in found["ivfflat_lists"].what
        alter, reindex = found["ivfflat_lists"].remedy.split(", then ")
        assert bad(ready(alter, reindex)) == {}


def test_too_few_lists(ready: Ready) -> None:
    many = FILL.replace("1, 500", "501, 9000")
    found = bad(ready(TABLE, FILL, many, LISTS.format(1), ANALYZE))
    assert "too few" in found["ivfflat_lists"].what


def test_one_probe_of_several_lists(ready: Ready) -> None:
    database = ready(TABLE, FILL, LISTS.format(9), ANALYZE)
    found = bad(database)
    assert [(each.code, each.level) for each in found.values()] == [("one_probe", "note")]
    assert "probes=3)" in found["one_probe"].remedy
    assert bad(ready(options="-c ivfflat.probes=3")) == {}


def test_an_index_that_no_search_has_used(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    database = ready(TABLE, FILL, INDEX, ANALYZE)
    assert bad(database) == {}, "a small table"
    monkeypatch.setattr(doctor_indexes, "_MANY_ROWS", 500)
    finding = bad(database)["unused_index"]
    assert (finding.level, finding.subject) == ("note", "the index")
    assert re.search(r"since 20\d\d-\d\d-\d\d,", finding.what)
    assert finding.remedy.endswith('DROP INDEX CONCURRENTLY "public"."the index"')
    assert bad(ready("SELECT pg_stat_reset()"))["unused_index"].what != ""
    search = "SELECT id FROM \"the docs\" ORDER BY e <=> '[1,2,3]' LIMIT 1"
    assert bad(ready("SET enable_seqscan = off", search)) == {}


BUILD = """
import sys
from lightvec import connect

connect(sys.argv[1]).run("CREATE INDEX plain ON \\"the docs\\" USING hnsw ((waiting(e)::vector(3)) vector_l2_ops)")
"""


def test_a_build_that_goes_on_without_its_client(ready: Ready, empty_url: str) -> None:
    """Other sessions do not see the index of a plain CREATE INDEX before it is built."""
    waiting = "CREATE FUNCTION waiting(e vector) RETURNS vector(3) IMMUTABLE LANGUAGE sql AS "
    body = "'SELECT e FROM (SELECT pg_advisory_xact_lock_shared(7)) lock'"
    database = ready(TABLE, FILL, ANALYZE, waiting + body)
    building = "SELECT count(*) FROM pg_stat_progress_create_index"
    with connect(empty_url) as conn:
        conn.run("SELECT pg_advisory_lock(7)")
        client = subprocess.Popen([sys.executable, "-c", BUILD, empty_url])
        try:
            while conn.run(building) == [[0]]:
                assert client.poll() is None
        finally:
            client.kill()
            client.wait()
        found = bad(database)
        assert [*found] == ["build_running"], "what is being built is not missing"
        with database.connection_context():
            near: Any = model_of(database, "the docs").e.nearest([1, 2, 3], metric="l2")  # type: ignore[attr-defined]
            assert [reason.code for reason in explain(near).reasons] == ["build_running"]
        finding = found["build_running"]
        assert (finding.level, finding.subject) == ("note", "the docs")
        assert "(building index: " in finding.what
        conn.run(finding.remedy.partition(", or ")[2])
        while conn.run(building) != [[0]]:
            pass
    assert [*bad(database)] == ["no_index"]


# Writes


def test_never_analysed(ready: Ready) -> None:
    found = bad(ready(TABLE, FILL, INDEX))
    assert [*found] == ["never_analyzed"]
    assert bad(ready(found["never_analyzed"].remedy)) == {}


def test_analysed_where_nobody_sees_it(as_stranger: Ready) -> None:
    """The statistics of a table with policies are shown to nobody whom they concern."""
    policies = ('ALTER TABLE "the docs" ENABLE ROW LEVEL SECURITY', 'CREATE POLICY all_rows ON "the docs" USING (true)')
    database = as_stranger(TABLE, FILL, INDEX, ANALYZE, *policies, 'GRANT SELECT ON "the docs" TO stranger')
    assert bad(database) == {}


def test_an_empty_partition(ready: Ready) -> None:
    index = "CREATE INDEX ON parts USING hnsw (e vector_l2_ops)"
    made = ("CREATE TABLE parts (n int, e vector(2)) PARTITION BY LIST (n)", index)
    parts = [f"CREATE TABLE parts_{n} PARTITION OF parts FOR VALUES IN ({n})" for n in (0, 1)]
    fill = "INSERT INTO parts SELECT 0, ARRAY[n, 1]::vector FROM generate_series(1, 100) n"
    assert bad(ready(*made, *parts, fill, "ANALYZE parts_0")) == {}
    assert "never_analyzed" in bad(ready(fill.replace("SELECT 0", "SELECT 1")))


def test_dead_rows(ready: Ready) -> None:
    ready(TABLE, FILL)
    found = bad(ready(ANALYZE, *['UPDATE "the docs" SET note = note'] * 3))
    # The server prunes a page that is full, when it likes.
    assert re.match(r"1,[45]\d\d dead rows beside 500 live ones", found["dead_rows"].what)
    remedy = found["dead_rows"].remedy.partition(";")[0]
    assert "dead_rows" not in bad(ready(remedy))


def test_writes_to_a_partition(ready: Ready) -> None:
    off = "WITH (autovacuum_enabled = off)"
    database = ready(
        "CREATE TABLE parts (n int, e vector(2)) PARTITION BY LIST (n)",
        *(f"CREATE TABLE parts_{n} PARTITION OF parts FOR VALUES IN ({n}) {off}" for n in (0, 1)),
        "INSERT INTO parts SELECT mod(n, 2), ARRAY[n, 1]::vector FROM generate_series(1, 1000) n",
        "CREATE INDEX ON parts USING hnsw (e vector_l2_ops)",
        "ANALYZE parts",
        *["UPDATE parts SET e = e WHERE n = 1"] * 3,
    )
    found = [each for each in examined(database) if each.level != "ok"]
    assert [(each.code, each.subject) for each in found] == [("dead_rows", "parts_1"), ("updates_not_hot", "parts_1")]
    ready(found[1].remedy.partition(" keeps")[0], found[0].remedy.partition(";")[0])
    assert "dead_rows" not in bad(database)


def test_updates_of_a_full_page(ready: Ready) -> None:
    updates = ["UPDATE \"the docs\" SET note = note || 'y'"] * 3
    found = bad(ready(TABLE, FILL, INDEX, ANALYZE, *updates))
    assert "(fillfactor 100)" in found["updates_not_hot"].what
    assert found["updates_not_hot"].level == "problem"


def test_updates_that_have_room(ready: Ready) -> None:
    room = TABLE.replace("autovacuum_enabled = off", "autovacuum_enabled = off, fillfactor = 10")
    updates = ['UPDATE "the docs" SET note = note'] * 3
    assert "updates_not_hot" not in bad(ready(room, FILL, INDEX, ANALYZE, *updates))


# Memory


def test_indexes_beyond_what_the_server_keeps(ready: Ready) -> None:
    database = ready(TABLE, FILL, INDEX, ANALYZE, options="-c effective_cache_size=64kB")
    assert [*bad(database)] == ["indexes_beyond_cache"]


def test_indexes_beyond_the_buffers() -> None:
    folder = open_folder("health")
    try:
        with Server(folder / "db", settings={"shared_buffers": "256kB", "fsync": "off"}) as small:
            with connect(small.url) as conn:
                for statement in (
                    "CREATE EXTENSION IF NOT EXISTS vector",
                    TABLE,
                    FILL,
                    FILL.replace("1, 500", "501, 2000"),
                    INDEX,
                    ANALYZE,
                ):
                    conn.run(statement)
            found = bad(Pg8000Database(small.url))
    finally:
        shutil.rmtree(folder)
    assert [*found] == ["indexes_beyond_buffers"]


def test_a_build_that_does_not_fit(ready: Ready) -> None:
    more = FILL.replace("1, 500", "501, 6000")
    database = ready(TABLE, FILL, more, INDEX, LISTS.format(6), ANALYZE, options="-c maintenance_work_mem=1MB")
    found = [finding for finding in examined(database) if finding.code == "maintenance_work_mem"]
    assert [finding.subject for finding in found] == ["the index"]
    assert "many times slower" in found[0].what
    assert re.fullmatch(r"SET maintenance_work_mem = '\dMB' in the session that builds it again", found[0].remedy)


def test_an_index_that_no_model_declares(ready: Ready) -> None:
    odd = 'CREATE INDEX odd ON "the docs" USING hnsw ((subvector(e, 1, 2)::vector(2)) vector_l2_ops)'
    assert bad(ready(TABLE, FILL, odd, ANALYZE)) == {}


HOSTILE = 'it\'s a "%s" %% 100%\n; --'


def test_hostile_names(empty_url: str) -> None:
    table, column, index = (identifier(f"{kind} {HOSTILE}") for kind in ("t", "c", "i"))
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
        conn.execute_simple(f"CREATE TABLE {table} ({column} vector(2))")
        conn.execute_simple(f"CREATE INDEX {index} ON {table} USING ivfflat ({column} vector_l2_ops) WITH (lists = 1)")
        conn.execute_simple(f"INSERT INTO {table} VALUES ('[1,2]'), (NULL)")
        found = bad(Pg8000Database(empty_url), [f"t {HOSTILE}"])
        assert set(found) == {"never_analyzed", "ivfflat_built_early", "null_vectors"}
        conn.execute_simple(found["never_analyzed"].remedy)
        conn.execute_simple(found["ivfflat_built_early"].remedy)
    assert set(bad(Pg8000Database(empty_url))) == {"null_vectors"}


# Embedding models


class Sourced(Model):
    """Vectors that follow their text."""

    body = TextField(null=True)
    embedding = VectorField(2, metric="cosine", index="hnsw", model="lengths", source="body")


def fill_sourced(database: Pg8000Database, texts: Sequence[str | None]) -> None:
    """Store these texts and their vectors in the table ``sourced``."""
    with database.connection_context(), database.bind_ctx([Sourced]):
        set_up(database, [Sourced])
        Sourced.insert_many([{"body": text} for text in texts]).execute()
        fill(Sourced.embedding, lambda texts: [[len(text), 1] for text in texts])
        database.execute_sql("ANALYZE sourced")


def test_the_model_of_a_column(ready: Ready) -> None:
    database = ready()
    fill_sourced(database, ["one", "two", None])
    (column,) = [each for each in examined(database) if each.code == "column"]
    assert column.what == "vector(2), 3 rows, of the model lengths"
    assert bad(database) == {}, "a row without a text is no fault"


def test_vectors_of_former_texts(ready: Ready) -> None:
    database = ready()
    fill_sourced(database, ["one", "two", "three", None])
    with connect(database.database) as conn:
        conn.run("UPDATE sourced SET body = 'four' WHERE id = 2")
        conn.run("INSERT INTO sourced (body) VALUES ('five')")
    found = bad(database, ["sourced"])
    assert list(found) == ["pending_vectors"]
    assert found["pending_vectors"].level == "note"
    assert found["pending_vectors"].what.startswith("2 of 5 rows have no vector of their present text")
    assert found["pending_vectors"].remedy.startswith("lightvec fill ")


def test_vectors_of_former_texts_in_a_sample(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    database = ready()
    fill_sourced(database, [])
    with connect(database.database) as conn:
        conn.run("INSERT INTO sourced (body) SELECT repeat('x', 200) FROM generate_series(1, 4000)")
        conn.run("ANALYZE sourced")
    monkeypatch.setattr(table_statistics, "_SAMPLE_BYTES", 200_000)
    found = re.match(r"([\d,]+) of the ([\d,]+) rows of a sample", bad(database)["pending_vectors"].what)
    assert found is not None
    assert found[1] == found[2]
    assert int(found[1].replace(",", "")) < 4000


def test_a_source_that_was_renamed(ready: Ready) -> None:
    database = ready()
    fill_sourced(database, ["one"])
    with connect(database.database) as conn:
        conn.run("ALTER TABLE sourced RENAME body TO text")
    what = "says that its vectors are of body, and there is no such column, or no embedding_hash"
    assert what in bad(database)["not_checked"].what


def test_hostile_names_of_a_source(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    text = TextField(column_name=f"b {HOSTILE}")
    vector = VectorField(2, metric="l2", model=HOSTILE, source=f"b {HOSTILE}")
    model = model_with(f"t {HOSTILE}", {"id": AutoField(), f"b {HOSTILE}": text, f"c {HOSTILE}"[:20]: vector})
    with database.connection_context():
        set_up(database, [model])
        assert not any(step.differs for step in set_up(database, [model]))
        model.insert({text: "one"}).execute(database)
    assert bad(database)["pending_vectors"].what.startswith("1 of 1 rows")
