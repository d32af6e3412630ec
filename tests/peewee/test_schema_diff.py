"""diff: what differs, and that its statements make of one schema the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from peewee import SQL, Check, CompositeKey, Model

from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    HnswIndex,
    IvfflatIndex,
    Pg8000Database,
    SparseVectorField,
    VectorField,
    diff,
)
from lightvec.peewee._seam import execute_as_is
from lightvec.peewee.definitions import tables_named
from lightvec.peewee.differences import Difference
from lightvec.peewee.schema import set_up


@pytest.fixture
def empty(empty_url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        database.execute_sql("CREATE EXTENSION vector")
        yield database


def model(fields: dict[str, Any], name: str = "Doc", **meta: Any) -> Any:
    meta.setdefault("table_name", "doc")
    return type(name, (Model,), {**fields, "Meta": type("Meta", (), meta)})


def apply(database: Pg8000Database, differences: Sequence[Difference]) -> None:
    for difference in differences:
        for statement in difference.sql:
            execute_as_is(database, statement)


def take_back(database: Pg8000Database, differences: Sequence[Difference]) -> None:
    for difference in reversed(differences):
        for statement in difference.undo:
            execute_as_is(database, statement)


def shown(differences: Sequence[Difference]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.differs) for each in differences]


def catalog(database: Pg8000Database) -> Any:
    """The definition of the table, whatever the order of its columns."""
    table = tables_named(database, ["doc"])["doc"]
    constraints = {(each.kind, each.definition, each.valid) for each in table.constraints}
    indexes = {name: (index.words, index.valid, index.columns) for name, index in table.indexes.items()}
    return dict(sorted(table.columns.items())), constraints, indexes


def same(found: Any, wanted: Any) -> None:
    for one, other in zip(found, wanted, strict=True):
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name in one:
                assert one[name] == other[name]
        else:
            assert one == other


# Pairs of models

FIELDS: dict[str, Callable[..., Any]] = {
    "int": peewee.IntegerField,
    "bigint": peewee.BigIntegerField,
    "text": peewee.TextField,
    "varchar": lambda **options: peewee.CharField(20, **options),
    "bool": peewee.BooleanField,
    "float": peewee.FloatField,
    "numeric": lambda **options: peewee.DecimalField(8, 3, **options),
    "timestamp": peewee.DateTimeField,
}
VECTORS = {
    VectorField: ["l2", "cosine", "ip"],
    HalfVectorField: ["l2", "cosine"],
    SparseVectorField: ["l2", "ip"],
    FixedBitField: ["hamming", "jaccard"],
}
DEFAULTS = {"int": "7", "bigint": "7", "text": "'x''%%'", "varchar": "'x'", "bool": "true", "float": "1.5"}


@st.composite
def models(draw: st.DrawFn) -> Any:
    """A model with up to four plain fields, up to two vectors, their indexes, a check and a condition."""
    fields: dict[str, Any] = {}
    key = draw(st.sampled_from(["auto", "bigauto", "composite", "none"]))
    if key == "auto":
        fields["id"] = peewee.AutoField()
    elif key == "bigauto":
        fields["id"] = peewee.BigAutoField()
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=4)):
        kind = draw(st.sampled_from(sorted(FIELDS)))
        options: dict[str, Any] = {"null": draw(st.booleans())}
        options[draw(st.sampled_from(["unique", "index", "help_text"]))] = True
        if kind in DEFAULTS and draw(st.booleans()):
            options["constraints"] = [SQL(f"DEFAULT {DEFAULTS[kind]}")]
        fields[name] = FIELDS[kind](**options)
    indexes = []
    for name in draw(st.lists(st.sampled_from(["e", "f"]), unique=True, max_size=2)):
        cls = draw(st.sampled_from(list(VECTORS)))
        metric = draw(st.sampled_from(VECTORS[cls]))
        made_by = draw(st.sampled_from([None, "model-1"]))
        fields[name] = cls(draw(st.sampled_from([3, 4])), metric=metric, null=draw(st.booleans()), model=made_by)
        for number in range(draw(st.integers(0, 2))):
            given_name = draw(st.sampled_from([None, f"doc_{name}_{number}"]))
            if draw(st.booleans()) or cls is SparseVectorField or metric == "jaccard":
                options = {"m": draw(st.sampled_from([None, 8, 16]))}
                kind_of_index: Any = HnswIndex
            else:
                options, kind_of_index = {"lists": draw(st.sampled_from([1, 2]))}, IvfflatIndex
            if cls is VectorField:
                options["quantize"] = draw(st.sampled_from([None, "halfvec"]))
            if "a" in fields and draw(st.booleans()):
                options["where"] = fields["a"].is_null(False)
            indexes.append(kind_of_index(name, name=given_name, **options))
    meta: dict[str, Any] = {"indexes": indexes}
    plain = [name for name in fields if name in "abcd"]
    if key == "composite" and len(plain) >= 2:
        meta["primary_key"] = CompositeKey(*plain[:2])
        for name in plain[:2]:
            fields[name].null = False
    elif "id" not in fields:
        meta["primary_key"] = False
    if draw(st.booleans()) and plain:
        meta["constraints"] = [Check(f"{plain[0]} IS NOT NULL OR {draw(st.sampled_from(['1 = 1', '2 = 2']))}")]
    if not fields:
        fields["a"] = peewee.TextField()
    return model(fields, **meta)


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=models(), second=models())
def test_one_schema_becomes_the_other(empty: Pg8000Database, first: Any, second: Any) -> None:
    """And back; diff is empty exactly then."""
    empty.execute_sql("SET client_min_messages = error")
    catalogs = {}
    for each in (second, first):
        empty.execute_sql("DROP TABLE IF EXISTS doc")
        set_up(empty, [each])
        assert shown(diff(empty, [each])) == []
        catalogs[each] = catalog(empty)
    differences = diff(empty, [second])
    assert (differences == []) == (catalogs[first] == catalogs[second])
    for _ in range(2):  # Each statement can be run again.
        apply(empty, differences)
    assert shown(diff(empty, [second])) == []
    same(catalog(empty), catalogs[second])
    take_back(empty, differences)
    assert shown(diff(empty, [first])) == []
    same(catalog(empty), catalogs[first])
