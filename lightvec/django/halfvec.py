"""``HalfVectorField``: a ``halfvec`` column."""

from __future__ import annotations

from lightvec.django.fields import ValueField
from lightvec.django.forms import ValueFormField
from lightvec.types import HalfVector

__all__ = ["HalfVectorField", "HalfVectorFormField"]


class HalfVectorFormField(ValueFormField):
    """Reads and shows a :class:`lightvec.HalfVector`."""

    value_class = HalfVector
    example = "[1.5, 2, 3]"


class HalfVectorField(ValueField):
    """A column of half precision numbers: ``halfvec(dimensions)``, or of any dimensions where none are given.

    >>> HalfVectorField(dimensions=2).read((1, 2.5))
    HalfVector([1.0, 2.5])
    """

    description = "Half vector"
    value_class = HalfVector
    column_type = "halfvec"
    form_class = HalfVectorFormField
