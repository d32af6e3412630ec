"""Models with every kind of column, and both kinds of index."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.functions import Cast
from django.db.models.lookups import LessThan

from lightvec import SparseVector, Vector
from lightvec.django import (
    BitField,
    HalfVectorField,
    HnswIndex,
    IvfflatIndex,
    L2Distance,
    SparseVectorField,
    VectorField,
)


class Picture(models.Model):
    title: models.CharField[str, str] = models.CharField(max_length=100, blank=True)
    embedding = VectorField(dimensions=3, null=True, blank=True)
    other = VectorField(dimensions=3, null=True, blank=True)
    half = HalfVectorField(dimensions=3, null=True, blank=True)
    sparse = SparseVectorField(dimensions=5, null=True, blank=True)
    bits = BitField(length=3, null=True, blank=True)
    vectors: ArrayField[Any, Any] = ArrayField(VectorField(dimensions=2), null=True, blank=True)
    bit_rows: ArrayField[Any, Any] = ArrayField(BitField(length=3), null=True, blank=True)

    class Meta:
        indexes = (
            HnswIndex(name="picture_hnsw", fields=["embedding"], opclasses=["vector_l2_ops"], m=8, ef_construction=32),
            HnswIndex(name="picture_half_hnsw", fields=["half"], metric="cosine"),
            HnswIndex(
                OpClass(Cast("embedding", HalfVectorField(dimensions=3)), name="halfvec_l2_ops"),
                name="picture_cast_hnsw",
                m=16,
            ),
            IvfflatIndex(name="picture_bits_ivfflat", fields=["bits"], metric="hamming", lists=1),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(embedding__isnull=True)
                | models.Q(LessThan(L2Distance("embedding", [0, 0, 0]), 1000)),
                name="picture_near_origin",
            ),
        )

    def __str__(self) -> str:
        return self.title


class Sketch(models.Model):
    """Columns that may not be NULL, with defaults of every kind, and one of any dimensions."""

    embedding = VectorField(dimensions=3, default=Vector([1, 2, 0.1]))
    sparse = SparseVectorField(dimensions=10**9, default=SparseVector({7: 1}, 10**9))
    stored = VectorField(dimensions=2, db_default=[1, 2])
    free = VectorField(null=True)

    def __str__(self) -> str:
        return str(self.pk)
