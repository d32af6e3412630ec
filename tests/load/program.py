"""A program at work in the database: small pieces, each of whose answers carries a token that nobody else has.

A piece works on one connection and gives its session back before the next: where there are fewer sessions than
programs, nobody may hold one and wait for another.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import uuid4

from peewee import IntegerField, Model, TextField

from lightvec import Vector
from lightvec.peewee import Pg8000Database, VectorField

__all__ = ["DROP", "MAKE", "NUMBERS", "TABLE", "UNWANTED", "Broken", "Program"]

TABLE = "mixed"
NUMBERS = 4_000
MAKE = f"""
CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, client int, step int, token text, embedding vector(3),
                      UNIQUE (client, step));
CREATE INDEX ON {TABLE} USING hnsw (embedding vector_l2_ops);
CREATE TABLE mixed_number (value int PRIMARY KEY);
INSERT INTO mixed_number SELECT generate_series(1, {NUMBERS})"""
DROP = f"DROP TABLE {TABLE}, mixed_number"

#: What is sent when a transaction is given up, and must not be seen by anybody.
UNWANTED = "unwanted"


def _models(database: Pg8000Database) -> tuple[Any, Any]:
    """A model of the clients' rows, and one of enough rows that an answer does not fit into the sockets between."""

    class Row(Model):
        client = IntegerField()
        step = IntegerField()
        token = TextField()
        embedding = VectorField(3, metric="l2")

        class Meta:
            table_name = TABLE
            indexes = ((("client", "step"), True),)

    class Number(Model):
        value = IntegerField(primary_key=True)

        class Meta:
            table_name = "mixed_number"

    database.bind([Row, Number])
    return Row, Number


class Broken(Exception):
    """What the caller's own code raises in the middle."""


class Program:
    """A Peewee database, what is stored in it by this program, and what came of its queries.

    ``wrong`` says what was not as it must be, and ``queries`` counts the answers that were looked at, by piece.
    """

    #: Each piece, and how often it comes among all.
    OFTEN: ClassVar[Mapping[Callable[[Any], None], int]]

    def __init__(self, number: int, database: Pg8000Database) -> None:
        self.number = number
        self.queries: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._random = random.Random(number)
        self._database = database
        self._row, self._number = _models(database)
        self._step = 0
        self._rows: dict[int, str] = {}
        self._piece = ""

    @property
    def total(self) -> int:
        """How many answers were looked at."""
        return self.queries.total()

    def work(self, is_over: Callable[[], bool]) -> None:
        """Run pieces by chance until it is over."""
        pieces, weights = list(self.OFTEN), list(self.OFTEN.values())
        self.run(iter(lambda: not is_over() and self._random.choices(pieces, weights)[0], False))

    def run(self, pieces: Iterable[Any]) -> None:
        """Run pieces, then look at all of the program's rows."""
        for piece in pieces:
            self._piece = piece.__name__
            piece(self)
        self._piece = "at the end"
        self._check(self._stored(), sorted(self._rows.items()))
        self._database.close()

    def _check(self, got: object, wanted: object) -> None:
        self.queries[self._piece] += 1
        if got != wanted:
            self.wrong.append(f"program {self.number}, {self._piece}: expected {wanted!r}, got {got!r}"[:500])

    @contextmanager
    def _fails(self, expected: type[Exception], sqlstate: str | None = None) -> Iterator[None]:
        """A query that must fail, and so."""
        try:
            yield
        except expected as error:
            found: Any = getattr(error, "orig", error)
            self._check(getattr(found, "sqlstate", None), sqlstate)
        else:
            self._check("no error", expected.__name__)

    def _token(self) -> str:
        self._step += 1
        return f"{self.number}-{self._step}-{uuid4().hex[:8]}"

    def _vector(self) -> Vector:
        return Vector([self.number, self._step, self._random.randrange(1000)])

    def _new(self, count: int = 1) -> list[tuple[int, str, Vector]]:
        """The values of new rows: step, token and vector."""
        made = []
        for _ in range(count):
            token = self._token()
            made.append((self._step, token, self._vector()))
        return made

    def _keep(self, rows: Sequence[tuple[int, str, Vector]]) -> None:
        """The rows are stored now; before they are too many, all are deleted."""
        self._rows.update((step, token) for step, token, _ in rows)
        if len(self._rows) > 400:
            with self._bound():
                deleted = self._row.delete().where(self._row.client == self.number).execute()
            self._check(deleted, len(self._rows))
            self._rows.clear()

    def _stored(self) -> list[tuple[int, str]]:
        mine = self._row.select(self._row.step, self._row.token).where(self._row.client == self.number)
        with self._bound():
            return list(mine.order_by(self._row.step).tuples())

    @contextmanager
    def _bound(self) -> Iterator[Pg8000Database]:
        """Peewee's connection, given back behind the piece."""
        with self._database.connection_context():
            yield self._database
