"""A web service with models: documents in, searches out, as JSON; a connection for each request out of a pool.

    flask --app examples.flask_service run      # serve
    python -m examples.flask_service            # try it, without a port

It prints::

    POST /documents {"title": "cocoa", "embedding": [0.6, 0.1, 0.3]}
      201 {"id": 4}
    POST /documents {"title": "cocoa", "embedding": [0.6, 0.1, 0.3]}
      409 {"error": "there is a document with this title already"}
    POST /documents {"title": "a flat one", "embedding": [1, 2]}
      422 {"error": "Document.embedding expected 3 dimensions, not 2: …"}
    POST /search {"vector": [1, 0.2, 0], "k": 2}
      200 [{"id": 1, "score": 0.996, "title": "tea"}, {"id": 2, "score": 0.98, "title": "coffee"}]
    POST /search {"vector": [1, 0.2, 0], "filter": {"title": {"like": "c%"}}}
      200 [{"id": 2, "score": 0.98, "title": "coffee"}, {"id": 4, "score": 0.896, "title": "cocoa"}]
    POST /search {"vector": [1, 0.2, 0], "filter": {"owner": "me"}}
      422 {"error": "filter: expected one of id, title, and, or, not, got 'owner' (str)"}
    POST /search {"vector": 7}
      422 {"error": "expected 'vector' as a list of numbers, got 7"}
    GET /documents/1/similar
      200 [{"id": 2, "score": 0.963, "title": "coffee"}, {"id": 4, "score": 0.896, "title": "cocoa"}]
    GET /documents/99/similar
      404 {"error": "there is no such document"}
"""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask, Response, jsonify, request
from peewee import AutoField, DoesNotExist, IntegrityError, Model, TextField
from werkzeug.exceptions import BadRequest, HTTPException, UnprocessableEntity

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee import PooledPg8000Database, VectorField, where

database = PooledPg8000Database(
    os.environ.get("DATABASE_URL", "embedded:.lightvec"), max_connections=8, stale_timeout=300, command_timeout=10
)
app = Flask(__name__)


class Document(Model):
    """A document with the embedding that its sender made."""

    score: float  # of a search
    id = AutoField()
    title = TextField(unique=True)
    embedding = VectorField(3, metric="cosine", index="hnsw")

    class Meta:
        database = database
        table_name = "example_document"


#: What a search may ask for.
FILTERED = [Document.id, Document.title]


@app.before_request
def open_connection() -> None:
    """A connection of the pool, for as long as the request takes."""
    database.connect(reuse_if_open=True)


@app.teardown_request
def close_connection(_: BaseException | None) -> None:
    """Back to the pool, also where the request failed."""
    if not database.is_closed():
        database.close()


@app.post("/documents")
def add() -> tuple[Response, int]:
    """Store a document: ``{"title": "…", "embedding": [1, 2, 3]}``."""
    document = Document.create(title=given("title", str), embedding=given("embedding", list))
    return jsonify(id=document.id), 201


@app.post("/search")
def search() -> Response:
    """The documents that are nearest: ``{"vector": [1, 2, 3], "k": 10, "filter": {"title": "tea"}}``."""
    nearest = Document.embedding.nearest(given("vector", list), k=min(given("k", int, 10), 100))
    if filters := given("filter", dict, {}):
        nearest = nearest.where(where(Document, filters, fields=FILTERED))
    return found(nearest)


@app.get("/documents/<int:number>/similar")
def similar(number: int) -> Response:
    """The documents that are like this one."""
    return found(Document.embedding.nearest(Document.get_by_id(number), k=2))


def found(documents: Any) -> Response:
    """Documents and their scores."""
    return jsonify([{"id": each.id, "title": each.title, "score": round(each.score, 3)} for each in documents])


NAMES = {str: "a text", list: "a list of numbers", int: "a whole number", dict: "an object"}


def given(name: str, kind: type, default: Any = None) -> Any:
    """A value of the request's JSON object, of the kind that is expected."""
    body = request.get_json()
    if not isinstance(body, dict):
        raise BadRequest("expected a JSON object")
    value = body.get(name, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UnprocessableEntity(f"expected {name!r} as {NAMES[kind]}, got {json.dumps(value)}")
    return value


@app.errorhandler(HTTPException)
def refused(error: HTTPException) -> tuple[Response, int]:
    """An error as JSON, with its sentence."""
    return jsonify(error=error.description), error.code or 500


@app.errorhandler(InvalidVector)
@app.errorhandler(InvalidOption)
def does_not_fit(error: Exception) -> tuple[Response, int]:
    """What lightvec says of a vector or a number that cannot be is for whoever sent it."""
    return jsonify(error=str(error)), 422


@app.errorhandler(IntegrityError)
def stands(_: IntegrityError) -> tuple[Response, int]:
    """The only constraint that a request can break."""
    return jsonify(error="there is a document with this title already"), 409


@app.errorhandler(DoesNotExist)
def unknown(_: DoesNotExist) -> tuple[Response, int]:
    """A number that no document has."""
    return jsonify(error="there is no such document"), 404


def main() -> None:
    """Send requests and show the answers."""
    with database.connection_context():
        database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
        database.drop_tables([Document])
        database.create_tables([Document])
    client = app.test_client()
    for title, embedding in {"tea": [0.9, 0.1, 0], "coffee": [0.8, 0.3, 0.1], "ladder": [0, 0.2, 0.9]}.items():
        client.post("/documents", json={"title": title, "embedding": embedding})
    for path, body in (
        ("/documents", {"title": "cocoa", "embedding": [0.6, 0.1, 0.3]}),
        ("/documents", {"title": "cocoa", "embedding": [0.6, 0.1, 0.3]}),
        ("/documents", {"title": "a flat one", "embedding": [1, 2]}),
        ("/search", {"vector": [1, 0.2, 0], "k": 2}),
        ("/search", {"vector": [1, 0.2, 0], "filter": {"title": {"like": "c%"}}}),
        ("/search", {"vector": [1, 0.2, 0], "filter": {"owner": "me"}}),
        ("/search", {"vector": 7}),
    ):
        answer = client.post(path, json=body)
        print(f"POST {path} {json.dumps(body)}\n  {answer.status_code} {json.dumps(answer.json)}")
    for path in ("/documents/1/similar", "/documents/99/similar"):
        answer = client.get(path)
        print(f"GET {path}\n  {answer.status_code} {json.dumps(answer.json)}")
    database.close_all()


if __name__ == "__main__":
    main()
