"""What the function stores, and where.

The connection is kept by ``database`` from one invocation to the next. Where it leads to comes from the environment:
``PGHOST``, ``PGPORT``, ``PGDATABASE``, ``PGUSER``, ``PGSSLROOTCERT``, and either ``PGPASSWORD`` or ``DB_AUTH=iam``.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from peewee import Model, TextField

from lightvec.peewee import Pg8000Database, VectorField


@cache
def rds() -> Any:
    """The client that signs tokens. boto3 is in Lambda's runtime, and takes its time to load: it is asked for late."""
    import boto3

    return boto3.client("rds")


def iam_token() -> str:
    """A password that is good for 15 minutes, asked for at each new connection; signing it sends nothing."""
    return str(
        rds().generate_db_auth_token(
            DBHostname=os.environ["PGHOST"],
            Port=int(os.environ.get("PGPORT", "5432")),
            DBUsername=os.environ["PGUSER"],
            Region=os.environ["AWS_REGION"],
        )
    )


database = Pg8000Database(
    password=iam_token if os.environ.get("DB_AUTH") == "iam" else None,
    connect_timeout=5,
    application_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "lightvec-function"),
)


class Document(Model):
    """A text and its embedding, which the caller brings, or the scheduled function makes."""

    score: float  # of a search
    embedding_hash: Any  # what the embedding was made of
    id = TextField(primary_key=True)
    title = TextField()
    embedding = VectorField(384, metric="cosine", index="hnsw", model="bge-small-en-v1.5", source="title")

    class Meta:
        database = database
