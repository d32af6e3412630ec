"""Django's models on pgvector: the extension, four fields, two kinds of index, six distances.

The names, arguments and paths (``lightvec.django.vector.VectorField`` in migrations) are those of
pgvector's Python package. Results are :class:`lightvec.Vector` and its like; whatever their constructors
take, and their text, can be assigned, looked up and compared.

>>> from django.db.models import F
>>> VectorField(dimensions=3).to_python("[1, 2, 3]")
Vector([1.0, 2.0, 3.0])
>>> CosineDistance("embedding", [1, 2, 3])
CosineDistance(F(embedding) <=> Given('[1,2,3]'))
>>> CosineDistance("embedding", F("other"))
CosineDistance(F(embedding) <=> F(other))

Importing this registers two things with Django: a query for pgvector's types on each new connection, so
that drivers can split arrays of vectors and ``inspectdb`` knows the fields, and a check that warns before
``migrate`` when nothing installs pgvector.

``fields`` has what the four fields share, each of which has a module, as in pgvector's package. ``forms``: form fields.
``functions``: distances. ``indexes`` and ``extensions``: migration operations. ``connections``, ``checks``: above.
"""

from __future__ import annotations

from lightvec.errors import MissingExtra

try:
    import django  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtra("django", "lightvec.django") from error

from lightvec.django import checks, connections
from lightvec.django.bit import BitField
from lightvec.django.extensions import VectorExtension
from lightvec.django.functions import (
    CosineDistance,
    HammingDistance,
    JaccardDistance,
    L1Distance,
    L2Distance,
    MaxInnerProduct,
)
from lightvec.django.halfvec import HalfVectorField
from lightvec.django.indexes import HnswIndex, IvfflatIndex
from lightvec.django.sparsevec import SparseVectorField
from lightvec.django.vector import VectorField

__all__ = [
    "BitField",
    "CosineDistance",
    "HalfVectorField",
    "HammingDistance",
    "HnswIndex",
    "IvfflatIndex",
    "JaccardDistance",
    "L1Distance",
    "L2Distance",
    "MaxInnerProduct",
    "SparseVectorField",
    "VectorExtension",
    "VectorField",
]

connections.register()
checks.register()
