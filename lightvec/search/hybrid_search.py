"""Hybrid search: full text and vectors, fused by rank, in one statement.

Source of the formula: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods", SIGIR 2009. Each search scores a row by ``weight / (60 + its
rank)``, and the sum orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from math import inf
from numbers import Real
from operator import add, and_
from typing import Any

from peewee import JOIN, SQL, Cast, Expression, Field, Join, Select, Tuple, Value, fn
from playhouse.postgres_ext import TSVectorField

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import copy_with, limit_of
from lightvec.peewee.candidates import too_few_groups
from lightvec.peewee.generics import M, ScoredSelect, TypedField
from lightvec.peewee.nearest import GROUP_CANDIDATES, Nearest, checked_count
from lightvec.wire.identifiers import identifier

__all__ = ["Hybrid", "hybrid"]

_RANK_CONSTANT = 60.0
#: The columns beside those of the model.
_OWN = ("distance", "score", "vector_rank", "text_rank")
#: Rows of each search for each row of the result, and the least of them.
_CANDIDATES, _LEAST_CANDIDATES = 5, 50
#: How words match, and PostgreSQL's function for that tsquery.
_MATCHES = {"any": "plainto_tsquery", "all": "plainto_tsquery", "web": "websearch_to_tsquery"}


def hybrid(
    field: TypedField[Any, M],
    vector: Any,
    text_field: Field | Sequence[Field],
    text: str,
    k: int = 10,
    *,
    language: str | None = None,
    match: str = "any",
    weights: tuple[float, float] = (1.0, 1.0),
    candidates: int | None = None,
    **nearest: Any,
) -> Hybrid[M]:
    """The ``k`` best rows by vector and full text search together, as a Peewee query to refine.

    ``field`` and ``vector`` are those of ``field.nearest(vector)``, whose options (``metric``,
    ``ef_search``, ``exact`` and so on) go in ``nearest``. ``text_field`` is a text column of the same
    model, or several, or a ``TSVectorField`` (a generated ``tsvector`` column with a GIN index is the
    fast way). ``match``: a row must have ``"any"`` or ``"all"`` words of ``text``, or match it as a web
    search (``"web"``: quotes, ``or``, ``-``). ``language`` is a text search configuration ("english",
    "simple"; default: the server's). ``weights`` are those of vector and text. Each search ranks
    ``candidates`` rows (default: ``5 * k``, at least 50).

    Rows have ``score`` (higher is better), ``distance`` (None where only the text search found the
    row), ``vector_rank`` and ``text_rank``, from 1; equal rows are in the order of the primary key.
    A condition (``where``) filters both searches before they rank. ``per(Page.book)`` leaves the
    best row of each group, of twice as many candidates.

    >>> from peewee import TextField
    >>> from lightvec.peewee import VectorField
    >>> class Page(Model):
    ...     body = TextField()
    ...     embedding = VectorField(2, metric="cosine")
    ...     class Meta:
    ...         database = database
    ...         temporary = True
    >>> Page.create_table()
    >>> _ = Page.insert_many([("red shoes", [1, 0]), ("blue shoes", [0, 1]), ("a red hat", [1, 1])]).execute()
    >>> for page in hybrid(Page.embedding, [1, 0.1], Page.body, "red hat", k=2):
    ...     print(page.body, page.vector_rank, page.text_rank)
    red shoes 1 2
    a red hat 2 1
    """
    k = checked_count(k)
    if match not in _MATCHES:
        raise InvalidOption(f"expected match='any', 'all' or 'web', got {match!r}")
    if not isinstance(text, str):
        raise InvalidOption(f"expected text as a str, got {type(text).__name__}")
    if candidates is not None and checked_count(candidates, "candidates", " of each search") < k:
        raise InvalidOption(f"expected candidates of at least k ({k}), got {candidates!r}")
    fields = _text_fields(field, text_field)
    vector_field: Any = field
    return Hybrid(
        vector_field.nearest(vector, k, **nearest),
        *_full_text(fields, text, language, match),
        _checked_weights(weights),
        candidates,
    )


class Hybrid(ScoredSelect[M]):
    """The query of :func:`hybrid`; refine it with ``where``, ``join``, ``select``, ``dicts``.

    A join filters both searches, as EXISTS does, and is made once more with their result.
    """

    # Peewee's own; its annotations leave them out.
    _from_list: Any
    _limit: Any
    _order_by: Any
    _joins: Any
    _offset: Any
    _where: Any

    def __init__(
        self,
        nearest: Nearest[M],
        document: Any,
        words: Any,
        weights: Sequence[float],
        candidates: int | None,
    ) -> None:
        model: Any = nearest.model
        keys = model._meta.get_primary_keys()
        if not keys:
            raise InvalidOption(f"{model.__name__} has no primary key, by which the two searches are joined")
        self._keys: Mapping[str, Any] = {f"key_{number}": key for number, key in enumerate(keys)}
        self._nearest, self._document, self._words = nearest, document, words
        self._weights, self._candidates = weights, candidates
        self._own = [SQL(identifier("ranks", name)).alias(name) for name in _OWN]
        super().__init__(model, [model, *self._own], is_default=True)
        self._limit = limit_of(nearest)

    def __sql__(self, ctx: Any) -> Any:
        ranks = self._ranks() if self._per is None else self._best_of_groups(self._ranks())
        is_same = self._is_same(ranks)
        order_by = self._order_by or (ranks.c.score.desc(), *self._keys.values())
        joined = [Join(self._from_list[0], ranks, on=is_same)]
        return super(Hybrid, copy_with(self, from_list=joined, order_by=order_by)).__sql__(ctx)

    @property
    def shortfall(self) -> str | None:
        """Under :meth:`per`, why fewer rows came than the limit, and what to do; None if all came."""
        if self._per is None or self._limit is None or (found := len(self)) >= self._limit:
            return None
        return too_few_groups(found, self._limit, self._per[0], self._count)

    def _is_same(self, ranks: Any) -> Any:
        return reduce(and_, (getattr(ranks.c, name) == key for name, key in self._keys.items()))

    def _best_of_groups(self, ranks: Any) -> Any:
        """The rows of ``ranks`` that are among the best of their group."""
        group, most = self._per
        columns = [getattr(ranks.c, name) for name in (*self._keys, *_OWN)]
        order_by = [ranks.c.score.desc(), *self._keys.values()]
        place = fn.dense_rank().over(partition_by=[group], order_by=order_by).alias("place")
        joined = [Join(self._from_list[0], ranks, on=self._is_same(ranks))]
        rows: Any = copy_with(self.model.select(*columns, place), from_list=joined, where=self._where)
        placed = rows.alias("placed")
        columns = [getattr(placed.c, name) for name in (*self._keys, *_OWN)]
        # A join may repeat a row.
        best = Select([placed], columns, distinct=True).where(placed.c.place <= most)
        return best.alias("ranks")

    @property
    def _count(self) -> int | None:
        """How many rows each search ranks: enough for LIMIT and OFFSET."""
        if self._limit is None:
            return None
        wanted = int(self._limit) + int(self._offset or 0)
        factor, least = (_CANDIDATES, _LEAST_CANDIDATES) if self._per is None else GROUP_CANDIDATES[:2]
        return max(self._candidates or max(least, factor * wanted), wanted)

    def _ranks(self) -> Any:
        near = self._filtered(self._vector_search()).alias("near")
        found = self._filtered(self._text_search()).alias("found")
        by_vector = self._ranked(near, near.c.distance, near.c.distance).alias("by_vector")
        by_text = self._ranked(found, found.c.match.desc()).alias("by_text")
        pairs = list(zip(self._keys_in(by_vector), self._keys_in(by_text), strict=True))
        weighted = zip(self._weights, (by_vector.c.rank, by_text.c.rank), strict=True)
        columns = [
            *(fn.coalesce(*both).alias(name) for name, both in zip(self._keys, pairs, strict=True)),
            by_vector.c.distance,
            reduce(add, (fn.coalesce(weight / (_RANK_CONSTANT + rank), 0.0) for weight, rank in weighted)).alias(
                "score"
            ),
            by_vector.c.rank.alias("vector_rank"),
            by_text.c.rank.alias("text_rank"),
        ]
        on = reduce(and_, (one == other for one, other in pairs))
        return Select([Join(by_vector, by_text, JOIN.FULL_OUTER, on=on)], columns).alias("ranks")

    def _ranked(self, search: Any, order: Any, *columns: Any) -> Any:
        """The keys that a search found, with their ranks; the same in each run."""
        keys = self._keys_in(search)
        rank = fn.row_number().over(order_by=[order, *keys]).alias("rank")
        return Select([search], [*keys, *columns, rank])

    def _filtered(self, query: Any) -> Any:
        """One of the searches, with the conditions and joins of the whole query."""
        if not self._joins:
            return query if self._where is None else query.where(self._where)
        # A direct join would rank a row once for each row that it is joined to.
        keys = list(self._keys.values())
        joined = copy_with(self.model.select(*keys), from_list=self._from_list, where=self._where)
        return query.where((keys[0] if len(keys) == 1 else Tuple(*keys)).in_(joined))

    def _named_keys(self) -> list[Any]:
        return [key.alias(name) for name, key in self._keys.items()]

    def _keys_in(self, source: Any) -> list[Any]:
        return [getattr(source.c, name) for name in self._keys]

    def _vector_search(self) -> Any:
        query: Any = self._nearest.select(*self._named_keys()).limit(self._count)
        # Bits have many equal distances: to sort these by key, an index scan would read far more.
        return query if self._nearest._form else query.order_by_extend(*self._keys.values())

    def _text_search(self) -> Any:
        match = fn.ts_rank_cd(self._document, self._words).alias("match")
        matches = Expression(self._document, "@@", self._words)
        query = self.model.select(*self._named_keys(), match).where(matches)
        return query.order_by(match.desc(), *self._keys.values()).limit(self._count)


def _full_text(fields: Sequence[Any], text: str, language: str | None, match: str) -> tuple[Any, Any]:
    configuration = () if language is None else (Cast(Value(language), "regconfig"),)
    document: Any = fields[0]
    if len(fields) > 1 or not isinstance(document, TSVectorField):
        document = fn.to_tsvector(*configuration, reduce(_joined, (fn.coalesce(field, "") for field in fields)))
    words = getattr(fn, _MATCHES[match])(*configuration, text)
    if match == "any":
        # PostgreSQL has no function for it. In the text of a tsquery words are quoted, so each & is an operator.
        words = Cast(fn.replace(Cast(words, "text"), " & ", " | "), "tsquery")
    return document, words


def _joined(one: Any, other: Any) -> Any:
    return Expression(Expression(one, "||", " "), "||", other)


def _text_fields(field: Any, given: Field | Sequence[Field]) -> list[Any]:
    fields = [given] if isinstance(given, Field) else list(given)
    if not fields or any(getattr(each, "model", None) is not field.model for each in fields):
        raise InvalidOption(
            f"expected text fields of {field.model.__name__}, as {field.display_name} is, got {given!r}"
        )
    if len(fields) > 1 and any(isinstance(each, TSVectorField) for each in fields):
        raise InvalidOption("expected one TSVectorField, or text fields: a tsvector column holds several texts itself")
    return fields


def _checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    numbers = tuple(weights) if isinstance(weights, Iterable) else ()
    if len(numbers) != 2 or not all(map(_is_weight, numbers)) or not any(numbers):
        raise InvalidOption(f"expected two weights, of vector and text, of at least 0 and not both 0, got {weights!r}")
    return tuple(map(float, numbers))


def _is_weight(value: object) -> bool:
    return type(value) is not bool and isinstance(value, Real) and 0 <= float(value) < inf
