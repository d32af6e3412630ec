"""The records that Qdrant, Pinecone and Chroma give, saved as JSON, as rows.

A file has one answer, an answer a line, or a record a line:

- Qdrant's points, as scrolling gives them: ``id``, ``vector``, ``payload``
  (https://api.qdrant.tech/api-reference/points/scroll-points).
- Pinecone's vectors, as they are upserted or fetched: ``id``, ``values``, ``sparseValues``,
  ``metadata`` (https://docs.pinecone.io/guides/manage-data/fetch-data).
- Chroma's lists, as ``collection.get()`` gives them: ``ids``, ``embeddings``, ``documents``,
  ``metadatas`` (https://docs.trychroma.com/docs/querying-collections/query-and-get).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightvec.cli.json_objects import JsonObjects
from lightvec.errors import InvalidOption

#: Each format, and its name for the vector of a record.
EXPORTS: Mapping[str, str] = MappingProxyType({"qdrant": "vector", "pinecone": "values", "chroma": "embedding"})


def export_rows(
    file: Iterable[bytes], path: Path, kind: str, objects: JsonObjects
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of an export; the values inside ``payload`` or ``metadata`` have names of their own."""
    number = 0
    try:
        for answer in _answers(file, objects):
            for record in _RECORDS[kind](answer):
                number += 1
                yield number, objects.shaped(record)
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidOption(f"{path}, after row {number:,}: expected {_WANTED[kind]}, as JSON: {why}") from error


def _answers(file: Iterable[bytes], objects: JsonObjects) -> Iterator[Any]:
    """The JSON values of a file: one a line, or one of several lines."""
    lines = iter(file)
    for line in lines:
        if line.strip():
            try:
                answer = objects.parse(line)
            except ValueError:
                answer = objects.parse(b"".join([line, *lines]))
            yield answer


def _flat(record: dict[str, Any], name: str, inner: Any) -> dict[str, Any]:
    """The record with the values of its inner object; one of a name that is taken keeps its path."""
    for key, value in (inner or {}).items():
        record[f"{name}.{key}" if key in record else key] = value
    return record


def _qdrant(answer: Any) -> Iterator[dict[str, Any]]:
    answer = answer.get("result", answer) if isinstance(answer, dict) else answer
    points = answer if isinstance(answer, list) else answer.get("points", [answer])
    for point in points:
        record, vector = {"id": point["id"]}, point.get("vector")
        if isinstance(vector, dict):
            record |= {f"vector.{name}": each for name, each in vector.items()}
        elif vector is not None:
            record["vector"] = vector
        yield _flat(record, "payload", point.get("payload"))


def _pinecone(answer: Any) -> Iterator[dict[str, Any]]:
    vectors = answer if isinstance(answer, list) else answer.get("vectors", [answer])
    for vector in vectors.values() if isinstance(vectors, dict) else vectors:
        record = {"id": vector["id"]}
        if vector.get("values"):
            record["values"] = vector["values"]
        sparse = vector.get("sparseValues") or vector.get("sparse_values")
        if sparse:
            record["sparse_values"] = sparse
        yield _flat(record, "metadata", vector.get("metadata"))


def _chroma(answer: Any) -> Iterator[dict[str, Any]]:
    ids = answer["ids"]
    if any(isinstance(id, list) for id in ids):
        raise ValueError("they are of several queries")
    names = {"embedding": "embeddings", "document": "documents", "uri": "uris"}
    lists = {one: answer[many] for one, many in names.items() if answer.get(many) is not None}
    metadatas = answer.get("metadatas") or [None] * len(ids)
    values: list[Any]
    for id, metadata, *values in zip(ids, metadatas, *lists.values(), strict=True):
        yield _flat({"id": id, **dict(zip(lists, values, strict=True))}, "metadata", metadata)


_RECORDS: dict[str, Callable[[Any], Iterator[dict[str, Any]]]] = {
    "qdrant": _qdrant,
    "pinecone": _pinecone,
    "chroma": _chroma,
}
_WANTED = {
    "qdrant": "Qdrant's points, each with an id, a vector and a payload",
    "pinecone": "Pinecone's vectors, each with an id, values and metadata",
    "chroma": "Chroma's lists of ids, embeddings, documents and metadatas",
}
