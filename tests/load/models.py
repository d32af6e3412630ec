"""What programs do all day with models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, ClassVar

from peewee import SQL, DataError, IntegrityError, OperationalError, Value, fn

from lightvec import Vector
from tests.load.program import NUMBERS, UNWANTED, Broken, Program

__all__ = ["Models"]


class Models(Program):
    """A program with models."""

    def create(self) -> None:
        rows = self._new()
        ((step, token, vector),) = rows
        with self._bound():
            made = self._row.create(client=self.number, step=step, token=token, embedding=vector)
            found = self._row.get_by_id(made.id)
            self._check((found.client, found.token, found.embedding), (self.number, token, vector))
        self._keep(rows)

    def insert_many(self) -> None:
        rows = self._new(10)
        with self._bound():
            query = self._row.insert_many(self._dicts(rows)).returning(self._row.token)
            self._check([row.token for row in query.execute()], [token for _, token, _ in rows])
        self._keep(rows)

    def get_or_create(self) -> None:
        rows = self._new()
        ((step, token, vector),) = rows
        with self._bound():
            for made in (True, False):
                row, is_new = self._row.get_or_create(
                    client=self.number, step=step, defaults={"token": token, "embedding": vector}
                )
                self._check((is_new, row.token, row.embedding), (made, token, vector))
        self._keep(rows)

    def upsert(self) -> None:
        rows = self._new()
        ((step, token, vector),) = rows
        with self._bound():
            for text in (UNWANTED, token):
                query = self._row.insert(client=self.number, step=step, token=text, embedding=vector)
                query.on_conflict(
                    conflict_target=[self._row.client, self._row.step], preserve=[self._row.token]
                ).execute()
            self._check(self._row.get(client=self.number, step=step).token, token)
        self._keep(rows)

    def atomic(self) -> None:
        rows = self._new(2)
        with self._bound() as db:
            with db.atomic():
                self._row.insert_many(self._dicts(rows[:1])).execute()
                with suppress(Broken), db.atomic():
                    self._row.insert_many(self._dicts([(-1, UNWANTED, self._vector())])).execute()
                    raise Broken
                with self._fails(IntegrityError, "23505"), db.atomic():
                    self._row.insert_many(self._dicts(rows[:1])).execute()
                with db.atomic():
                    self._row.insert_many(self._dicts(rows[1:])).execute()
                self._nearest()
            found = (
                self._row.select(self._row.token)
                .where(self._row.client == self.number, self._row.step >= rows[0][0])
                .order_by(self._row.step)
            )
            self._check([row.token for row in found], [token for _, token, _ in rows])
        self._keep(rows)

    def nearest(self) -> None:
        with self._bound():
            self._nearest()

    def _nearest(self) -> None:
        token, vector = self._token(), self._vector()
        setting = fn.current_setting("hnsw.ef_search").alias("setting")
        query: Any = self._row.embedding.nearest(vector, 5, exact=False, ef_search=600 + self.number).where(
            self._row.client == self.number
        )
        rows = list(query.select(self._row, Value(token).alias("said"), setting))
        wanted = (self.number, token, str(600 + self.number))
        self._check({(row.client, row.said, row.setting) for row in rows} - {wanted}, set())
        self._check([row.step for row in rows if self._rows.get(row.step, row.token) != row.token], [])

    def iterate(self) -> None:
        token = self._token()
        with self._bound():
            self._check(list(self._numbers(token)), [(n, token) for n in range(1, NUMBERS + 1)])

    def iterate_a_little(self) -> None:
        """What is not read is let go with the statement."""
        token = self._token()
        with self._bound() as db:
            rows = db.stream(self._numbered(token).tuples(), batch=2)
            self._check(list(islice(rows, 5)), [(n, token) for n in range(1, 6)])
            del rows
            self._nearest()

    def _numbers(self, token: str) -> Iterator[tuple[int, str]]:
        rows: Iterator[tuple[int, str]] = self._numbered(token).tuples().iterator()
        return rows

    def _numbered(self, token: str) -> Any:
        return self._number.select(self._number.value, SQL("%s::text", (token,))).order_by(self._number.value)

    def named_cursor(self) -> None:
        token = self._token()
        with self._bound() as db, db.atomic():
            cursor = db.execute(self._numbered(token).limit(150), named_cursor=True, array_size=40)
            self._check(cursor.fetchall(), [(n, token) for n in range(1, 151)])
            cursor.close()

    def peewee_copy(self) -> None:
        rows = self._new(10)
        with self._bound() as db:
            self._check(db.copy_rows(self._row, self._dicts(rows[:8])), 8)
            again = [{**row, "token": row["token"] + "!"} for row in self._dicts(rows)]
            fields = ["client", "step", "token", "embedding"]
            self._check(db.copy_rows(self._row, again, fields, on_conflict="update"), 10)
        self._keep([(step, f"{token}!", vector) for step, token, vector in rows])

    def peewee_copy_that_breaks(self) -> None:
        def rows() -> Iterator[dict[str, Any]]:
            yield from self._dicts([(-1, UNWANTED, self._vector())])
            raise Broken

        with self._bound() as db:
            with self._fails(Broken):
                db.copy_rows(self._row, rows())
            self._nearest()

    def peewee_errors(self) -> None:
        with self._bound() as db:
            with self._fails(DataError, "22012"):
                db.execute_sql(f"SELECT %s / 0, {self.number}", (1,))
            with self._fails(OperationalError, "57014"):
                db.execute_sql("SELECT pg_sleep(5), %s::text", [self._token()], settings={"statement_timeout": 10})
            self._nearest()

    def _dicts(self, rows: Sequence[tuple[int, str, Vector]]) -> list[dict[str, Any]]:
        return [
            {"client": self.number, "step": step, "token": token, "embedding": vector} for step, token, vector in rows
        ]

    OFTEN: ClassVar = {
        create: 40,
        insert_many: 20,
        get_or_create: 20,
        upsert: 20,
        atomic: 20,
        nearest: 100,
        iterate: 3,
        iterate_a_little: 6,
        named_cursor: 10,
        peewee_copy: 10,
        peewee_copy_that_breaks: 10,
        peewee_errors: 5,
    }
