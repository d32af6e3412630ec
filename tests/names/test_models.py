"""Peewee's models, queries and indexes."""

from __future__ import annotations

from typing import Any

import peewee
import pytest
from peewee import AutoField, Check, ForeignKeyField, IntegerField, Model, ModelIndex, TextField, fn

from lightvec.errors import InvalidOption, LightvecError
from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database, VectorField
from lightvec.wire.identifiers import MAX_BYTES
from tests.cases import for_each
from tests.names.conftest import House
from tests.names.hostile import FEW, HOSTILE, LONG, NO_TEXT, REFUSED, cut, shown

#: Peewee takes the empty name for "none was given".
NONE = [name for name in REFUSED if name]
NO_NAME = [*NONE, *NO_TEXT[1:-1]]


def model(database: Pg8000Database, table: Any = "plain", schema: Any = None, column: Any = "text") -> Any:
    class Named(Model):
        id = AutoField()
        text = TextField(column_name=column)
        embedding = VectorField(2, metric="l2", column_name=f"{column[:20]}2" if isinstance(column, str) else None)

        class Meta:
            table_name = table

    Named._meta.set_database(database)
    Named._meta.schema = schema
    return Named


@for_each("name", HOSTILE, shown)
def test_a_model(house: House, db: Pg8000Database, name: str) -> None:
    """Its schema, table and columns by this name: made, filled, asked and dropped."""
    house.run("CREATE SCHEMA %I", name)
    named = model(db, name, name, name)
    db.create_tables([named])
    assert house.made("table") == {(name, name)}
    assert house.columns(name, name) == ["id", name, f"{name[:20]}2"]
    assert db.table_exists(named)
    named.create(text="a", embedding=[1, 0])
    assert db.copy_rows(named, [{"text": "b", "embedding": [0, 1]}]) == 1
    assert db.copy_rows(named, [(1, "c", [1, 0])], ["id", name, "embedding"], on_conflict="update") == 1
    assert named.update(text=named.text + "d").where(named.text == "b").execute() == 1
    assert [row.text for row in named.embedding.nearest([1, 0], k=2)] == ["c", "bd"]
    assert [row.text for row in named.select().order_by(named.text.desc()).iterator()] == ["c", "bd"]
    named.truncate_table()
    assert named.select().count() == 0
    db.drop_tables([named])
    assert house.made("table") == set()


@for_each("name", HOSTILE, shown)
def test_names_within_a_query(house: House, db: Pg8000Database, name: str) -> None:
    """Aliases of columns, tables, subqueries, windows and common table expressions."""
    named = model(db, name, column=name)
    db.create_tables([named])
    named.insert(text="a", embedding=[1, 0]).execute()
    other = named.alias(name)
    cursor = db.execute(other.select(other.text.alias(name)))
    assert [column[0] for column in cursor.description or ()] == [name]
    assert cursor.fetchall() == [("a",)]
    inner = named.select(named.text.alias(name)).alias(name)
    assert list(peewee.Select([inner], [getattr(inner.c, name)]).tuples().execute(db)) == [("a",)]
    window = peewee.Window(order_by=[named.text]).alias(name)
    assert list(named.select(fn.RANK().over(window)).window(window).tuples()) == [(1,)]
    common = named.select(named.text.alias(name)).cte(name, columns=[name])
    assert list(common.select_from(getattr(common.c, name)).tuples().execute(db)) == [("a",)]


@for_each("name", HOSTILE, shown)
def test_indexes(house: House, db: Pg8000Database, name: str) -> None:
    named = model(db)
    named.add_index(HnswIndex(named.embedding, name=name, m=4, ef_construction=16))
    db.create_tables([named])
    assert ("public", name) in house.made("index")
    db.drop_tables([named])
    plain = model(db)
    plain.add_index(ModelIndex(plain, [plain.text], name=name))
    db.create_tables([plain])
    assert ("public", name) in house.made("index")
    plain._schema.drop_indexes()
    assert ("public", name) not in house.made("index")
    db.execute(IvfflatIndex(plain.embedding, name=name, lists=1))
    assert ("public", name) in house.made("index")


@for_each("name", FEW, shown)
def test_constraints(house: House, db: Pg8000Database, name: str) -> None:
    named = model(db, name)

    class Reference(Model):
        number = IntegerField(unique=True)
        named_id = ForeignKeyField(named, column_name=f"{name[:20]}2", constraint_name=name)

        class Meta:
            database = db
            constraints = (Check("number > 0", name=f"{name[:20]}3"),)

    db.create_tables([named, Reference])
    found = house.ask(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'reference'::regclass AND contype IN ('f', 'c') "
        "ORDER BY contype"
    )
    assert found == [[f"{name[:20]}3"], [name]]
    key = named.insert(text="a", embedding=[1, 0]).execute()
    upsert = Reference.insert(number=1, named_id=key)
    upsert.execute()
    upsert.on_conflict(conflict_constraint="reference_number", update={"number": 2})
    with pytest.raises(peewee.ProgrammingError, match="does not exist"):
        upsert.on_conflict(conflict_constraint=f"{name[:20]}4", update={"number": 2}).execute()


@for_each("name", NO_NAME, shown)
def test_what_is_no_table(db: Pg8000Database, name: Any) -> None:
    """The tables that the names of a table or a schema would be cut off to are there, and stay as they are."""
    for named in (model(db, name), model(db, schema=name)):
        for use in (
            lambda: db.create_tables([named]),  # noqa: B023
            lambda: named.select(named.id).execute(),  # noqa: B023
            lambda: named.delete().execute(),  # noqa: B023
            lambda: named.insert(text="a", embedding=[1, 0]).execute(),  # noqa: B023
            lambda: db.copy_rows(named, [("a", [1, 0])]),  # noqa: B023
            lambda: named.truncate_table(),  # noqa: B023
            lambda: db.drop_tables([named]),  # noqa: B023
        ):
            with pytest.raises((InvalidOption, peewee.InterfaceError), match=r"expected a (name|table)"):
                use()


