"""Makes the embeddings of documents that came without one, or with another title; for a schedule."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.request import Request, urlopen

from lightvec.peewee import fill

from .models import Document, database

#: Seconds that a call of the embedder may take.
TIMEOUT = 10


def handler(event: Any, context: Any) -> dict[str, Any]:
    """What Lambda calls: as many documents as the time allows; the next run goes on."""
    database.deadline = context.get_remaining_time_in_millis
    with database.connection_context():
        filled = fill(Document.embedding, embed, batch=32)
    if filled.failed:
        # The run counts as failed, and its log says why.
        raise RuntimeError(f"{len(filled.failed)} documents failed, {filled.written} written: {filled.failed}")
    return {"written": filled.written, "stopped": filled.stopped}


def embed(texts: list[str]) -> Any:
    """The vectors of texts, from the service at EMBEDDER_URL."""
    body = json.dumps({"texts": texts}).encode()
    request = Request(os.environ["EMBEDDER_URL"], body, {"content-type": "application/json"})
    with urlopen(request, timeout=TIMEOUT) as response:
        return json.load(response)["vectors"]
