"""dumpdata and loaddata: what is written down comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.core.serializers.base import DeserializationError

from lightvec import Bit, Vector
from tests.django.gallery.models import Picture, Sketch
from tests.django.test_forms import FULL

_COLUMNS = ("title", *FULL, "vectors", "bit_rows")


@pytest.mark.parametrize("kind", ["json", "jsonl", "xml"])
def test_there_and_back(kind: str, tmp_path: Path) -> None:
    Picture.objects.create(pk=1, title="full", vectors=[[1, 2], [3, 0.1]], bit_rows=["101"], **FULL)
    Picture.objects.create(pk=2, title="empty")
    Sketch.objects.create(pk=1)
    before = [list(Picture.objects.order_by("pk").values(*_COLUMNS)), list(Sketch.objects.values())]
    file = tmp_path / f"gallery.{kind}"
    call_command("dumpdata", "gallery", format=kind, output=str(file), verbosity=0)
    Picture.objects.all().delete()
    Sketch.objects.all().delete()
    call_command("loaddata", str(file), verbosity=0)
    assert [list(Picture.objects.order_by("pk").values(*_COLUMNS)), list(Sketch.objects.values())] == before
    assert before[0][0] == {
        "title": "full",
        "vectors": [Vector([1, 2]), Vector([3, 0.1])],
        "bit_rows": [Bit("101")],
        **FULL,
    }


def test_as_text() -> None:
    (row,) = serializers.serialize("python", [Picture(**FULL)])
    assert {name: row["fields"][name] for name in FULL} == {
        "embedding": "[1,2,0.1]",
        "half": "[1,2,0.099975586]",
        "sparse": "{1:1.5,5:2}/5",
        "bits": "101",
    }


def test_whatever_is_a_vector() -> None:
    """Unsaved objects hold what they were given."""
    text = serializers.serialize("json", [Picture(embedding=[1, 2, 3], bits=[True, False, True])])
    (found,) = serializers.deserialize("json", text)
    picture = found.object
    assert isinstance(picture, Picture)
    assert (picture.embedding, picture.bits) == (Vector([1, 2, 3]), Bit("101"))


def test_a_fixture_that_does_not_fit() -> None:
    text = '[{"model": "gallery.picture", "pk": 1, "fields": {"embedding": "[1,2]"}}]'
    with pytest.raises(DeserializationError, match=r"Picture\.embedding expected 3 dimensions, not 2"):
        list(serializers.deserialize("json", text))


def test_nothing_is_an_empty_text() -> None:
    field: Any = Picture._meta.get_field("embedding")
    assert field.value_to_string(Picture()) == ""
    assert field.to_python("") is None
