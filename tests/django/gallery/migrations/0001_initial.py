"""What ``makemigrations`` wrote, and the extension before it."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.functions.comparison
import django.db.models.lookups
from django.db import migrations, models

import lightvec.django.bit
import lightvec.django.extensions
import lightvec.django.functions
import lightvec.django.halfvec
import lightvec.django.indexes
import lightvec.django.sparsevec
import lightvec.django.vector


class Migration(migrations.Migration):
    initial = True

    operations = (
        lightvec.django.extensions.VectorExtension(),
        migrations.CreateModel(
            name="Sketch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("embedding", lightvec.django.vector.VectorField(default="[1,2,0.1]", dimensions=3)),
                (
                    "sparse",
                    lightvec.django.sparsevec.SparseVectorField(default="{8:1}/1000000000", dimensions=1000000000),
                ),
                ("stored", lightvec.django.vector.VectorField(db_default=[1, 2], dimensions=2)),
                ("free", lightvec.django.vector.VectorField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Picture",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(blank=True, max_length=100)),
                ("embedding", lightvec.django.vector.VectorField(blank=True, dimensions=3, null=True)),
                ("other", lightvec.django.vector.VectorField(blank=True, dimensions=3, null=True)),
                ("half", lightvec.django.halfvec.HalfVectorField(blank=True, dimensions=3, null=True)),
                ("sparse", lightvec.django.sparsevec.SparseVectorField(blank=True, dimensions=5, null=True)),
                ("bits", lightvec.django.bit.BitField(blank=True, length=3, null=True)),
                (
                    "vectors",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=lightvec.django.vector.VectorField(dimensions=2),
                        blank=True,
                        null=True,
                        size=None,
                    ),
                ),
                (
                    "bit_rows",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=lightvec.django.bit.BitField(length=3),
                        blank=True,
                        null=True,
                        size=None,
                    ),
                ),
            ],
            options={
                "indexes": [
                    lightvec.django.indexes.HnswIndex(
                        ef_construction=32, fields=["embedding"], m=8, name="picture_hnsw", opclasses=["vector_l2_ops"]
                    ),
                    lightvec.django.indexes.HnswIndex(fields=["half"], metric="cosine", name="picture_half_hnsw"),
                    lightvec.django.indexes.HnswIndex(
                        django.contrib.postgres.indexes.OpClass(
                            django.db.models.functions.comparison.Cast(
                                "embedding", lightvec.django.halfvec.HalfVectorField(dimensions=3)
                            ),
                            name="halfvec_l2_ops",
                        ),
                        m=16,
                        name="picture_cast_hnsw",
                    ),
                    lightvec.django.indexes.IvfflatIndex(
                        fields=["bits"], lists=1, metric="hamming", name="picture_bits_ivfflat"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("embedding__isnull", True),
                            django.db.models.lookups.LessThan(
                                lightvec.django.functions.L2Distance(models.F("embedding"), models.Value("[0,0,0]")),
                                1000,
                            ),
                            _connector="OR",
                        ),
                        name="picture_near_origin",
                    )
                ],
            },
        ),
    )
