"""What scripts do all day on connections of their own, native ones and those of PEP 249."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, ClassVar
from uuid import uuid4

import numpy

from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import connect, dbapi
from lightvec.pg8000.exceptions import ConnectionLost, DataError, IntegrityError, OperationalError
from tests.load.program import TABLE, UNWANTED, Broken, Program

__all__ = ["Scripts"]

#: Each client has a text of its own: with one text for all, a stranger's statement would give the right answer.
ECHO = (
    "SELECT CAST({token} AS text), CAST({vector} AS vector), {number}, current_setting('hnsw.ef_search', true), "
    "pg_backend_pid()"
)
DEFAULT = "40"


class Scripts(Program):
    """A program with a native connection and one of PEP 249; ``sessions`` are processes that answered it."""

    def __init__(self, number: int, url: str, database: Pg8000Database) -> None:
        super().__init__(number, database)
        self.sessions: set[int] = set()
        self._url = url

    def run(self, pieces: Iterable[Any]) -> None:
        """Run pieces on connections that are open until the end."""
        with connect(self._url) as self._script, dbapi.connect(self._url) as self._pep:
            super().run(pieces)

    def _echo(self, settings: dict[str, object] | None = None) -> None:
        token, vector = self._token(), self._vector()
        sql = ECHO.format(token=":token", vector=":vector", number=self.number)
        rows = self._script.run(sql, settings=settings, token=token, vector=vector) or [[]]
        self._check(rows[0][:3], [token, vector, self.number])
        # The extension's own default, or nothing where the session has not yet loaded it.
        self._check_setting(rows[0][3], settings)
        self.sessions.add(rows[0][4])

    def _check_setting(self, found: Any, settings: dict[str, object] | None) -> None:
        if settings:
            self._check(found, str(settings["hnsw.ef_search"]))
        else:
            self._check(found if found not in (None, "") else DEFAULT, DEFAULT)

    def echo(self) -> None:
        self._echo()

    def echo_with_settings(self) -> None:
        self._echo({"hnsw.ef_search": 100 + self.number, "work_mem": f"{4 + self.number}MB"})
        self._echo()

    def transaction(self) -> None:
        rows = self._new(2)
        with self._script.transaction():
            for step, token, vector in rows:
                inserted = self._script.run(
                    f"INSERT INTO {TABLE} (client, step, token, embedding) VALUES (:n, :s, :t, :v) RETURNING token",
                    n=self.number, s=step, t=token, v=vector,
                )  # fmt: skip
                self._check(inserted, [[token]])
            self._echo({"hnsw.ef_search": 300 + self.number})
            self._echo()
        self._keep(rows)

    def transaction_given_up(self) -> None:
        with suppress(Broken), self._script.transaction():
            self._insert_unwanted()
            with self._fails(DataError, "22012"), self._script.transaction():
                self._script.run("SELECT CAST(:a AS int) / 0", a=self.number)
            self._echo()
            raise Broken
        self._echo()

    def _insert_unwanted(self) -> None:
        self._script.run(
            f"INSERT INTO {TABLE} (client, step, token, embedding) VALUES (:n, -1, :t, '[1,2,3]')",
            n=self.number, t=UNWANTED,
        )  # fmt: skip

    def stream(self) -> None:
        token = self._token()
        rows = self._script.stream("SELECT g, :t::text FROM generate_series(1, 300) g", batch=70, t=token)
        self._check([tuple(row) for row in rows], [(g, token) for g in range(1, 301)])

    def stream_closed_early(self) -> None:
        token = self._token()
        rows = self._script.stream(
            "SELECT g, :t::text, current_setting('hnsw.ef_search') FROM generate_series(1, 300) g",
            batch=20, settings={"hnsw.ef_search": 500 + self.number}, t=token,
        )  # fmt: skip
        self._check(next(rows), [1, token, str(500 + self.number)])
        rows.close()
        self._echo()

    def stream_that_fails(self) -> None:
        with self._fails(DataError, "22012"):
            list(self._script.stream("SELECT :n / (50 - g) FROM generate_series(1, 300) g", batch=20, n=self.number))

    def columns(self) -> None:
        token, vector = self._token(), self._vector()
        columns = self._script.fetch_columns(
            "SELECT g, :t::text AS token, :v::vector AS embedding FROM generate_series(1, 20) g", t=token, v=vector
        )
        wanted = (list(range(1, 21)), [token] * 20, [vector.to_list()] * 20)
        got = (columns["g"].tolist(), columns["token"], columns["embedding"].tolist())
        self._check(got, wanted)

    def copy_rows(self) -> None:
        rows = self._new(20)
        values = [(self.number, *row) for row in rows]
        self._check(self._script.copy_rows(TABLE, ["client", "step", "token", "embedding"], values), 20)
        self._keep(rows)

    def copy_columns(self) -> None:
        rows = self._new(20)
        columns = {
            "client": numpy.full(20, self.number),
            "step": [step for step, _, _ in rows],
            "token": [token for _, token, _ in rows],
            "embedding": numpy.array([vector.to_list() for _, _, vector in rows], "f4"),
        }
        self._check(self._script.copy_columns(TABLE, columns), 20)
        self._keep(rows)

    def copy_with_conflicts(self) -> None:
        rows = self._new(5)
        columns = ["client", "step", "token", "embedding"]
        first = [(self.number, *row) for row in rows[:3]]
        self._check(self._script.copy_rows(TABLE, columns, first), 3)
        every = [(self.number, step, f"{token}!", vector) for step, token, vector in rows]
        self._check(self._script.copy_rows(TABLE, columns, every, on_conflict="ignore"), 2)
        self._check(self._script.copy_rows(TABLE, columns, every, on_conflict="update"), 5)
        self._keep([(step, f"{token}!", vector) for step, token, vector in rows])

    def copy_that_breaks(self) -> None:
        def rows() -> Iterator[tuple[Any, ...]]:
            yield from ((self.number, -step, UNWANTED, [1, 2, 3]) for step in range(1, 400))
            raise Broken

        for on_conflict in (None, "ignore"):
            with self._fails(Broken):
                self._script.copy_rows(TABLE, ["client", "step", "token", "embedding"], rows(), on_conflict=on_conflict)
        self._echo()

    def error(self) -> None:
        with self._fails(DataError, "22012"):
            self._script.run("SELECT CAST(:a AS int) / 0", a=self._step, settings={"hnsw.ef_search": 200})
        self._echo()

    def violation(self) -> None:
        if not self._rows:
            return
        with self._fails(IntegrityError, "23505"):
            self._script.run(
                f"INSERT INTO {TABLE} (client, step, token, embedding) VALUES (:n, :s, :t, '[1,2,3]')",
                n=self.number, s=next(iter(self._rows)), t=UNWANTED,
            )  # fmt: skip

    def timeout(self) -> None:
        with self._fails(OperationalError, "57014"):
            self._script.run("SELECT pg_sleep(5), :t::text", t=self._token(), settings={"statement_timeout": 10})
        self._echo()

    def cancelled_by_the_client(self) -> None:
        """PgBouncer hangs up on who is still waiting for a session when he asks for this: that is lost, too."""
        with connect(self._url, command_timeout=0.03) as connection:
            try:
                connection.run("SELECT pg_sleep(5), :t::text", t=self._token())
            except OperationalError as error:
                self._check(error.sqlstate == "57014" or isinstance(error, ConnectionLost), True)
            else:
                self._check("no error", "OperationalError")

    # PEP 249

    def _echo_pep(self) -> None:
        token, vector = self._token(), self._vector()
        sql = ECHO.format(token="%s", vector="%s", number=self.number)
        rows = self._pep.cursor().execute(sql, (token, vector)).fetchall()
        self._check(rows[0][:3], (token, vector, self.number))
        self._check_setting(rows[0][3], None)

    def pep(self) -> None:
        self._echo_pep()
        self._echo_pep()
        self._pep.commit()

    def pep_autocommit(self) -> None:
        self._pep.autocommit = True
        self._echo_pep()
        self._pep.autocommit = False

    def pep_many(self) -> None:
        rows = self._new(30)
        cursor = self._pep.cursor().executemany(
            f"INSERT INTO {TABLE} (client, step, token, embedding) VALUES (%s, %s, %s, %s)",
            [(self.number, *row) for row in rows],
        )
        self._check(cursor.rowcount, 30)
        self._pep.commit()
        self._keep(rows)

    def pep_many_that_fails(self) -> None:
        with self._fails(DataError, "22012"):
            self._pep.cursor().executemany("SELECT 1 / %s::int", [(n,) for n in (3, 2, 1, 0, 1)])
        self._pep.rollback()
        self._echo_pep()
        self._pep.commit()

    def pep_server_cursor(self) -> None:
        token = self._token()
        with self._pep.cursor(uuid4().hex) as cursor:
            cursor.execute("SELECT g, %s::text FROM generate_series(1, 100) g", (token,))
            self._check(cursor.fetchmany(30), [(g, token) for g in range(1, 31)])
            self._check(cursor.fetchone(), (31, token))
        self._pep.rollback()

    OFTEN: ClassVar = {
        echo: 200,
        echo_with_settings: 100,
        transaction: 40,
        transaction_given_up: 20,
        stream: 15,
        stream_closed_early: 20,
        stream_that_fails: 10,
        columns: 30,
        copy_rows: 20,
        copy_columns: 20,
        copy_with_conflicts: 10,
        copy_that_breaks: 10,
        error: 40,
        violation: 20,
        timeout: 5,
        cancelled_by_the_client: 5,
        pep: 60,
        pep_autocommit: 60,
        pep_many: 10,
        pep_many_that_fails: 10,
        pep_server_cursor: 20,
    }
