"""The one table of what reads bytes that come from elsewhere: how to feed it, and what it is usually fed.

A feed raises an AssertionError, or whatever came out that should not have, where it finds a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import peewee

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidOption, InvalidVector, LightvecError
from lightvec.pg8000 import connect, hstore
from lightvec.pg8000.exceptions import InternalError
from lightvec.wire.adapters import Adapters
from lightvec.wire.libpq import conninfo, passfile
from lightvec.wire.libpq.target import resolve
from lightvec.wire.protocol import TEXT
from lightvec.wire.protocol import row_description as parse_row_description
from lightvec.wire.results import Decoder, Result
from tests.fuzz import filters
from tests.fuzz.judging import check_in_step
from tests.fuzz.messages import LOGIN, answer, data_row, message, row_description, rows
from tests.fuzz.player import URL, playing
from tests.fuzz.uses import USES, Opener

__all__ = ["SPLIT", "TARGETS", "Target", "conversations"]


class Target(NamedTuple):
    """What is fed, and bytes that it takes."""

    feed: Callable[[bytes], None]
    seeds: Sequence[bytes]


def _check_short(error: Exception) -> None:
    """However long what is refused may be."""
    assert len(str(error)) < 400


# --- values --------------------------------------------------------------------------------------------------------


def _vector_text(cls: Any, data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        value = cls.from_text(text)
    except InvalidVector as error:
        _check_short(error)
        return
    assert cls.from_text(value.to_text()) == value
    assert cls.from_binary(value.to_binary()) == value


def _vector_binary(cls: Any, data: bytes) -> None:
    try:
        value = cls.from_binary(data)
    except InvalidVector as error:
        _check_short(error)
        return
    assert value.to_binary() == data


def _value(decode: Decoder, data: bytes) -> None:
    """A value of a row, by way of the row."""
    result = Result("SELECT", list)
    result.describe([], [decode])
    result.add_rows(data_row(data))
    if result.error is None:
        assert result.rows is not None
        assert len(result.rows) == 1
    else:
        assert isinstance(result.error, LightvecError)
        _check_short(result.error)


def _row(data: bytes) -> None:
    """A row of three columns; what is taken for one says each of its bytes."""
    result = Result("SELECT", list)
    result.describe([], [bytes] * 3)
    try:
        result.add_rows(message("D", data))
    except InternalError:
        return
    assert result.error is None
    assert result.rows is not None
    assert data_row(*result.rows[0])[5:] == data


def _description(data: bytes) -> None:
    try:
        columns = parse_row_description(data, "utf-8")
    except InternalError:
        return
    assert sum(19 + len(column.name.encode()) for column in columns) + 2 == len(data)


_VALUES: Mapping[str, tuple[int, Sequence[bytes]]] = {
    "array of ints": (1007, [b"{1,NULL,-3}", b"{{1,2},{3,4}}", b"[0:1]={1,2}", b"{}"]),
    "array of texts": (1009, [b'{a,"b c",NULL,"NULL","\\"\\\\",""}', "{é}".encode(), b'{{"{"},{"}"}}']),
    "array of bools": (1000, [b"{t,f,NULL}"]),
    "array of bytes": (1001, [b'{"\\\\x00ff","\\\\x"}']),
    "array of floats": (1022, [b"{1.5,NaN,-Infinity,1e-300}"]),
    "array of times": (1185, [b'{"2024-05-06 01:02:03+05:30",infinity}']),
    "array of ranges": (3905, [b'{"[1,5)",empty}']),
    "array of multiranges": (6150, [b'{"{[1,5)}","{}"}']),
    "array of documents": (199, [b'{"{\\"a\\": [1]}"}']),
    "bool": (16, [b"t", b"f"]),
    "bytes": (17, [b"\\x00ff5c", b"a\\000\\\\b", b"\\x"]),
    "date": (1082, [b"2024-05-06", b"infinity", b"0044-03-15 BC", b"12024-05-06"]),
    "document": (3802, [b'{"a": [1, -1.5e3, null, true, "\\u00e9\\n"]}', b"[[[]]]"]),
    "float": (701, [b"1.5", b"NaN", b"-Infinity", b"1e-300"]),
    "address": (869, [b"10.0.0.1", b"10.0.0.1/24", b"fe80::1/64", b"::ffff:1.2.3.4"]),
    "networks": (651, [b"{10.0.0.0/8,fe80::/64}"]),
    "int": (23, [b"-123", b"2147483647"]),
    "ints": (22, [b"1 2 3"]),
    "interval": (1186, [b"1 year 2 mons -3 days -04:05:06.789", b"00:00:00", b"P1Y2M3DT4H5M6.5S"]),
    "number": (1700, [b"123456789.000123", b"NaN", b"-Infinity"]),
    "multirange": (4451, [b"{[1,5),[7,)}", b"{}"]),
    "multirange of times": (4533, [b'{["2024-05-06 01:02:03",infinity)}']),
    "point": (600, [b"(1.5,-2)"]),
    "range": (3904, [b"[1,5)", b"empty", b"(,)"]),
    "range of dates": (3912, [b"[2024-05-06,2024-05-07)", b"[infinity,)"]),
    "range of numbers": (3906, [b"(1.5,2.50]"]),
    "range of times": (3910, [b'["2024-05-06 01:02:03+00","2024-05-06 01:02:03+05:30")']),
    "record": (2249, [b'(1,,"a ""b"" \\\\ c",NULL)', b"()", b"(,)"]),
    "text": (25, ["é\n".encode(), b""]),
    "time": (1083, [b"01:02:03.000004", b"23:59:59"]),
    "timestamp": (1114, [b"2024-05-06 01:02:03.5", b"-infinity", b"0044-03-15 00:00:00 BC"]),
    "timestamp with time zone": (1184, [b"2024-05-06 01:02:03+05:30", b"1850-01-01 00:00:00-03:30:52"]),
    "uuid": (2950, [b"00112233-4455-6677-8899-aabbccddeeff"]),
}

_VECTORS: Mapping[Any, Sequence[Any]] = {
    Vector: [Vector([1, -2.5, 1e-5]), Vector([3e38])],
    HalfVector: [HalfVector([1, -2.5, 1e-5]), HalfVector([65504])],
    SparseVector: [SparseVector({0: 1.5, 2: -2}, 6), SparseVector({}, 5)],
    Bit: [Bit("101"), Bit("1" * 9)],
}


# --- connection strings and password files -------------------------------------------------------------------------


def _connection_string(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(InvalidOption):
        conninfo.parse(text)
        resolve(text, environ={"HOME": "/nowhere"})


def _password_file(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "pgpass")
        path.write_bytes(data)
        path.chmod(0o600)
        lines = passfile.entries(path)
    assert all(len(line) == 5 for line in lines)
    found = passfile.find(lines, "db.example", 5432, "shop", "me")
    assert found is None or found


# --- conversations -------------------------------------------------------------------------------------------------

#: Between the turns of a conversation that is kept as bytes.
SPLIT = b"\0turn\0"


def _use(name: str, data: bytes) -> None:
    opener = Opener(URL)
    with playing(data.split(SPLIT)) as played:
        try:
            USES[name](opener)
        except LightvecError:
            pass
        except peewee.PeeweeException:
            assert name.startswith("peewee")
        for connection in opener.connections:
            check_in_step(connection, played)


def _message(code: str, data: bytes) -> None:
    """A message of this code ahead of a good answer, which must then be taken for what it is or not at all."""
    with playing([LOGIN, answer(message(code, data), rows(b"x"))]) as played:
        connection = connect(URL)
        with suppress(LightvecError):
            assert connection.run("SHOW a") == [["x"]]
        check_in_step(connection, played)


_MESSAGES: Mapping[str, Sequence[bytes]] = {
    "A": [b"\0\0\0\7channel\0payload\0"],
    "E": ["SERROR\0VERROR\0C22012\0Mé\0Dd\0Hh\0P1\0\0".encode()],
    "N": [b"SNOTICE\0VNOTICE\0C00000\0Mm\0\0"],
    "R": [b"\0\0\0\0", b"\0\0\0\3", b"\0\0\0\5salt", b"\0\0\0\x0aSCRAM-SHA-256\0\0"],
    "S": [b"client_encoding\0UTF8\0", b"TimeZone\0UTC\0"],
}

TARGETS: dict[str, Target] = {
    "filter": Target(filters.feed, filters.SEEDS),
    **{
        f"{cls.__name__} as text": Target(partial(_vector_text, cls), [value.to_text().encode() for value in values])
        for cls, values in _VECTORS.items()
    },
    **{
        f"{cls.__name__} as binary": Target(partial(_vector_binary, cls), [value.to_binary() for value in values])
        for cls, values in _VECTORS.items()
    },
    **{name: Target(partial(_value, Adapters().decoder(oid, TEXT)), seeds) for name, (oid, seeds) in _VALUES.items()},
    "hstore": Target(
        partial(_value, lambda data: hstore.from_text(data.decode())), [b'"a"=>"1", "b"=>NULL, "\\"\\\\"=>""', b""]
    ),
    "row": Target(_row, [data_row(b"a", None, b"")[5:]]),
    "description": Target(_description, [row_description(("a", 25), ("b", 23))[5:], row_description()[5:]]),
    "connection string": Target(
        _connection_string,
        [
            *(b"postgresql://me:hunter2@[::1]:5432,db/shop?sslmode=require&application_name=a%20b", b"shop"),
            *(
                b"host=/tmp password='it\\'s hunter2' port=5432",
                b"embedded:data",
                b"embedded:~nobody/x",
                b"postgres://",
            ),
        ],
    ),
    "password file": Target(_password_file, [b"# c\n*:5432:shop:me:a\\:b\r\ndb.example:*:*:*:secret\n"]),
    **{f"message {code}": Target(partial(_message, code), seeds) for code, seeds in _MESSAGES.items()},
}


def conversations(recordings: Mapping[str, Sequence[bytes]]) -> dict[str, Target]:
    """A target for each use, beside those of the table."""
    return {f"use {name}": Target(partial(_use, name), [SPLIT.join(turns)]) for name, turns in recordings.items()}
