"""Migrations: written once, without a change the second time, and the extension before all."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, ProgrammingError, connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import AlterField, CreateModel
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import OperationWriter
from django.db.models import CheckConstraint, Q
from django.db.models.lookups import LessThan

from lightvec import Bit, HalfVector, SparseVector, Vector, errors
from lightvec.django import (
    BitField,
    HalfVectorField,
    HammingDistance,
    L2Distance,
    SparseVectorField,
    VectorExtension,
    VectorField,
)
from lightvec.django.extensions import MissingExtension, remedies
from lightvec.pg8000 import connect
from tests.django.conftest import database_settings
from tests.django.gallery.models import Picture


def test_no_change_the_second_time() -> None:
    said = StringIO()
    call_command("makemigrations", "gallery", check_changes=True, dry_run=True, stdout=said)
    assert said.getvalue().startswith("No changes detected")


def test_constraint_and_indexes_stand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'picture%%' ORDER BY indexname")
        indexes = [row[0].partition(" USING ")[2] for row in cursor.fetchall()]
    assert indexes == [
        "ivfflat (bits bit_hamming_ops) WITH (lists='1')",
        "hnsw (((embedding)::halfvec(3)) halfvec_l2_ops) WITH (m='16')",
        "hnsw (half halfvec_cosine_ops)",
        "hnsw (embedding vector_l2_ops) WITH (m='8', ef_construction='32')",
    ]
    with pytest.raises(IntegrityError, match="picture_near_origin"), transaction.atomic():
        Picture.objects.create(embedding=[1000, 0, 0])


# From one state of a model to another


def state(**fields: models.Field[Any, Any]) -> ProjectState:
    project = ProjectState()
    columns = [("id", models.BigAutoField(primary_key=True)), *fields.items()]
    CreateModel("Thing", columns).state_forwards("things", project)
    return project


def changes(before: ProjectState, after: ProjectState) -> list[Operation]:
    detector: Any = MigrationAutodetector(before, after)
    found = detector._detect_changes()
    return [operation for migration in found.get("things", []) for operation in migration.operations]


def written(operation: Operation) -> Operation:
    """An operation as it is read from the file that it is written into."""
    text, imports = OperationWriter(operation, indentation=0).serialize()
    names: dict[str, Any] = {}
    exec("\n".join(["from django.db import migrations, models", *imports, f"operation = {text.rstrip(',')}"]), names)
    read: Operation = names["operation"]
    return read


FIELDS: list[Callable[[], models.Field[Any, Any]]] = [
    lambda: VectorField(dimensions=3),
    lambda: VectorField(null=True),
    lambda: VectorField(dimensions=2, default=[1, 2]),
    lambda: VectorField(dimensions=2, default=Vector([1, 0.1])),
    lambda: VectorField(dimensions=2, db_default=Vector([1, 0.1])),
    lambda: HalfVectorField(dimensions=2, default=HalfVector([1, 0.1])),
    lambda: SparseVectorField(dimensions=10**9, default=SparseVector({5: 1}, 10**9)),
    lambda: BitField(length=3, default=Bit("101")),
    lambda: BitField(length=3, default="101"),
]


@pytest.mark.parametrize("field", FIELDS)
def test_fields_are_written_and_read(field: Callable[[], models.Field[Any, Any]]) -> None:
    (created,) = changes(ProjectState(), state(column=field()))
    project = ProjectState()
    written(created).state_forwards("things", project)
    assert changes(project, state(column=field())) == []
    with connection.schema_editor() as editor:
        created.database_forwards("things", editor, ProjectState(), project)
    thing = project.apps.get_model("things", "Thing")
    if not field().null and (field().has_default() or field().has_db_default()):
        made = thing._default_manager.create()
        made.refresh_from_db()
        assert made.column == field().value_class.coerce(made.column)  # type: ignore[attr-defined]


def test_other_dimensions_are_an_altered_field() -> None:
    before, after = state(column=VectorField(dimensions=3)), state(column=VectorField(dimensions=4))
    (altered,) = changes(before, after)
    assert isinstance(altered, AlterField)
    with connection.schema_editor() as editor:
        CreateModel(
            "Thing", [("id", models.BigAutoField(primary_key=True)), ("column", VectorField(dimensions=3))]
        ).database_forwards("things", editor, ProjectState(), before)
        written(altered).database_forwards("things", editor, before, after)
    with connection.cursor() as cursor:
        cursor.execute("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'column'")
        assert cursor.fetchall() == [("vector(4)",)]


def test_another_type_is_an_altered_field() -> None:
    (altered,) = changes(state(column=VectorField(dimensions=3)), state(column=HalfVectorField(dimensions=3)))
    assert isinstance(altered, AlterField)


@pytest.mark.parametrize(
    "distance", [lambda: L2Distance("column", [1, 2]), lambda: HammingDistance("column", "101")], ids=["l2", "hamming"]
)
def test_a_distance_in_a_constraint(distance: Callable[[], Any]) -> None:
    def constraint() -> CheckConstraint:
        return CheckConstraint(condition=Q(LessThan(distance(), 3)), name="near")

    def model() -> CreateModel:
        return CreateModel(
            "Thing", [("id", models.BigAutoField(primary_key=True))], options={"constraints": [constraint()]}
        )

    before, after = ProjectState(), ProjectState()
    written(model()).state_forwards("things", before)
    model().state_forwards("things", after)
    assert changes(before, after) == []


def test_pgvectors_paths() -> None:
    """Migrations that stand name these."""
    import pgvector.django as theirs

    import lightvec.django as ours

    assert set(theirs.__all__) <= set(ours.__all__)
    for name in theirs.__all__:
        path = getattr(theirs, name).__module__.replace("pgvector", "lightvec", 1)
        assert getattr(ours, name).__module__ == path


# The extension


@pytest.fixture
def other(empty_url: str) -> Iterator[BaseDatabaseWrapper]:
    """A Django connection to an empty database."""
    other = connection.copy()
    other.settings_dict = {**other.settings_dict, **database_settings(empty_url)}
    yield other
    other.close()


def migrate(operation: VectorExtension, other: BaseDatabaseWrapper, forwards: bool = True) -> None:
    run = operation.database_forwards if forwards else operation.database_backwards
    with other.schema_editor() as editor:
        run("gallery", editor, ProjectState(), ProjectState())


def arrays(other: BaseDatabaseWrapper) -> Any:
    with other.cursor() as cursor:
        cursor.execute("SELECT ARRAY['[1,2]'::vector]")
        return cursor.fetchone()


def test_extension_there_and_back(other: BaseDatabaseWrapper) -> None:
    for _ in range(2):
        migrate(VectorExtension(), other)
        # What follows uses the same connection.
        assert arrays(other) == (["[1,2]"],)
        migrate(VectorExtension(), other)
        migrate(VectorExtension(), other, forwards=False)
        with pytest.raises(ProgrammingError, match="vector"):
            arrays(other)


def test_extension_that_stands_elsewhere(other: BaseDatabaseWrapper, empty_url: str) -> None:
    with connect(empty_url) as admin:
        admin.run("CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions")
    migrate(VectorExtension(), other)
    with other.cursor() as cursor:
        cursor.execute("SELECT ARRAY['[1,2]'::extensions.vector]")
        assert cursor.fetchone() == (["[1,2]"],)


def test_extension_that_the_server_does_not_have(other: BaseDatabaseWrapper) -> None:
    """pgvector is there in the tests, so another extension stands for it."""
    with (
        pytest.raises(MissingExtension, match="install pgvector on the server") as caught,
        remedies(other),
        other.cursor() as cursor,
    ):
        cursor.execute("CREATE EXTENSION vektor")
    assert isinstance(caught.value, errors.MissingExtension)
    again = pickle.loads(pickle.dumps(caught.value))  # as Django's parallel test runner does
    assert (type(again), str(again)) == (MissingExtension, str(caught.value))
    assert isinstance(caught.value, ProgrammingError)


def test_extension_that_the_user_may_not_create(other: BaseDatabaseWrapper, empty_url: str) -> None:
    with connect(empty_url) as admin:
        admin.run("CREATE ROLE django_guest LOGIN")
    with other.cursor() as cursor:
        cursor.execute("SET ROLE django_guest")
    with pytest.raises(MissingExtension, match=f"run CREATE EXTENSION vector in .*{other.settings_dict['NAME']}"):
        migrate(VectorExtension(), other)
    other.close()
    with connect(empty_url) as admin:
        admin.run("DROP ROLE django_guest")


def test_other_errors_stay_what_they_are(other: BaseDatabaseWrapper) -> None:
    with other.cursor() as cursor:
        cursor.execute("CREATE TYPE vector AS (x int)")
    with pytest.raises(ProgrammingError, match="already exists") as caught:
        migrate(VectorExtension(), other)
    assert not isinstance(caught.value, MissingExtension)


class _Router:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return hints.get("wanted") is True


def test_extension_asks_the_routers(other: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import router

    monkeypatch.setitem(router.__dict__, "routers", [_Router()])
    migrate(VectorExtension(), other)
    with pytest.raises(ProgrammingError):
        arrays(other)
    other.close()
    migrate(VectorExtension(hints={"wanted": True}), other)
    assert arrays(other) == (["[1,2]"],)


def test_extension_is_written_and_read() -> None:
    text, imports = OperationWriter(VectorExtension(hints={"wanted": True}), indentation=0).serialize()
    assert "VectorExtension(" in text
    assert imports == {"import lightvec.django.extensions"}
    assert isinstance(written(VectorExtension()), VectorExtension)
