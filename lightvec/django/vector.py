"""``VectorField``: a ``vector`` column."""

from __future__ import annotations

from lightvec.django.fields import ValueField
from lightvec.django.forms import ValueFormField
from lightvec.types import Vector

__all__ = ["VectorField", "VectorFormField"]


class VectorFormField(ValueFormField):
    """Reads and shows a :class:`lightvec.Vector`."""

    value_class = Vector
    example = "[1.5, 2, 3]"


class VectorField(ValueField):
    """A column of single precision numbers: ``vector(dimensions)``, or of any dimensions where none are given.

    >>> VectorField(dimensions=2).read((1, 2.5))
    Vector([1.0, 2.5])
    """

    description = "Vector"
    value_class = Vector
    column_type = "vector"
    form_class = VectorFormField
