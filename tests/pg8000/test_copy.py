"""COPY with what the caller gives as stream: whatever fails, nothing is kept and the connection stays good."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightvec import Vector
from lightvec.pg8000 import Connection, dbapi
from lightvec.pg8000.exceptions import DataError, InterfaceError

ROWS = [[1, "a"], [2, "é\t"], [3, None]]
TEXT = "1\ta\n2\té\\t\n3\t\\N\n"


@pytest.fixture(autouse=True)
def table(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE line (id int, body text)")


def lines(conn: Connection) -> Any:
    return conn.run("SELECT * FROM line ORDER BY id")


def text_file(folder: Path) -> Any:
    path = folder / "rows.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path.open(encoding="utf-8")


def binary_file(folder: Path) -> Any:
    return io.BytesIO(TEXT.encode())


def generated(folder: Path) -> Iterator[str]:
    yield from TEXT.splitlines(keepends=True)


@pytest.mark.parametrize(
    "source",
    [
        text_file,
        binary_file,
        generated,
        lambda _: io.StringIO(TEXT),
        lambda _: [TEXT.encode()],
        lambda _: [bytearray(TEXT.encode()), memoryview(b"")],
        lambda _: ["", *TEXT],
        lambda _: [TEXT[:5], TEXT[5:].encode()],
    ],
)
def test_in(source: Any, conn: Connection, tmp_path: Path) -> None:
    stream = source(tmp_path)
    assert conn.run("COPY line FROM STDIN", stream=stream) is None
    assert conn.row_count == 3
    assert lines(conn) == ROWS
    if hasattr(stream, "close"):
        stream.close()


def test_in_of_nothing(conn: Connection) -> None:
    conn.run("COPY line FROM STDIN", stream=[])
    assert (conn.row_count, lines(conn)) == (0, [])


def test_in_and_out_of_much(conn: Connection) -> None:
    conn.run("COPY line FROM STDIN", stream=(f"{number}\t{'x' * 100}\n" for number in range(20_000)))
    assert conn.row_count == 20_000
    out = io.BytesIO()
    conn.run("COPY line TO STDOUT", stream=out)
    assert conn.row_count == 20_000
    assert out.getvalue().count(b"\n") == 20_000
    assert conn.run("SELECT 1") == [[1]]


def test_binary_both_ways(conn: Connection) -> None:
    conn.run("INSERT INTO line VALUES (1, 'a'), (2, NULL)")
    out = io.BytesIO()
    conn.run("COPY line TO STDOUT (FORMAT binary)", stream=out)
    assert out.getvalue().startswith(b"PGCOPY\n\xff\r\n\0")
    conn.run("TRUNCATE line")
    conn.run("COPY line FROM STDIN (FORMAT binary)", stream=io.BytesIO(out.getvalue()))
    assert lines(conn) == [[1, "a"], [2, None]]
    with pytest.raises(InterfaceError, match="binary COPY needs a source of bytes"):
        conn.run("COPY line FROM STDIN (FORMAT binary)", stream=io.StringIO("x"))
    with pytest.raises(InterfaceError, match="got str"):
        conn.run("COPY line FROM STDIN (FORMAT binary)", stream=["x"])
    assert lines(conn) == [[1, "a"], [2, None]]


def test_out_as_text(conn: Connection, tmp_path: Path) -> None:
    conn.run("COPY line FROM STDIN", stream=[TEXT])
    with (tmp_path / "out").open("w+", encoding="utf-8") as out:
        conn.run("COPY (SELECT * FROM line ORDER BY id) TO STDOUT", stream=out)
        out.seek(0)
        assert out.read() == TEXT


class Broken(RuntimeError):
    pass


def breaks_off() -> Iterator[str]:
    for number in range(30_000):
        yield f"{number}\tx\n"
    raise Broken("the source")


@pytest.mark.parametrize("inside", [False, True])
def test_a_source_that_breaks(inside: bool, conn: Connection) -> None:
    conn.run("INSERT INTO line VALUES (7, '')")
    if inside:
        conn.run("BEGIN; SAVEPOINT here")
    with pytest.raises(Broken, match="the source"):
        conn.run("COPY line FROM STDIN", stream=breaks_off())
    assert conn.in_failed_transaction == inside
    if inside:
        conn.run("ROLLBACK TO here; COMMIT")
    assert lines(conn) == [[7, ""]]


@pytest.mark.parametrize("source", [[1, 2], 7, [None]])
def test_a_source_of_something_else(source: Any, conn: Connection) -> None:
    with pytest.raises(TypeError):
        conn.run("COPY line FROM STDIN", stream=source)
    assert lines(conn) == []


@pytest.mark.parametrize("number", [1, 30_000])
def test_a_row_that_the_server_refuses(number: int, conn: Connection) -> None:
    with pytest.raises(DataError, match="invalid input syntax") as caught:
        conn.run("COPY line FROM STDIN", stream=["x\ty\n"] * number)
    assert caught.value.sqlstate == "22P02"
    assert lines(conn) == []


@pytest.mark.parametrize("direction", ["FROM STDIN", "TO STDOUT"])
def test_no_stream(direction: str, conn: Connection) -> None:
    for _ in range(2):
        with pytest.raises(InterfaceError, match="stream="):
            conn.run(f"COPY line {direction}")
        assert lines(conn) == []


def test_out_to_a_stream_that_takes_no_more(conn: Connection) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 1000:
                raise Broken("the disk")
            return super().write(data)

    conn.run("INSERT INTO line SELECT n, 'xxxxxxxxxxx' FROM generate_series(1, 50000) AS n")
    with pytest.raises(Broken, match="the disk"):
        conn.run("COPY line TO STDOUT", stream=Full())
    assert conn.run("SELECT count(*) FROM line") == [[50_000]]


def test_of_vectors(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE embedded (v vector(2))")
    conn.run("COPY embedded FROM STDIN", stream=["[1,2]\n", "\\N\n"])
    for _ in range(2):
        assert conn.run("SELECT v FROM embedded") == [[Vector([1, 2])], [None]]


def test_in_a_transaction_that_begins_by_itself(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    cursor.execute("CREATE TEMPORARY TABLE own (id int)")
    dbapi_conn.commit()
    cursor.execute("COPY own FROM STDIN", stream=io.StringIO("1\n2\n"))
    assert cursor.rowcount == 2
    dbapi_conn.rollback()
    assert cursor.execute("SELECT count(*) FROM own").fetchone() == (0,)
