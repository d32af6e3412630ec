"""Search and upsert by HTTP, for a function URL or an API Gateway HTTP API (payload format 2.0).

::

    POST /search     {"vector": [384 numbers], "k": 5, "filter": {"title": {"like": "a%"}}}
    PUT  /documents  {"documents": [{"id": "a", "title": "…", "embedding": [384 numbers]}]}

A document without an embedding gets one from the scheduled function (``fill.py``).
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from peewee import DatabaseError, DataError, InterfaceError, OperationalError

from lightvec import Vector
from lightvec.errors import InvalidOption, InvalidVector

from .models import Document, database

log = logging.getLogger()

#: Milliseconds that are kept for the answer: what waits for the database waits no longer.
ANSWER = 300
MOST = 100
#: What a search may ask for.
FILTERED = (Document.id, Document.title)


class Refused(Exception):
    """A request that gets another answer than 200, with one sentence in it."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """What Lambda calls. An answer is in time, and says what was wrong in one sentence; the rest is in the log."""
    database.deadline = lambda: context.get_remaining_time_in_millis() - ANSWER
    try:
        return response(HTTPStatus.OK, respond(event))
    except Refused as refused:
        return response(refused.status, {"error": str(refused)})
    except (InvalidOption, InvalidVector, DataError) as error:
        return response(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    except (OperationalError, InterfaceError) as error:
        log.warning("%s", error)
        if is_late(error):
            return response(HTTPStatus.GATEWAY_TIMEOUT, {"error": "the database did not answer in time: try again"})
        return response(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database cannot be reached: try again later"})
    except DatabaseError:
        log.exception("the database refused a statement")
        return response(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the database is not set up for this function"})
    except Exception:
        log.exception("an error that nobody thought of")
        return response(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the function failed: its log says why"})


def respond(event: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request that can be answered."""
    try:
        route = (event["requestContext"]["http"]["method"], event["rawPath"])
    except (KeyError, TypeError):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected an HTTP request of payload format 2.0") from None
    if route not in ROUTES:
        raise Refused(HTTPStatus.NOT_FOUND, f"expected {' or '.join(map(' '.join, ROUTES))}, got {' '.join(route)}")
    return ROUTES[route](body(event))


def search(request: dict[str, Any]) -> dict[str, Any]:
    """The documents that are nearest to a vector, the best first."""
    k = request.get("k", 10)
    if type(k) is not int or not 1 <= k <= MOST:
        raise Refused(HTTPStatus.BAD_REQUEST, f"expected k as a whole number from 1 to {MOST}, got {json.dumps(k)}")
    nearest = Document.embedding.nearest(vector(request, "vector"), k=k).select(Document.id, Document.title)
    if "filter" in request:
        # Imported here: a cold start does not need it.
        from lightvec.peewee import where

        nearest = nearest.where(where(Document, request["filter"], fields=FILTERED))
    return {"documents": [{"id": row.id, "title": row.title, "score": round(row.score, 6)} for row in nearest]}


def upsert(request: dict[str, Any]) -> dict[str, Any]:
    """Write documents, all or none; the same request twice is the same as once."""
    documents = request.get("documents")
    if not isinstance(documents, list) or not documents:
        raise Refused(HTTPStatus.BAD_REQUEST, "expected documents as a list of at least one")
    rows = {row["id"]: row for row in map(document, documents)}  # the last one with an id is the one
    written = Document.insert_many(rows.values()).on_conflict(
        conflict_target=[Document.id], preserve=[Document.title, Document.embedding, Document.embedding_hash]
    )
    written.execute()
    return {"written": len(rows)}


ROUTES: dict[tuple[str, str], Callable[[dict[str, Any]], dict[str, Any]]] = {
    ("POST", "/search"): search,
    ("PUT", "/documents"): upsert,
}


def document(given: Any) -> dict[str, Any]:
    """A row, from what was sent."""
    if not isinstance(given, dict) or not all(isinstance(given.get(name), str) for name in ("id", "title")):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected each document with an id and a title that are texts")
    row = {"id": given["id"], "title": given["title"], "embedding": None, "embedding_hash": None}
    if given.get("embedding") is not None:
        row |= {"embedding": vector(given, "embedding"), "embedding_hash": Document.embedding.hash_of(given["title"])}
    return row


def vector(given: dict[str, Any], name: str) -> Vector:
    """The list of numbers by this name; how many there must be the model knows."""
    if not isinstance(given.get(name), list):
        raise Refused(HTTPStatus.BAD_REQUEST, f"expected {name} as a list of numbers")
    return Vector(given[name])


def body(event: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that was sent."""
    data = event.get("body") or ""
    try:
        read = json.loads(base64.b64decode(data, validate=True) if event.get("isBase64Encoded") else data)
    except (ValueError, RecursionError):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected a body of JSON") from None
    if not isinstance(read, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected a JSON object as the body")
    return read


def response(status: HTTPStatus, content: dict[str, Any]) -> dict[str, Any]:
    """An answer as payload format 2.0 has it."""
    return {
        "statusCode": int(status),
        "headers": {"content-type": "application/json"},
        "body": json.dumps(content, ensure_ascii=False),
    }


def is_late(error: Exception) -> bool:
    """Whether it is the time that ran out: a statement that was cancelled (57014), or none left to wait."""
    left = database.deadline and database.deadline()
    cancelled = getattr(getattr(error, "orig", None), "sqlstate", None) == "57014"
    return cancelled or (left is not None and left <= 0)
