"""explain: each way in which a query quietly goes without its index, made on purpose and named."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import JOIN, SQL, Expression, IntegerField, Model, Select, TextField, fn

from lightvec.errors import InvalidOption
from lightvec.peewee import HalfVectorField, HnswIndex, IvfflatIndex, Pg8000Database, VectorField
from lightvec.pg8000 import connect
from lightvec.search import explain, explaining
from lightvec.search.explaining import Explanation
from lightvec.search.findings import FINDINGS, finding
from lightvec.search.query_plan import Plan
from tests.search.builds import building, interrupt_build

SIZE = 3_000
DIMENSIONS = 8
QUERY = [float(number) for number in np.random.default_rng(2).normal(size=DIMENSIONS)]


class Doc(Model):
    """3,000 rows; the vectors of ``embedding`` have an index by cosine, those of ``other`` none."""

    id: Any
    title = TextField()
    kind = IntegerField()
    number = IntegerField(index=True)
    embedding = VectorField(DIMENSIONS, metric="cosine")
    other = VectorField(DIMENSIONS, metric="l2", null=True)
    half = HalfVectorField(DIMENSIONS, metric="l2", null=True)

    class Meta:
        table_name = "explained doc"


@pytest.fixture(scope="module")
def filled(make_database: Callable[[], str]) -> str:
    url = make_database()
    with connect(url) as admin:
        admin.run("CREATE EXTENSION vector")
    database = Pg8000Database(url)
    with database.bind_ctx([Doc]), database.connection_context():
        database.create_tables([Doc])
        vectors = np.random.default_rng(1).normal(size=(SIZE, DIMENSIONS)).astype(np.float32)
        rows = (
            {"title": "word " * 40, "kind": n % 10, "number": n, "embedding": v, "other": v, "half": v}
            for n, v in enumerate(vectors)
        )
        database.copy_rows(Doc, rows)
        database.execute_sql('CREATE INDEX doc_cosine ON "explained doc" USING hnsw (embedding vector_cosine_ops)')
        database.execute_sql('ANALYZE "explained doc"')
    return url


@pytest.fixture
def db(filled: str) -> Iterator[Pg8000Database]:
    """The table in a transaction that is undone: a test may change what it likes."""
    database = Pg8000Database(filled)
    with database.bind_ctx([Doc]), database.connection_context(), database.atomic() as transaction:
        yield database
        transaction.rollback()


def run(db: Pg8000Database, *statements: str) -> None:
    for statement in statements:
        db.execute_sql(statement)


def codes(query: Any) -> list[str]:
    """The reasons, after what holds of every answer was checked."""
    found = explain(query)
    assert found.uses_index is False
    assert json.loads(json.dumps(found.plan))[0]["Plan"]
    for reason in found.reasons:
        assert reason.code in FINDINGS
        assert reason.what
        assert reason.remedy
        assert str(reason) in str(found)
        assert "{" not in str(reason)
    return [finding.code for finding in found.reasons]


def served(query: Any) -> str | None:
    """The index that serves a query."""
    found = explain(query)
    assert (found.uses_index, found.reasons) == (True, ())
    assert str(found) == f"the index {found.index} serves the query"
    return found.index


# The index serves


def test_nearest_and_what_goes_on_from_it(db: Pg8000Database) -> None:
    near = Doc.embedding.nearest(QUERY, 5)
    assert served(near) == "doc_cosine"
    assert served(near.where(Doc.kind != 3)) == "doc_cosine"
    assert served(near.select(Doc.title).offset(3)) == "doc_cosine"
    other: Any = Doc.alias()
    assert served(near.join(other, on=(Doc.id == other.id))) == "doc_cosine"
    assert served(Doc.embedding.nearest(QUERY, 5, min_score=0.1)) == "doc_cosine"


def test_any_select_by_distance(db: Pg8000Database) -> None:
    distance = Doc.embedding.cosine_distance(QUERY)
    assert served(Doc.select().order_by(distance).limit(5)) == "doc_cosine"
    assert served(Doc.select(distance.alias("d")).order_by(SQL("d")).limit(5)) == "doc_cosine"
    assert served(Doc.select().order_by(distance, Doc.id).limit(5)) == "doc_cosine"
    like = Doc.select(Doc.embedding).where(Doc.id == 7)
    assert served(Doc.select().order_by(Doc.embedding.cosine_distance(like)).limit(5)) == "doc_cosine"
    assert served(Doc.select().where(Doc.id.in_(Doc.embedding.nearest(QUERY, 5).select(Doc.id)))) == "doc_cosine"


def test_what_an_index_gave_may_be_ranked_again(db: Pg8000Database) -> None:
    near = Doc.embedding.nearest(QUERY, 40).alias("near")
    ranked = Expression(near.c.other, "<->", Doc.other.to_value(QUERY))
    query = Select([near], [near.c.id]).bind(db).order_by(ranked).limit(5)
    assert served(query) == "doc_cosine"


def test_a_quantized_index_by_its_own_expression(db: Pg8000Database) -> None:
    run(db, 'CREATE INDEX doc_half ON "explained doc" USING hnsw ((other::halfvec(8)) halfvec_l2_ops)')
    cast = SQL("other::halfvec(8) <-> %s", [Doc.other.db_value(QUERY)])
    assert served(Doc.select().order_by(cast).limit(5)) == "doc_half"


def same_table(database_: Pg8000Database) -> type[Model]:
    """Another model of the table, which a test may give an index."""

    class Same(Doc):
        class Meta:
            table_name = "explained doc"
            database = database_

    return Same


@pytest.mark.parametrize("form", ["halfvec", "bit"])
def test_a_quantized_index_that_the_model_declares(db: Pg8000Database, form: str) -> None:
    model: Any = same_table(db)
    index = HnswIndex(model.other, metric="l2", quantize=form, name="doc_coarse")
    model.add_index(index)
    assert codes(model.other.nearest(QUERY, 2)) == ["no_index"]
    db.execute(model._schema._create_index(index))
    near = model.other.nearest(QUERY, 2)
    assert served(near) == "doc_coarse"
    assert served(near.where(model.kind < 9)) == "doc_coarse"
    assert codes(Doc.other.nearest(QUERY, 2)) == ["wrong_expression"]
    assert f"quantize='{form}'" in str(explain(Doc.other.nearest(QUERY, 2)))


def test_a_quantized_index_by_another_metric(db: Pg8000Database) -> None:
    """One of bits, which are by Hamming, serves each metric that bits are for; one of halfvec serves its own."""
    model: Any = same_table(db)
    bits = HnswIndex(model.other, metric="cosine", quantize="bit", name="doc_bits")
    model.add_index(bits)
    db.execute(model._schema._create_index(bits))
    for metric in ("l2", "ip", "cosine"):
        assert served(model.other.nearest(QUERY, 2, metric=metric)) == "doc_bits"
    by_l1 = model.other.nearest(QUERY, 2, metric="l1")
    assert codes(by_l1) == ["wrong_expression"]
    assert "quantize='bit'" not in str(explain(by_l1))
    run(
        db,
        "DROP INDEX doc_bits",
        'CREATE INDEX doc_halves ON "explained doc" USING hnsw ((other::halfvec(8)) halfvec_cosine_ops)',
    )
    assert codes(Doc.other.nearest(QUERY, 2, metric="l2")) == ["wrong_metric"]
    assert "it is built for cosine" in str(explain(Doc.other.nearest(QUERY, 2, metric="l2")))


def test_more_like_a_stored_row(db: Pg8000Database) -> None:
    assert served(Doc.embedding.nearest(Doc.get_by_id(1), 5)) == "doc_cosine"


def test_a_partial_index_with_its_condition(db: Pg8000Database) -> None:
    run(db, 'CREATE INDEX doc_part ON "explained doc" USING hnsw (other vector_l2_ops) WHERE kind = 3')
    assert served(Doc.other.nearest(QUERY, 5).where(Doc.kind == 3)) == "doc_part"


def test_the_settings_go_along_and_nothing_stays(db: Pg8000Database) -> None:
    run(db, "SET LOCAL hnsw.ef_search = 77")
    # How many rows it looks at is part of what an index costs.
    few = explain(Doc.embedding.nearest(QUERY, 5, ef_search=10)).plan[0]["Plan"]["Total Cost"]
    many = explain(Doc.embedding.nearest(QUERY, 5, ef_search=150)).plan[0]["Plan"]["Total Cost"]
    assert few < many
    codes(Doc.select().order_by(Doc.embedding.score(QUERY).desc()).limit(5))
    for setting, value in (("hnsw.ef_search", "77"), ("enable_seqscan", "on"), ("enable_sort", "on")):
        assert db.execute_sql(f"SHOW {setting}").fetchall() == [(value,)]


def test_analyze_runs_it(db: Pg8000Database) -> None:
    found = explain(Doc.embedding.nearest(QUERY, 5), analyze=True)
    assert found.uses_index
    assert "gave 5 rows" in str(found)
    assert found.plan[0]["Execution Time"] > 0


def test_an_index_without_a_limit(db: Pg8000Database) -> None:
    """Whoever forbids everything else gets as many rows as the index looks at, and no error."""
    run(db, "SET LOCAL enable_seqscan = off", "SET LOCAL enable_sort = off")
    query = Doc.select().order_by(Doc.embedding.distance(QUERY))
    assert len(query) < SIZE
    found = explain(query)
    assert (found.uses_index, [finding.code for finding in found.reasons]) == (True, ["unlimited"])
    assert "the index doc_cosine serves the query\ndoc_cosine: the query has no LIMIT" in str(found)


def test_one_round_trip_for_the_plan(db: Pg8000Database, sent: list[bytes]) -> None:
    explain(Doc.embedding.nearest(QUERY, 100))
    sent.clear()
    explain(Doc.embedding.nearest(QUERY, 100))
    assert len(sent) == 3, "the plan with its settings, the indexes that stand, and how far they are searched"
    assert b"EXPLAIN" in sent[0]
    assert b"hnsw.ef_search" in sent[0]


# The index serves, and leaves rows out


def short(query: Any) -> list[str]:
    """Why an index that serves a query leaves rows out."""
    found = explain(query)
    assert found.uses_index
    for reason in found.reasons:
        assert reason.level == "problem"
        assert "{" not in str(reason)
    return [finding.code for finding in found.reasons]


def by_distance(model: Any = Doc) -> Any:
    return model.select().order_by(model.embedding.distance(QUERY))


def test_a_filter_that_leaves_three_rows_of_ten(db: Pg8000Database) -> None:
    nearest: Any = Doc.embedding.nearest(QUERY, 40)
    few = sum(doc.kind == 3 for doc in nearest)
    filtered = by_distance().where(Doc.kind == 3).limit(10)
    assert len(filtered) == few
    assert 0 < few < 10 < Doc.select().where(Doc.kind == 3).count()
    assert short(filtered) == ["filtered_short"]
    told = str(explain(filtered))
    assert told.startswith("the index doc_cosine serves the query\ndoc_cosine: the index finds about 40 rows")
    assert "(t1.kind = '3'::smallint)" in told
    near = Doc.embedding.nearest(QUERY, 10, iterative_scan=False, exact=False).where(Doc.kind == 3)
    assert short(near) == ["filtered_short"]
    assert len(near) == few
    assert served(Doc.embedding.nearest(QUERY, 10, iterative_scan=True).where(Doc.kind == 3)) == "doc_cosine"
    run(db, "SET LOCAL hnsw.iterative_scan = strict_order")
    assert served(filtered) == "doc_cosine"
    assert len(by_distance().where(Doc.kind == 3).limit(10)) == 10


def test_a_search_that_was_run_once_more_exactly(db: Pg8000Database) -> None:
    query: Any = Doc.embedding.nearest(QUERY, 10, iterative_scan=False).where(Doc.kind == 3)
    assert "ran_exactly" not in [each.code for each in explain(query).reasons]
    assert len(query) == 10
    found = {each.code: each for each in explain(query).reasons}
    assert found["ran_exactly"].level == "note"
    assert "so the search ran again" in str(explain(query))


def test_what_a_view_and_a_policy_leave(db: Pg8000Database) -> None:
    run(db, 'CREATE VIEW three AS SELECT * FROM "explained doc" WHERE kind = 3')

    class Three(Doc):
        class Meta:
            database = db
            table_name = "three"

    view = Three.embedding.nearest(QUERY, 10, iterative_scan=False)
    assert short(view) == ["filtered_short"]
    assert "kind = 3" in str(explain(view))
    run(
        db,
        'ALTER TABLE "explained doc" ENABLE ROW LEVEL SECURITY',
        'CREATE POLICY mine ON "explained doc" USING (kind = 4 AND number >= 0)',
        "CREATE ROLE tenant_of_explain",
        'GRANT SELECT ON "explained doc" TO tenant_of_explain',
        "SET LOCAL ROLE tenant_of_explain",
    )
    mine = Doc.embedding.nearest(QUERY, 10, iterative_scan=False, exact=False)
    assert len(mine) < 10 < Doc.select().count()
    assert short(mine) == ["filtered_short"]
    assert "row-level security (t1.number >= 0; t1.kind = 4)" in str(explain(mine)).replace('"explained doc"', "t1")
    assert "row-level security" in str(explain(mine))


def test_a_join_that_leaves_few(db: Pg8000Database) -> None:
    other: Any = Doc.alias()
    joined = by_distance().join(other, on=(Doc.id == other.number)).where(other.kind != 3).limit(10)
    assert short(joined) == ["filtered_short"]
    assert "(the join with explained doc)" in str(explain(joined))
    outer = by_distance().join(other, JOIN.LEFT_OUTER, on=(Doc.id == other.number)).limit(10)
    assert served(outer) == "doc_cosine"


def test_more_rows_than_an_index_looks_at(db: Pg8000Database) -> None:
    assert short(by_distance().limit(100)) == ["limit_over_ef_search"]
    assert len(by_distance().limit(100)) < 100
    assert "wants 100 rows, and the index returns no more than hnsw.ef_search, which is 40" in str(
        explain(by_distance().limit(100))
    )
    assert served(by_distance().limit(40)) == "doc_cosine"
    assert short(by_distance().limit(30).offset(20)) == ["limit_over_ef_search"]
    assert served(by_distance().limit(20).offset(20)) == "doc_cosine"
    page = by_distance().limit(5).offset(50).select(Doc.id)
    assert served(Doc.embedding.nearest(QUERY, 100)) == "doc_cosine"
    run(db, "SET LOCAL hnsw.ef_search = 10")
    assert short(by_distance().limit(11)) == ["limit_over_ef_search"]
    run(db, "SET LOCAL hnsw.ef_search = 100")
    assert served(by_distance().limit(100)) == "doc_cosine"
    assert served(page) == "doc_cosine"
    assert short(by_distance().where(Doc.kind != 3).limit(101)) == ["limit_over_ef_search", "filtered_short"]


def test_more_rows_than_lists_hold(db: Pg8000Database) -> None:
    run(
        db,
        'CREATE INDEX lists ON "explained doc" USING ivfflat (other vector_l2_ops) WITH (lists = 100)',
        "SET LOCAL enable_seqscan = off",
    )
    listed = Doc.select().order_by(Doc.other.distance(QUERY))
    assert short(listed.limit(90)) == ["one_probe", "limit_over_probes"]
    assert len(listed.limit(90)) < 90
    assert served(Doc.other.nearest(QUERY, 90, probes=10)) == "lists"
    run(db, "SET LOCAL ivfflat.probes = 2")
    assert served(listed.limit(20)) == "lists"
    assert short(listed.where(Doc.kind == 3).limit(5)) == ["few_probes", "filtered_short"]
    run(db, "SET LOCAL ivfflat.probes = 10")
    assert served(listed.limit(90)) == "lists"


def test_one_probe_of_many_lists(db: Pg8000Database) -> None:
    run(
        db,
        'CREATE INDEX lists ON "explained doc" USING ivfflat (other vector_l2_ops) WITH (lists = 100)',
        "SET LOCAL enable_seqscan = off",
    )
    listed = Doc.select().order_by(Doc.other.distance(QUERY)).limit(5)
    assert short(listed) == ["one_probe"]
    remedy = explain(listed).reasons[0].remedy
    assert "probes=10)" in remedy
    run(db, re.search(r"SET (ivfflat.probes = \d+)", remedy)[0])  # type: ignore[index]
    assert served(listed) == "lists"
    run(db, "SET LOCAL ivfflat.probes = 1", "ALTER INDEX lists SET (lists = 1)", "REINDEX INDEX lists")
    assert served(listed) == "lists", "it is the only list"
    assert served(Doc.other.nearest(QUERY, 5).where(Doc.kind == 3)) == "lists"


def test_few_probes_for_a_filter(db: Pg8000Database) -> None:
    run(
        db,
        'CREATE INDEX lists ON "explained doc" USING ivfflat (other vector_l2_ops) WITH (lists = 100)',
        "SET LOCAL enable_seqscan = off",
        "SET LOCAL enable_sort = off",
    )
    filtered: Any = Doc.other.nearest(QUERY, 5).where(Doc.kind == 3)
    assert short(filtered) == ["few_probes"]
    finding = explain(filtered).reasons[0]
    assert "(t1.kind = " in finding.what
    assert "reads 1 of its 100 lists" in finding.what
    assert "probes=40)" in finding.remedy
    assert short(Doc.other.nearest(QUERY, 5, probes=39).where(Doc.kind == 3)) == ["few_probes"]
    assert served(Doc.other.nearest(QUERY, 5, probes=40).where(Doc.kind == 3)) == "lists"

    class Listed(Model):
        id: Any
        kind = IntegerField()
        other = VectorField(DIMENSIONS, metric="l2", null=True)

        class Meta:
            database = db
            table_name = "explained doc"
            indexes = (IvfflatIndex("other", lists=100),)

    assert served(Listed.other.nearest(QUERY, 5)) == "lists"
    listed: Any = Listed.other.nearest(QUERY, 5).where(Listed.kind == 3)
    assert served(listed) == "lists"
    assert served(Doc.select().where(Doc.id.in_(listed.select(Listed.id)))) == "lists"


def test_conditions_that_cost_no_rows(db: Pg8000Database) -> None:
    run(db, 'CREATE INDEX doc_other ON "explained doc" USING hnsw (other vector_l2_ops)')
    assert served(Doc.other.nearest(QUERY, 5, iterative_scan=False)) == "doc_other", "IS NOT NULL"
    assert served(Doc.other.nearest(QUERY, 5, min_score=0.1, iterative_scan=False)) == "doc_other"
    assert served(Doc.embedding.nearest(Doc.get_by_id(1), 5, min_score=0.1, iterative_scan=False)) == "doc_cosine"
    near = Doc.embedding.distance(QUERY)
    assert short(by_distance().where(near > 0.5).limit(5)) == ["filtered_short"]
    assert short(by_distance().where(Doc.embedding.l2_distance(QUERY) < 1).limit(5)) == ["filtered_short"]
    assert short(by_distance().where((near < 0.5) | (Doc.kind == 3)).limit(5)) == ["filtered_short"]
    assert short(by_distance().where(Doc.number != 3).limit(5)) == ["filtered_short"], "no key"
    assert short(by_distance().where(Doc.title.is_null(False), Doc.other.is_null(False)).limit(5)) == ["filtered_short"]


# The query cannot be served as it is written


def test_exact(db: Pg8000Database) -> None:
    assert codes(Doc.embedding.nearest(QUERY, exact=True)) == ["exact"]


def test_one_part_is_exact(db: Pg8000Database) -> None:
    exact = Doc.embedding.nearest(QUERY, 20, exact=True)
    assert codes(Doc.other.nearest(QUERY, 5).where(Doc.id.in_(exact.select(Doc.id)))) == ["exact"], "it ranks again"
    other = Doc.other.nearest(QUERY, 5).select(Doc.title)
    assert codes(exact.select(Doc.title) | other) == ["no_index"]
    assert codes(other | exact.select(Doc.title)) == ["no_index"]
    assert codes(Doc.embedding.nearest(QUERY, 5).select(Doc.title) | exact.select(Doc.title)) == ["exact"]
    assert codes(exact | Doc.embedding.nearest(QUERY, 5, exact=True)) == ["exact"]


def test_a_score_is_ordered_by(db: Pg8000Database) -> None:
    assert codes(Doc.select().order_by(Doc.embedding.score(QUERY).desc()).limit(5)) == ["around_distance"]
    assert codes(Doc.select().order_by(Doc.embedding.distance(QUERY) * 2).limit(5)) == ["around_distance"]


def test_descending(db: Pg8000Database) -> None:
    distance = Doc.embedding.distance(QUERY)
    assert codes(Doc.select().order_by(distance.desc()).limit(5)) == ["descending"]
    assert codes(Doc.select().order_by(distance.desc(nulls="LAST")).limit(5)) == ["descending"]
    assert codes(Doc.select().order_by(distance.asc(nulls="FIRST")).limit(5)) == ["nulls_first"]


def test_the_distance_is_in_where_only(db: Pg8000Database) -> None:
    near = Doc.embedding.distance(QUERY) < 0.3
    assert codes(Doc.select().where(near)) == ["in_where"]
    assert codes(Doc.select().where(near).order_by(Doc.title).limit(5)) == ["in_where"]


def test_something_else_comes_first(db: Pg8000Database) -> None:
    assert codes(Doc.select().order_by(Doc.kind, Doc.embedding.distance(QUERY)).limit(5)) == ["not_first"]


def test_a_function_in_place_of_the_operator(db: Pg8000Database) -> None:
    vector = Doc.embedding.to_value(QUERY)
    assert codes(Doc.select().order_by(fn.cosine_distance(Doc.embedding, vector)).limit(5)) == ["function"]
    assert codes(Doc.select().order_by(fn.cosine_distance(vector, Doc.embedding)).limit(5)) == ["function"]


def test_a_column_is_compared_with(db: Pg8000Database) -> None:
    assert codes(Doc.select().order_by(Doc.embedding.distance(Doc.other)).limit(5)) == ["not_constant"]


def test_grouped_rows(db: Pg8000Database) -> None:
    distance = Doc.embedding.distance(QUERY)
    grouped = Doc.select(distance).group_by(Doc.id).order_by(distance).limit(5)
    assert codes(grouped) == ["grouped"]


def test_an_index_that_serves_a_condition_only(db: Pg8000Database) -> None:
    """What a condition looks at gives the search no rows."""
    near = Doc.embedding.nearest(QUERY, 5).select(Doc.id)
    search = Doc.other.nearest(QUERY, 5)
    assert codes(search.where(Doc.number.not_in(near))) == ["no_index"]
    assert codes(search.where((Doc.kind == 3) | Doc.number.in_(near))) == ["no_index"]
    gone = near.alias("gone")
    left = search.join(gone, JOIN.LEFT_OUTER, on=(Doc.number == gone.c.id))
    assert codes(left) == ["no_index"]
    assert codes(left.where(gone.c.id.is_null())) == ["no_index"]


def test_rows_of_an_index_that_are_ranked_again(db: Pg8000Database) -> None:
    near = Doc.embedding.nearest(QUERY, 20)
    assert served(Doc.other.nearest(QUERY, 5).where(Doc.id.in_(near.select(Doc.id)))) == "doc_cosine"
    found = near.cte("found", materialized=True)
    again = Doc.other.to_value(QUERY)
    ranked = Select([found], [found.c.id]).bind(db).with_cte(found).order_by(Expression(found.c.other, "<->", again))
    assert served(ranked.limit(5)) == "doc_cosine"


def test_a_materialized_subquery(db: Pg8000Database) -> None:
    inner = Doc.select(Doc.id, Doc.embedding.distance(QUERY).alias("d")).cte("inner_", materialized=True)
    query = Doc.select(inner.c.id).from_(inner).with_cte(inner).order_by(inner.c.d).limit(5)
    assert codes(query) == ["in_subquery"]


def test_no_distance_at_all(db: Pg8000Database) -> None:
    assert codes(Doc.select().order_by(Doc.title)) == ["no_distance"]
    assert codes(Doc.select().where(Doc.title == "a <=> b")) == ["no_distance"]


# The table has no index that could serve it


def test_no_index(db: Pg8000Database) -> None:
    found = explain(Doc.other.nearest(QUERY))
    assert str(found) == (
        "explained doc.other: there is no vector index on it, so each search reads every row; create one "
        "(lightvec create-index 'explained doc' --vector-column other --metric l2)"
    )
    assert codes(Doc.other.nearest(QUERY)) == ["no_index"]


def test_no_index_and_no_shape_for_one(db: Pg8000Database) -> None:
    assert codes(Doc.select().order_by(Doc.other.score(QUERY).desc()).limit(5)) == ["around_distance", "no_index"]


def test_the_wrong_metric(db: Pg8000Database) -> None:
    assert str(explain(Doc.embedding.nearest(QUERY, metric="l2"))) == (
        "doc_cosine: the index is not used: it is built for cosine, and the query orders by l2; declare "
        "metric='cosine', or build an index for l2 (lightvec create-index 'explained doc' --vector-column embedding "
        "--metric l2)"
    )
    assert codes(Doc.embedding.nearest(QUERY, metric="ip")) == ["wrong_metric"]


@pytest.mark.parametrize(
    ("column", "expression", "operators"),
    [
        ("other", "other::halfvec(8)", "halfvec_l2_ops"),
        ("other", "binary_quantize(other)::bit(8)", "bit_hamming_ops"),
        ("other", "subvector(other, 1, 4)::vector(4)", "vector_l2_ops"),
        ("half", "half::vector(8)", "vector_l2_ops"),
    ],
)
def test_the_wrong_expression(db: Pg8000Database, column: str, expression: str, operators: str) -> None:
    run(db, f'CREATE INDEX doc_expression ON "explained doc" USING hnsw (({expression}) {operators})')
    found = explain(getattr(Doc, column).nearest(QUERY))
    assert [finding.code for finding in found.reasons] == ["wrong_expression"]
    assert "doc_expression: the index is not used: it is on (" in str(found)
    assert f"the query orders by {column};" in str(found)


def test_another_number_of_dimensions(db: Pg8000Database) -> None:
    run(db, 'CREATE INDEX doc_eight ON "explained doc" USING hnsw (other vector_l2_ops)')
    shorter = SQL("subvector(other, 1, 4) <-> %s", [Doc.other.value_class([1, 2, 3, 4])])
    assert codes(Doc.select().order_by(shorter).limit(5)) == ["wrong_expression"]


def test_a_partial_index_without_its_condition(db: Pg8000Database) -> None:
    run(db, 'CREATE INDEX doc_part ON "explained doc" USING hnsw (other vector_l2_ops) WHERE kind = 3')
    assert codes(Doc.other.nearest(QUERY)) == ["partial_index"]
    found = explain(Doc.other.nearest(QUERY).where(Doc.kind == 4))
    assert "it covers only the rows WHERE (kind = 3)" in str(found)


def test_an_invalid_index(db: Pg8000Database) -> None:
    run(
        db,
        'CREATE INDEX doc_broken ON "explained doc" USING hnsw (other vector_l2_ops)',
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'doc_broken'::regclass",
    )
    assert codes(Doc.other.nearest(QUERY)) == ["invalid_index"]
    assert 'REINDEX INDEX CONCURRENTLY "public"."doc_broken"' in str(explain(Doc.other.nearest(QUERY)))


class Building(Model):
    e = VectorField(2, metric="l2")

    class Meta:
        table_name = "building"
        primary_key = False


SLOW = "CREATE INDEX CONCURRENTLY slow ON building USING hnsw (e vector_l2_ops)"


def test_an_index_that_is_being_built(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    with database.bind_ctx([Building]), database.connection_context():
        run(database, "CREATE EXTENSION vector", "CREATE TABLE building (e vector(2))")
        with building(empty_url, "INSERT INTO building VALUES ('[1,2]')", SLOW):
            assert codes(Building.e.nearest([1, 2])) == ["index_being_built"]


def test_an_index_whose_build_was_interrupted(empty_url: str) -> None:
    database = Pg8000Database(empty_url, options="-c enable_seqscan=off")
    with database.bind_ctx([Building]), database.connection_context():
        run(database, "CREATE EXTENSION vector", "CREATE TABLE building (e vector(2))")
        interrupt_build(empty_url, "INSERT INTO building VALUES ('[1,2]')", SLOW)
        assert codes(Building.e.nearest([1, 2])) == ["invalid_index"]
        reindex = explain(Building.e.nearest([1, 2])).reasons[0].remedy
        assert reindex.startswith(
            'build it again (REINDEX INDEX CONCURRENTLY "public"."slow", or lightvec create-index'
        )
        run(database, reindex.partition("(")[2].partition(",")[0])
        assert served(Building.e.nearest([1, 2])) == "slow"


# The planner found something cheaper


def test_no_limit(db: Pg8000Database) -> None:
    assert codes(Doc.select().order_by(Doc.embedding.distance(QUERY))) == ["no_limit"]


def test_a_filter_that_leaves_few_rows(db: Pg8000Database) -> None:
    by_index = Doc.embedding.nearest(QUERY).where(Doc.number == 7)
    assert codes(by_index) == ["filter_first"]
    assert "to leave 1 rows" in str(explain(by_index))
    assert codes(Doc.select().where(Doc.number < 9).order_by(Doc.embedding.distance(QUERY)).limit(5)) == [
        "filter_first"
    ]


def test_a_large_limit(db: Pg8000Database) -> None:
    found = explain(Doc.embedding.nearest(QUERY, 2_900))
    assert [finding.code for finding in found.reasons] == ["large_limit"]
    assert "3,000 rows" in str(found)


def test_a_small_table(db: Pg8000Database) -> None:
    run(db, 'DELETE FROM "explained doc" WHERE number > 50')
    run(db, 'CREATE TABLE few (LIKE "explained doc")', 'INSERT INTO few SELECT * FROM "explained doc"')
    run(db, "CREATE INDEX few_cosine ON few USING hnsw (embedding vector_cosine_ops)", "ANALYZE few")
    found = explain(few().embedding.nearest(QUERY))
    assert [(finding.level, finding.code) for finding in found.reasons] == [("note", "small_table")]
    assert "51 rows" in str(found)


def test_a_table_that_was_never_analysed(db: Pg8000Database) -> None:
    run(db, 'CREATE TABLE few (LIKE "explained doc") WITH (autovacuum_enabled = off)')
    run(db, 'INSERT INTO few SELECT * FROM "explained doc"')
    run(db, "CREATE INDEX few_cosine ON few USING hnsw (embedding vector_cosine_ops)")  # counts the rows and no more
    model = few()
    filtered = model.embedding.nearest(QUERY).where(model.kind == 4)
    assert codes(filtered) == ["never_analyzed", "filter_first"]
    run(db, "ANALYZE few")
    assert served(filtered) == "few_cosine"


def test_an_analysed_table_with_policies(db: Pg8000Database) -> None:
    run(
        db,
        'ALTER TABLE "explained doc" ENABLE ROW LEVEL SECURITY',
        'CREATE POLICY mine ON "explained doc" USING (true)',
        "CREATE ROLE tenant_of_explain",
        'GRANT SELECT ON "explained doc" TO tenant_of_explain',
        "SET LOCAL ROLE tenant_of_explain",
    )
    assert codes(Doc.embedding.nearest(QUERY).where(Doc.number == 7)) == ["filter_first"]


def test_a_join_that_leaves_few_rows(db: Pg8000Database) -> None:
    other: Any = Doc.alias()
    on = (Doc.id == other.id) & (other.number == 7)
    assert codes(Doc.embedding.nearest(QUERY).join(other, on=on)) == ["join_first"], (
        "PostgreSQL 18 sees that it is one row"
    )
    on = (Doc.kind == other.kind) & (other.number == 7) & (Doc.number < 9)
    assert codes(Doc.embedding.nearest(QUERY).join(other, on=on)) == ["join_first"]


def test_what_has_another_reason(db: Pg8000Database) -> None:
    other: Any = Doc.alias()
    outer = other.select().join(Doc, JOIN.LEFT_OUTER, on=(Doc.id == other.kind))
    assert codes(outer.order_by(Doc.embedding.distance(QUERY)).limit(5)) == ["unexplained"]


def few() -> Any:
    """The model of another table."""

    class Few(Doc):
        class Meta:
            table_name = "few"
            database = Doc._meta.database

    return Few


def test_index_scans_are_off(db: Pg8000Database) -> None:
    run(db, "SET LOCAL enable_indexscan = off")
    assert codes(Doc.embedding.nearest(QUERY)) == ["index_scan_off"]
    assert codes(Doc.embedding.nearest(QUERY, metric="l2")) == ["wrong_metric"]


# Other tables


def test_an_extension_outside_the_search_path(empty_url: str) -> None:
    """Where a type or an operator is outside the search path the plan names it with its schema."""
    database = Pg8000Database(empty_url)
    with database.bind_ctx([Building]), database.connection_context():
        run(database, 'CREATE SCHEMA "the ext"', 'CREATE EXTENSION vector SCHEMA "the ext"')
        run(database, 'CREATE TABLE building (e "the ext".vector(2))')
        distance = SQL("e OPERATOR(\"the ext\".<=>) '[1,2]'")
        assert codes(Building.select().order_by(distance).limit(1)) == ["no_index"]
        run(database, 'CREATE INDEX ON building USING hnsw (e "the ext".vector_l2_ops)')
        assert codes(Building.select().order_by(distance).limit(1)) == ["wrong_metric"]


def test_a_partitioned_table(db: Pg8000Database) -> None:
    run(
        db,
        "CREATE TABLE parts (id int, kind int, title text, e vector(8)) PARTITION BY LIST (kind)",
        *(f"CREATE TABLE parts_{kind} PARTITION OF parts FOR VALUES IN ({kind})" for kind in range(2)),
        'INSERT INTO parts SELECT id, mod(kind, 2), title || title, embedding FROM "explained doc"',
        "ANALYZE parts",
    )

    class Parts(Model):
        kind = IntegerField()
        e = VectorField(8, metric="l2")

        class Meta:
            table_name = "parts"
            database = db

    assert codes(Parts.e.nearest(QUERY)) == ["no_index"]
    run(db, "CREATE INDEX ON parts USING hnsw (e vector_l2_ops)")
    assert str(served(Parts.e.nearest(QUERY))).startswith("parts_0")
    assert codes(Parts.e.nearest(QUERY, metric="cosine")) == ["wrong_metric"]


def test_the_same_names_in_two_schemas(empty_url: str) -> None:
    database = Pg8000Database(empty_url, options="-c enable_seqscan=off")

    class Here(Model):
        e = VectorField(2, metric="cosine", index="hnsw")

        class Meta:
            table_name = "twin"

    class There(Model):
        e = VectorField(2, metric="l2")

        class Meta:
            table_name = "twin"
            schema = "tenant"
            indexes = (HnswIndex("e", name="twin_e_cosine_hnsw"),)

    with database.bind_ctx([Here, There]), database.connection_context():
        run(database, "CREATE EXTENSION vector", "CREATE SCHEMA tenant")
        database.create_tables([Here, There])
        run(database, "ANALYZE twin", "ANALYZE tenant.twin")
        for model, other in ((Here, "l2"), (There, "cosine")):
            assert served(model.e.nearest([1, 2])) == "twin_e_cosine_hnsw"
            assert codes(model.e.nearest([1, 2], metric=other)) == ["wrong_metric"]
        told = str(explain(There.e.nearest([1, 2], metric="cosine")))
        assert told.startswith("tenant.twin_e_cosine_hnsw: the index is not used: it is built for l2")
        run(database, "DROP INDEX tenant.twin_e_cosine_hnsw")
        assert str(explain(There.e.nearest([1, 2]))).startswith("tenant.twin.e: there is no vector index")


def test_a_temporary_table(db: Pg8000Database) -> None:
    class Passing(Model):
        e = VectorField(2, metric="l2", index="hnsw")

        class Meta:
            database = db
            temporary = True
            table_name = "passing"

    db.create_tables([Passing])
    run(db, "ANALYZE passing", "SET LOCAL enable_seqscan = off")
    assert served(Passing.e.nearest([1, 2])) == "passing_e_l2_hnsw"
    assert codes(Passing.e.nearest([1, 2], metric="cosine")) == ["wrong_metric"]
    run(db, "DROP INDEX passing_e_l2_hnsw")
    assert str(explain(Passing.e.nearest([1, 2]))) == (
        "pg_temp.passing.e: there is no vector index on it, so each search reads every row; create one "
        "(CREATE INDEX in the session of this temporary table)"
    )


def test_hostile_names(db: Pg8000Database) -> None:
    name = 'it\'s a "%s" <=> %% (100%)'

    class Hostile(Model):
        e = VectorField(2, metric="l2", column_name=f"c {name}")

        class Meta:
            table_name = f"t {name}"
            database = db
            primary_key = False

    db.create_tables([Hostile])
    found = explain(Hostile.e.nearest([1, 2]))
    command = ["lightvec", "create-index", f"t {name}", "--vector-column", f"c {name}", "--metric", "l2"]
    assert [finding.code for finding in found.reasons] == ["no_index"]
    assert shlex.split(found.reasons[0].remedy.removeprefix("create one (").removesuffix(")")) == command
    db.execute(Hostile._schema._create_index(HnswIndex(Hostile.e, metric="cosine", name=f"i {name}")))  # type: ignore[attr-defined]
    assert codes(Hostile.e.nearest([1, 2])) == ["wrong_metric"]
    run(db, "SET LOCAL enable_seqscan = off")
    assert served(Hostile.e.nearest([1, 2], metric="cosine")) == f"i {name}"


# What is no such query


def test_what_cannot_be_explained(db: Pg8000Database) -> None:
    with pytest.raises(InvalidOption, match="expected a Peewee select"):
        explain(Doc.update(kind=1))
    with pytest.raises(InvalidOption, match="expected a Peewee select"):
        explain("SELECT 1")


def test_a_database_that_is_given(filled: str) -> None:
    query = Doc.embedding.nearest(QUERY)
    with pytest.raises(InvalidOption, match="expected a query on a Pg8000Database, got one on NoneType"):
        explain(query)
    database = Pg8000Database(filled)
    with database.connection_context():
        assert explain(query, database=database).index == "doc_cosine"


# Citus: what it said of a table of two shards (PostgreSQL 18.6, Citus 14.0.1), without what nothing is read from

CITUS = json.loads((Path(__file__).parent / "citus_plans.json").read_text(encoding="utf-8"))
CITUS_INDEXES = {("rec", "gloss_doc_embedding_l2_hnsw"), ("rec", "gloss_doc_coarse_cosine_bit_hnsw")}


@pytest.mark.parametrize("name", ["served", "row", "bits"])
def test_a_plan_of_citus_in_which_each_shard_uses_its_index(name: str) -> None:
    plan = Plan(CITUS[name])
    scans = plan.scans(CITUS_INDEXES)
    assert len(scans) == 2
    assert {scan.index for scan in scans} <= CITUS_INDEXES
    assert all(scan.limit for scan in scans)
    assert plan.unserved_sorts(CITUS_INDEXES) == []
    assert plan.json is CITUS[name]
    assert plan.table("t1") == ("rec", "gloss_doc")


def test_a_plan_of_citus_that_compares_every_row() -> None:
    plan = Plan(CITUS["exact"])
    assert plan.scans(CITUS_INDEXES) == []
    assert len(plan.unserved_sorts(CITUS_INDEXES)) == 2


def test_a_plan_of_citus_says_why_not(db: Pg8000Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in ("no_limit", "not_on_shards", "unplanned"):
        plan = Plan(CITUS[code])
        monkeypatch.setattr(explaining, "_planned", lambda *_, plan=plan, **__: (plan, []))
        assert codes(Doc.select()) == [code]


# Words


def test_every_reason_is_given_by_a_test() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    codes = list(FINDINGS)
    assert [code for code in codes[: codes.index("latency")] if f'"{code}"' not in here] == [], "those before doctor's"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("((t1.e <=> '[1]'::vector))", ("cosine", "t1", "e", "e", True, True, False)),
        ("((t1.e <-> '[1]'::ext.vector)) DESC", ("l2", "t1", "e", "e", True, True, True)),
        ("((t1.e OPERATOR(ext.<->) '[1]'::ext.vector)) DESC NULLS LAST", ("l2", "t1", "e", "e", True, True, True)),
        ('(("a ("."b <=> ""c" <#> \'[1]\'::vector))', ("ip", "a (", 'b <=> "c', 'b <=> "c', True, True, False)),
        ("(('[1]'::vector <+> t1.e))", ("l1", "t1", "e", "e", True, True, False)),
        ("(((t1.e)::halfvec(3) <=> '[1]'::halfvec))", ("cosine", "t1", "e", "(e)::halfvec(3)", True, True, False)),
        ("((t1.e <=> (InitPlan 1).col1))", ("cosine", "t1", "e", "e", True, True, False)),
        ("((t1.e <=> $0))", ("cosine", "t1", "e", "e", True, True, False)),
        ("((t1.e <=> t2.e))", ("cosine", "t1", "e", "e", True, False, False)),
        ("(('1'::double precision - (t1.e <=> '[1]'::vector)))", ("cosine", "t1", "e", "e", False, True, False)),
        ("((t1.b <~> '101'::\"bit\"))", ("hamming", "t1", "b", "b", True, True, False)),
        ("((t1.b <%> '101'::\"bit\"))", ("jaccard", "t1", "b", "b", True, True, False)),
    ],
)
def test_sort_keys(key: str, told: tuple[Any, ...]) -> None:
    plan = Plan([{"Plan": {"Node Type": "Sort", "Sort Key": [key]}}])
    found = plan.top.sort_distance
    assert found is not None
    read, is_first = found
    shape = (read.is_alone, read.is_constant, read.is_descending)
    assert (read.metric, read.alias, read.column, read.operand, *shape) == told
    assert is_first


class AnyValues(dict[str, Any]):
    """A number for each name."""

    def __missing__(self, name: str) -> int:
        return 1


def test_words_are_whole() -> None:
    for what, remedy in FINDINGS.values():
        for text in (what, remedy):
            assert "{" not in text.format_map(AnyValues())
            assert not text.endswith(".")
    assert str(finding("exact")).startswith("no index is used")


def test_an_explanation_is_a_value(db: Pg8000Database) -> None:
    assert isinstance(explain(Doc.embedding.nearest(QUERY)), Explanation)
