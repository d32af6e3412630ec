"""Several queries in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, overload

from peewee import SQL, ModelSelect, NodeList, Select, SelectBase

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import RowCursor, database_of_query, set_rows
from lightvec.peewee.generics import M
from lightvec.peewee.nearest import Nearest
from lightvec.types.inputs import show

__all__ = ["run_many"]


@overload
def run_many(queries: Iterable[ModelSelect[M]]) -> list[list[M]]: ...
@overload
def run_many(queries: Iterable[Any]) -> list[list[Any]]: ...
def run_many(queries: Iterable[Any]) -> list[list[Any]]:
    """Run several selects in one statement, and return the rows of each.

    The selects must have columns of the same types in the same order, as searches of one model
    have. If searches differ in a setting, the larger value holds for all. A search that finds too
    few rows runs again by itself, as it would alone. Afterwards each query has its rows, as if it
    had run.

    >>> from lightvec.peewee import run_many
    >>> Doc.create_table()
    >>> _ = Doc.insert_many([{"embedding": [1, 0, 0]}, {"embedding": [0, 1, 0]}]).execute()
    >>> vectors = [1, 0.1, 0], [0, 1, 0.1]
    >>> found = run_many(Doc.embedding.nearest(vector, k=1) for vector in vectors)
    >>> [[doc.id for doc in docs] for docs in found]
    [[1], [2]]
    >>> Doc.drop_table()
    """
    selects: list[Any] = list(queries)
    if not selects:
        return []
    for query in selects:
        if not isinstance(query, SelectBase):
            example = "Doc.embedding.nearest(...)"
            raise InvalidOption(f"expected Peewee selects, such as {example}, got {show(query)}")
    database = database_of_query(selects[0])
    if any(database_of_query(query) is not database for query in selects):
        raise InvalidOption("expected queries of one database: run those of another by themselves")
    numbered = (
        Select([query.alias("each")], [SQL(f"{number:d}").alias("query"), SQL('"each".*')])
        for number, query in enumerate(selects)
    )
    cursor = database.execute(NodeList(tuple(numbered), glue=" UNION ALL "))
    results: list[list[Any]] = [[] for _ in selects]
    for number, *row in cursor.fetchall():
        results[number].append(tuple(row))
    for query, rows in zip(selects, results, strict=True):
        set_rows(query, RowCursor(cursor.description[1:], rows, is_nested=True))
        if isinstance(query, Nearest) and (exact := query.exact_fallback(len(rows), database)):
            set_rows(query, database.execute(exact))
    return [list(query) for query in selects]