@for_each("name", NO_NAME, shown)
def test_what_is_no_column_index_or_alias(house: House, db: Pg8000Database, name: Any) -> None:
    plain = model(db)
    db.create_tables([plain])
    with pytest.raises((InvalidOption, TypeError), match=r"expected a name|must be string"):
        db.create_tables([model(db, "other", column=name)])
    for statement in (
        HnswIndex(plain.embedding, name=name),
        ModelIndex(plain, [plain.text], name=name),
        plain.select(plain.text.alias(name)),
        plain.alias(name).select(),
        plain.select(plain.text).where(peewee.Column(plain._meta.table, name) == 1),
    ):
        with pytest.raises(InvalidOption, match="expected a name"):
            db.execute(statement)
    assert house.made("index") == {("public", "plain_pkey")}


def test_an_index_of_no_name(db: Pg8000Database) -> None:
    plain = model(db)
    with pytest.raises(InvalidOption, match="expected a name"):
        db.execute(HnswIndex(plain.embedding, name=""))


# Names that Peewee makes up


@pytest.mark.parametrize("length", [53, 58, 59, 60, 63], ids=lambda length: f"a table's name of {length}")
@pytest.mark.parametrize("letter", ["z", "ö", "表"])
def test_indexes_of_long_tables(house: House, db: Pg8000Database, letter: str, length: int) -> None:
    """Peewee's names for indexes are of up to 64 characters. Whatever the server keeps of them, there are two."""
    table = letter * (length // len(letter.encode()))

    class Long(Model):
        text_a = TextField(index=True)
        text_b = TextField(index=True)

        class Meta:
            database = db
            table_name = table

    for _ in range(2):
        db.create_tables([Long])
        made = house.made("index") - {("public", f"{table}_pkey")}
        assert len({name for _, name in made if not name.endswith("_pkey")}) == 2


@pytest.mark.parametrize("name", [f"{'x' * 56}_0a1b2c3", f"{'x' * 57}_0a1b2c3", f"{'x' * 56}_0a1b2c3\n"])
def test_only_peewees_own_checksum_may_be_cut(db: Pg8000Database, name: str) -> None:
    """A name of 64 characters with its checksum is Peewee's; who chooses such a one himself gets what it gets."""
    plain = model(db)
    plain.add_index(HnswIndex(plain.embedding, name=name))
    if len(name) == MAX_BYTES + 1:
        db.create_tables([plain])
    else:
        with pytest.raises(InvalidOption, match="at most 63 bytes"):
            db.create_tables([plain])


# What Peewee does not quote


def sequence(database: Pg8000Database, name: Any, in_schema: str | None = None) -> type[Model]:
    class Counted(Model):
        number = IntegerField(sequence=name)

        class Meta:
            schema = in_schema

    Counted._meta.set_database(database)
    return Counted


@pytest.mark.parametrize("name", ["counter", "表", "select", "ünder_1"])
def test_a_sequence(house: House, db: Pg8000Database, name: str) -> None:
    counted: Any = sequence(db, name)
    db.create_tables([counted])
    assert ("public", name) in house.made("sequence")
    counted.insert().execute()
    assert house.run("SELECT last_value FROM %I", name) == [[1]]
    assert [row.number for row in counted.select()] == [1]
    db.drop_tables([counted])


@pytest.mark.parametrize("name", [name for name in FEW if name not in ("表", "a.b")] + [LONG[0], "'", "100%%"])
def test_a_sequence_that_peewee_cannot_quote(house: House, db: Pg8000Database, name: str) -> None:
    for counted in (sequence(db, name), sequence(db, "counter", name)):
        with pytest.raises(InvalidOption, match=r"expected (a name|names)"):
            db.create_tables([counted])
    assert house.made("sequence") == set()


@pytest.mark.parametrize("level", ["SERIALIZABLE; DROP TABLE untouched; --", "", "READ", 9, b"SERIALIZABLE"])
def test_an_isolation_level(db: Pg8000Database, level: Any) -> None:
    db.commit()
    if level:
        with pytest.raises(InvalidOption, match="expected an isolation level"):
            db.begin(level)
    with pytest.raises(LightvecError, match="expected an isolation level"), db.atomic(level or "no level"):
        pass
    with db.atomic("repeatable read"):
        assert db.execute_sql("SHOW transaction_isolation").fetchone() == ("repeatable read",)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "'; DROP TABLE untouched; --", "a\\'b"])
def test_a_time_zone(db: Pg8000Database, zone: str) -> None:
    if zone == "Europe/Berlin":
        db.set_time_zone(zone)
        assert db.execute_sql("SHOW time zone").fetchone() == (zone,)
    else:
        with pytest.raises(peewee.DataError, match="invalid value for parameter"):
            db.set_time_zone(zone)


@pytest.mark.parametrize("number", [True, "2) ; DROP TABLE untouched; --", 2.5, "2"])
def test_numbers_of_an_index_are_numbers(number: Any) -> None:
    for refused in (
        lambda: VectorField(number),
        lambda: HnswIndex("embedding", m=number),
        lambda: HnswIndex("embedding", ef_construction=number),
        lambda: IvfflatIndex("embedding", lists=number),
    ):
        with pytest.raises(InvalidOption, match="expected"):
            refused()


@for_each("name", LONG, shown)
def test_the_decoys_are_what_names_are_cut_to(house: House, name: str) -> None:
    assert house.run("SELECT * FROM %I", cut(name)) == [[1]]
