"""Forms: what they show is what they read."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.forms import modelform_factory
from django.test import Client

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.django import BitField, SparseVectorField, VectorField
from lightvec.django.sparsevec import SparseVectorFormField, SparseVectorWidget
from lightvec.django.vector import VectorFormField
from tests.django.gallery.models import Picture, Sketch
from tests.django.test_fields import SAME, same

_FIELDS = ["embedding", "half", "sparse", "bits"]
PictureForm = modelform_factory(Picture, fields=_FIELDS)
SketchForm = modelform_factory(Sketch, fields=["embedding", "sparse"])

FULL: dict[str, Any] = {
    "embedding": Vector([1, 2, 0.1]),
    "half": HalfVector([1, 2, 0.1]),
    "sparse": SparseVector({0: 1.5, 4: 2}, 5),
    "bits": Bit("101"),
}
SHOWN = {
    "embedding": "[1.0, 2.0, 0.1]",
    "half": "[1.0, 2.0, 0.099975586]",
    "sparse": "{1:1.5,5:2.0}/5",
    "bits": "101",
}


@pytest.mark.parametrize("name", _FIELDS)
def test_shows_what_is_stored(name: str) -> None:
    Picture.objects.create(pk=1, **FULL)
    form = PictureForm(instance=Picture.objects.get())
    assert form[name].value() == SHOWN[name]
    assert f'value="{SHOWN[name]}"' in form.as_div()


def test_saves_what_it_shows_unchanged() -> None:
    Picture.objects.create(pk=1, **FULL)
    form = PictureForm(instance=Picture.objects.get(), data=SHOWN)
    assert form.is_valid(), form.errors
    assert form.changed_data == []
    form.save()
    assert Picture.objects.values(*_FIELDS).get() == FULL


def test_saves_what_was_typed() -> None:
    Picture.objects.create(pk=1, **FULL)
    data = {"embedding": " [ 4,5, 6e0] ", "half": "[4,5,6]", "sparse": "{2:1}/5", "bits": "010"}
    form = PictureForm(instance=Picture.objects.get(), data=data)
    assert form.changed_data == _FIELDS
    assert form.is_valid(), form.errors
    form.save()
    stored = Picture.objects.get()
    assert (stored.embedding, stored.half) == ([4, 5, 6], [4, 5, 6])
    assert (stored.sparse, stored.bits) == (SparseVector({1: 1}, 5), "010")
    assert 'value=" [ 4,5, 6e0] "' in form.as_div()


def test_emptied() -> None:
    Picture.objects.create(pk=1, **FULL)
    form = PictureForm(instance=Picture.objects.get(), data={"embedding": "", "half": " "})
    assert form.is_valid(), form.errors
    form.save()
    assert Picture.objects.values(*_FIELDS).get() == dict.fromkeys(_FIELDS)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("embedding", "1, 2, 3", "Enter a value like [1.5, 2, 3]: Picture.embedding: Vector.from_text expected"),
        ("embedding", "[1, 2]", "Picture.embedding expected 3 dimensions, not 2"),
        ("half", "[1, 2, 1e9]", "Enter a value like [1.5, 2, 3]: Picture.half: HalfVector"),
        ("sparse", "{1:1}", "Enter a value like {1:1.5,3:2}/5: Picture.sparse: SparseVector.from_text expected"),
        ("bits", "12", "Enter a value like 101: Picture.bits: Bit.from_text expected"),
        ("bits", "1111", "Picture.bits expected 3 dimensions, not 4"),
    ],
)
def test_says_what_is_wrong(name: str, text: str, message: str) -> None:
    form = PictureForm(data={name: text})
    assert not form.is_valid()
    assert list(form.errors) == [name]
    assert message in form.errors[name].as_text()
    assert form.has_changed()


def test_what_must_be_there() -> None:
    form = SketchForm(data={"embedding": ""})
    assert form.errors["embedding"] == ["This field is required."]


def test_initial_is_the_default() -> None:
    assert SketchForm()["embedding"].value() == "[1.0, 2.0, 0.1]"
    assert SketchForm()["sparse"].value() == "{8:1.0}/1000000000"


@pytest.mark.parametrize("value", SAME, ids=same)
def test_initial_is_whatever_is_a_vector(value: Any) -> None:
    shown = "[1, 2, 3]" if isinstance(value, str) else "[1.0, 2.0, 3.0]"
    assert PictureForm(initial={"embedding": value})["embedding"].value() == shown
    assert PictureForm(initial={"embedding": value}, data={"embedding": "[1,2,3]"}).changed_data == []
    assert PictureForm(initial={"embedding": value}, data={"embedding": "[1,2,4]"}).changed_data == ["embedding"]
    assert PictureForm(data={"embedding": value}).is_valid()


def test_initial_that_is_no_vector() -> None:
    form = PictureForm(initial={"embedding": []}, data={"embedding": "[1,2,3]"})
    assert form["embedding"].field.prepare_value([]) == []
    assert form.changed_data == ["embedding"]


class _ReadOnly(forms.Form):
    embedding = VectorFormField(disabled=True, widget=forms.Textarea)
    sparse = SparseVectorFormField(required=False)


def test_disabled() -> None:
    form = _ReadOnly(initial={"embedding": Vector([1, 2])}, data={"embedding": "[3,4]", "sparse": "{1:1}/2"})
    assert form.is_valid()
    assert form.changed_data == ["sparse"]
    assert form.cleaned_data == {"embedding": Vector([1, 2]), "sparse": SparseVector([1, 0])}
    assert "[1.0, 2.0]</textarea>" in form.as_div()


def test_sparse_widget() -> None:
    assert SparseVectorWidget().format_value(SparseVector([1, 0])) == "{1:1.0}/2"
    assert SparseVectorWidget().format_value("{1:1}/2") == "{1:1}/2"


class _Row(models.Model):
    vectors: ArrayField[Any, Any] = ArrayField(VectorField(dimensions=2))
    sparse: ArrayField[Any, Any] = ArrayField(SparseVectorField(dimensions=5))
    bits: ArrayField[Any, Any] = ArrayField(BitField(length=3))

    class Meta:
        app_label = "rows"


ARRAYS: dict[str, list[Any]] = {
    "vectors": [Vector([1, 0.5]), Vector([3, 4])],
    "sparse": [SparseVector({0: 1.5, 4: 2}, 5), SparseVector({1: 1}, 5)],
    "bits": [Bit("101"), Bit("011")],
}


def test_arrays_are_shown_without_commas_in_their_items() -> None:
    form_class = modelform_factory(_Row, fields=[*ARRAYS])
    form = form_class(instance=_Row(**ARRAYS))
    shown = {name: form[name].value() for name in ARRAYS}
    assert shown == {"vectors": "[1.0 0.5],[3.0 4.0]", "sparse": "{1:1.5 5:2.0}/5,{2:1.0}/5", "bits": "101,011"}
    again = form_class(instance=_Row(**ARRAYS), data=shown)
    assert again.is_valid(), again.errors
    assert again.changed_data == []
    assert again.cleaned_data == ARRAYS
    spaced = form_class(data={**shown, "vectors": " [ 1   .5 ] , [3\t4 ] "})
    assert spaced.is_valid(), spaced.errors
    assert spaced.cleaned_data["vectors"] == ARRAYS["vectors"]


def test_arrays_say_what_is_wrong() -> None:
    form = modelform_factory(_Row, fields=["vectors"])(data={"vectors": "[1 2],[3,4]"})
    assert "Enter a value like [1.5 2 3]: _Row.vectors: Vector.from_text expected" in form.errors["vectors"].as_text()
    form = modelform_factory(_Row, fields=["vectors"])(data={"vectors": "[1 2],[3 4 5]"})
    assert "_Row.vectors expected 2 dimensions, not 3" in form.errors["vectors"].as_text()


def test_alone() -> None:
    with pytest.raises(ValidationError, match=r"Enter a value like \[1.5, 2, 3\]: Vector.from_text expected"):
        VectorFormField().clean("1, 2")
    assert VectorFormField().clean([1, 2]) == Vector([1, 2])
    assert VectorFormField(required=False).clean(None) is None


def test_arrays_with_a_delimiter_that_vectors_do_not_have() -> None:
    field = SimpleArrayField(VectorFormField(), delimiter=";")
    assert field.prepare_value([Vector([1, 2]), Vector([3, 4])]) == "[1.0, 2.0];[3.0, 4.0]"
    assert field.clean("[1.0, 2.0];[3.0, 4.0]") == [Vector([1, 2]), Vector([3, 4])]


# The admin


@pytest.fixture
def admin(rolled_back: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


def test_admin_saves_what_it_shows(admin: Client) -> None:
    Picture.objects.create(pk=1, title="a", vectors=[[1, 2], [3, 4]], **FULL)
    page = admin.get("/admin/gallery/picture/1/change/").content.decode()
    for shown in SHOWN.values():
        assert f'value="{shown}"' in page
    assert 'value="[1.0 2.0],[3.0 4.0]"' in page
    answer = admin.post("/admin/gallery/picture/1/change/", {"title": "b", "vectors": "[1.0 2.0],[3.0 4.0]", **SHOWN})
    assert answer.status_code == 302
    found = Picture.objects.values("title", "vectors", *_FIELDS).get()
    assert found == {"title": "b", "vectors": [[1, 2], [3, 4]], **FULL}


def test_admin_adds(admin: Client) -> None:
    answer = admin.post("/admin/gallery/picture/add/", {"title": "new", "embedding": "[1, 2, 3]"})
    assert answer.status_code == 302
    assert Picture.objects.get().embedding == [1, 2, 3]


def test_admin_says_what_is_wrong(admin: Client) -> None:
    answer = admin.post("/admin/gallery/picture/add/", {"title": "new", "embedding": "[1, 2]"})
    assert answer.status_code == 200
    assert "Picture.embedding expected 3 dimensions, not 2" in answer.content.decode()
    assert "/admin/gallery/picture/" in admin.get("/admin/gallery/picture/").content.decode()
