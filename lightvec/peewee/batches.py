"""Several queries in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, overload

from peewee import SQL, ModelSelect, NodeList, Select, SelectBase

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import Answer, cursor_wrapper
from lightvec.peewee.typed import M
from lightvec.types.inputs import show

__all__ = ["together"]


@overload
def together(queries: Iterable[ModelSelect[M]]) -> list[list[M]]: ...
@overload
def together(queries: Iterable[Any]) -> list[list[Any]]: ...
def together(queries: Iterable[Any]) -> list[list[Any]]:
    """The rows of several select queries, each as it gives them by itself, in one statement and one round trip.

    They must have columns of the same types in the same order, as searches of one model for several vectors have, with
    whatever conditions each. The settings of searches go with the statement: of two the larger one. Afterwards each
    query has its rows, as if it had been run, so that ``query.shortfall`` costs nothing more.

    >>> from lightvec.peewee import together
    >>> Doc.create_table()
    >>> _ = Doc.insert_many([{"embedding": [1, 0, 0]}, {"embedding": [0, 1, 0]}]).execute()
    >>> found = together(Doc.embedding.nearest(vector, k=1) for vector in ([1, 0.1, 0], [0, 1, 0.1]))
    >>> [[doc.id for doc in docs] for docs in found]
    [[1], [2]]
    >>> Doc.drop_table()
    """
    asked: list[Any] = list(queries)
    if not asked:
        return []
    for query in asked:
        if not isinstance(query, SelectBase):
            raise InvalidOption(f"expected Peewee selects, such as Doc.embedding.nearest(...), got {show(query)}")
    database = asked[0]._database
    if any(query._database is not database for query in asked):
        raise InvalidOption("expected queries of one database: run those of another by themselves")
    selects = (
        Select([query.alias("each")], [SQL(f"{number:d}").alias("query"), SQL('"each".*')])
        for number, query in enumerate(asked)
    )
    cursor = database.execute(NodeList(tuple(selects), glue=" UNION ALL "))
    answers: list[list[Any]] = [[] for _ in asked]
    for number, *row in cursor.fetchall():
        answers[number].append(tuple(row))
    for query, rows in zip(asked, answers, strict=True):
        query._cursor_wrapper = cursor_wrapper(query, Answer(cursor.description[1:], rows, is_nested=True))
    return [list(query) for query in asked]
