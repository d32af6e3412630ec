"""The check of stored vectors against those that the user's function makes of the same texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import hypot
from operator import eq
from statistics import median
from typing import Any

from peewee import SQL, Expression, NodeList, Value, fn

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.embedding_source import is_pending, source_text
from lightvec.peewee.reflect import column_of, model_of, vector_field
from lightvec.search.findings import OK, Finding, display_name, finding
from lightvec.search.table_statistics import Table
from lightvec.types import Bit, SparseVector

__all__ = ["Embedder", "embedding_findings"]

#: How many texts are embedded: enough for a median, and one call of most services.
_ROWS = 16

#: The least cosine of two vectors that one model made of one text. In half precision, or on other
#: hardware, each number changes by about 1 %, which leaves a cosine above 0.9999; 0.99 is a change
#: of 14 %. A prefix such as "query: " changes more.
_LEAST_COSINE = 0.99
#: The same for the share of equal bits: 0.99 is an angle of 8 degrees, and so 4.5 % of the signs.
_LEAST_EQUAL = 0.95
#: How far the lengths may differ; a model that normalizes changes them by far more.
_LENGTHS = (0.95, 1.05)

#: The metrics that the length does not change.
_WITHOUT_LENGTH = {"cosine", "hamming", "jaccard"}


@dataclass(frozen=True)
class Embedder:
    """A function from texts to vectors, its name for the findings, and the columns to compare.

    ``text_column`` is by default the source that the vector column records.
    """

    embed: Callable[[list[str]], Sequence[Any]]
    name: str
    text_column: str | None = None
    vector_column: str | None = None


def embedding_findings(
    database: Pg8000Database, embedder: Embedder, name: str, schema: str | None, table: Table | None
) -> Iterator[Finding]:
    """Embed the texts of a few rows of the table ``name``, and compare with their vectors.

    ``table`` is what is known of it, None for a view.
    """
    field = vector_field(model_of(database, name, schema), embedder.vector_column)
    shown = table.display_name if table else display_name(schema or "public", name)
    subject = f"{shown}.{field.column_name}"
    rows = _rows(database, field, embedder.text_column, table)
    if not rows:
        yield finding("nothing_to_compare", subject, function=embedder.name)
        return
    given = embedder.embed([text for text, _ in rows])
    try:
        made = [field.value_class.coerce(each) for each in given]
    except InvalidVector as error:
        raise InvalidVector(f"{embedder.name}: {error}") from error
    pairs = [(stored, each) for (_, stored), each in zip(rows, made, strict=True)]
    yield from _findings(field, pairs, embedder.name, subject, table)


def _findings(
    field: Any,
    pairs: list[tuple[Any, Any]],
    function: str,
    subject: str,
    table: Table | None,
) -> Iterator[Finding]:
    for stored, made in pairs:
        if len(stored) != len(made):
            sizes: dict[str, Any] = {"got": len(made), "dimensions": len(stored)}
            yield finding("other_dimensions", subject, function=function, **sizes)
            return
    yield from _direction_findings(pairs, subject, function)
    if field.value_class is not Bit:
        indexes = table.indexes_of(field.column_name) if table else ()
        metrics = sorted({index.metric for index in indexes if index.metric} - _WITHOUT_LENGTH)
        yield from _length_findings(pairs, subject, function, metrics)


def _rows(
    database: Pg8000Database,
    field: Any,
    text_column: str | None,
    table: Table | None,
) -> list[tuple[str, Any]]:
    """A few texts and their vectors: those of the present text, where the column has a source."""
    if text_column is not None:
        text = column_of(field.model, text_column).cast("text")
    elif field.source:
        text = source_text(field).cast("text")
    else:
        raise InvalidOption(
            f"{field.display_name} records no source: say --text-column NAME, the column of the "
            f"texts that its vectors were made of"
        )
    has_text = Expression(text, "~", Value(r"\S", converter=False))
    query = field.model.select(text, field).where(field.is_null(False), has_text)
    if field.source:
        query = query.where(~is_pending(field))
    if table is not None:
        query = query.from_(NodeList((field.model, SQL(table.sampling))))
    # By a hash, so that they are from anywhere in the table, and the same in each run.
    query = query.order_by(fn.MD5(text)).limit(_ROWS)
    return list(query.tuples().execute(database))


def _direction_findings(pairs: Sequence[Any], subject: str, function: str) -> Iterator[Finding]:
    is_bits = isinstance(pairs[0][0], Bit)
    measure, least = ("share of equal bits", _LEAST_EQUAL) if is_bits else ("cosine", _LEAST_COSINE)
    found = [_equal_bits(*pair) if is_bits else _cosine(*pair) for pair in pairs]
    others = [each for each in found if each < least]
    about: dict[str, Any] = {"function": function, "rows": len(found), "measure": measure}
    if not others:
        what = "{function} makes the vectors of {rows} rows again (median {measure} {median:.3f})"
        yield Finding(OK, "same_vectors", subject, what.format(**about, median=median(found)))
        return
    code = "other_direction" if median(found) < least else "some_other_direction"
    yield finding(code, subject, **about, count=len(others), median=median(others))


def _length_findings(
    pairs: Sequence[Any],
    subject: str,
    function: str,
    metrics: Sequence[str],
) -> Iterator[Finding]:
    lengths = [(_length(stored), _length(made)) for stored, made in pairs]
    ratios = [stored / made for stored, made in lengths if stored and made]
    if not ratios or _LENGTHS[0] <= median(ratios) <= _LENGTHS[1]:
        return
    values: dict[str, Any] = {"ratio": median(ratios), "function": function}
    if metrics:
        yield finding("other_length", subject, **values, metrics=" and ".join(metrics))
    else:
        yield finding("other_length_by_cosine", subject, **values)


def _equal_bits(stored: Bit, made: Bit) -> float:
    return float(sum(map(eq, stored, made)) / len(stored))


def _cosine(stored: Any, made: Any) -> float:
    """The cosine; 0 for zeros, which have no direction."""
    one, other = dict(_numbers(stored)), dict(_numbers(made))
    lengths = _length(stored) * _length(made)
    product = sum(number * other.get(place, 0.0) for place, number in one.items())
    return float(product / lengths) if lengths else 0.0


def _length(vector: Any) -> float:
    length: float = hypot(*(number for _, number in _numbers(vector)))
    return length


def _numbers(vector: Any) -> Iterator[tuple[int, float]]:
    if isinstance(vector, SparseVector):
        return zip(vector.indices(), vector.values(), strict=True)
    return enumerate(vector)
