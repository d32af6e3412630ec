"""lightvec and psycopg 3 on one database, and the values that both of them are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import pgvector
import psycopg
from hypothesis import strategies as st
from pg8000.types import Range
from pgvector.psycopg import register_vector
from psycopg.types import json as psycopg_json
from psycopg.types.range import Range as PsycopgRange

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.wire.jsonb import Json, Jsonb

#: Half an hour away from UTC, and by 5:53:28 before 1854: offsets of every length are read.
TIME_ZONE = "Asia/Kolkata"


class Both(NamedTuple):
    """The connections of both drivers."""

    ours: Connection
    cursors: dbapi.Connection
    theirs: psycopg.Connection[Any]

    @contextmanager
    def table(self, columns: str) -> Iterator[str]:
        """A table for a while; its name. The range makes a COPY into it text, where it is loaded too."""
        name = f"beside_{next(_numbers)}"
        self.theirs.execute(f"CREATE UNLOGGED TABLE {name} (n int, {columns}, r int4range)")
        try:
            yield name
        finally:
            self.theirs.execute(f"DROP TABLE {name}")

    def copied(self, query: str) -> list[bytes]:
        """The bytes that the server sends of these rows, as psycopg takes them from a binary COPY."""
        with self.theirs.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
            return [bytes(row) for row in copy]


_numbers = count(1)


@contextmanager
def open_both(url: str) -> Iterator[Both]:
    """Connections to a database of their own."""
    with connect(url) as ours, dbapi.connect(url) as cursors, psycopg.connect(url, autocommit=True) as theirs:
        theirs.execute("CREATE EXTENSION vector; CREATE TYPE mood AS ENUM ('sad', 'so-so')")
        register_vector(theirs)
        cursors.autocommit = True
        for execute in (ours.run, cursors.cursor().execute, theirs.execute):
            execute(f"SET TimeZone = '{TIME_ZONE}'")
        yield Both(ours, cursors, theirs)


class Kind(NamedTuple):
    """A type, values for a column of it, and what each driver is given for such a value."""

    declared: str
    values: list[Any]
    random: st.SearchStrategy[Any] = st.none()
    ours: Callable[[Any], Any] = lambda value: value
    theirs: Callable[[Any], Any] = lambda value: value
    #: The type's name for psycopg's ``set_types``, where it is not the type's own.
    copied_as: str = ""

    @property
    def base(self) -> str:
        """The type without its size, of an array the elements'."""
        return self.declared.partition("(")[0].removesuffix("[]")

    @property
    def copy_type(self) -> str:
        """What psycopg's ``set_types`` takes."""
        return (self.copied_as or self.base) + "[]" * self.declared.endswith("[]")

    def for_ours(self, value: Any) -> Any:
        """The value as lightvec takes it."""
        return _deep(self.ours, value)

    def for_theirs(self, value: Any) -> Any:
        """The value as psycopg takes it."""
        return _deep(self.theirs, value)


def _deep(convert: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list):
        return [_deep(convert, item) for item in value]
    return None if value is None else convert(value)


def array(kind: Kind) -> Kind:
    """Arrays of a type: empty, of one, two and three dimensions, with NULLs; psycopg's are of one class in Python."""
    one = kind.values[0]
    values = [value for value in kind.values if type(value) is type(one)]
    random = st.lists(kind.random | st.none(), max_size=5)
    arrays = [[], [one], [None], [*values, None], [[one, None], [one, one]], [[[one], [None]]]]
    return kind._replace(declared=f"{kind.declared}[]", values=arrays, random=random)


def span(size: int, most: float = 1e38) -> tuple[float, ...]:
    """As many numbers, small and large ones, of either sign."""
    return tuple((-1) ** place * most * 1.7 ** -(place % 150) for place in range(size))


UTC, INDIA = timezone.utc, timezone(timedelta(hours=5, minutes=30))
ODD = timezone(-timedelta(hours=3, minutes=30, seconds=52))
NOON = datetime(2024, 5, 6, 12, 0, 0, 123456)

NUMBERS = (0.0, -0.0, 0.1, -1.5, 1e-7, 1e6, 16777217.0, 1 + 2**-24, 1 + 3 * 2**-24)
#: The ends of float32: the largest, what still rounds to it, the least normal one, subnormal ones.
FLOAT32 = (3.4028234663852886e38, -3.4028235677e38, 1.1754943508222875e-38, 1e-40, 1.401298464324817e-45, -1e-45)
FLOAT64 = (1.7976931348623157e308, 2.2250738585072014e-308, 5e-324, -5e-324, 0.1 + 0.2, 1e16, 1e22)
#: The ends of float16, and numbers halfway between two of them.
FLOAT16 = (65504.0, -65519.99, 2049.0, 2051.0, 6.103515625e-05, 5.960464477539063e-08, -1e-7, 1 / 3)
#: Other NaNs than this are not the same as text and as binary, with either driver (``test_other_nans``).
SPECIAL = (float("nan"), float("inf"), float("-inf"))
TEXTS = ["", " ", "a\tb\n\r\\N\\.", "é\U0001f600\ufeff", "NULL", '"{},\\', "'", "\x01\x7f", "a" * 3000]
DECIMALS = [
    *("0", "-0", "0.00", "0E+3", "0E-20", "1.10", "-1.10", "100", "1E+3", "12300E+2", "9999", "10000", "0.0001"),
    *("0.00010", "1E-50", "-123456789012345678901234567890.12345678901234567890", "1E+131071", "1E-16383"),
    *("NaN", "Infinity", "-Infinity"),
]
DOCUMENTS = [{}, True, 7, -1.5, "x", 'é\\"\n', {"b": [1, {"a": None}], "a": "\u2028"}, 10**30]

_floats = st.floats(allow_nan=False) | st.just(float("nan"))
_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
_number = st.floats(width=32, allow_nan=False, allow_infinity=False)
_moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1))
_document = st.dictionaries(_text, st.integers() | st.booleans() | _text | st.lists(st.none() | _number))
_spans = st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6))

INT4 = Kind("int4", [0, -1, 2**15, 2**31 - 1, -(2**31)], st.integers(-(2**31), 2**31 - 1))
FLOAT4 = Kind("float4", [*NUMBERS, *FLOAT32, *SPECIAL], st.floats(width=32, allow_nan=False))
TIMESTAMPTZ = Kind(
    "timestamptz",
    [NOON.replace(tzinfo=zone) for zone in (UTC, INDIA, ODD)]
    + [datetime(1, 1, 2, tzinfo=UTC), datetime(1850, 1, 1, 1, 1, 1, 1, ODD), datetime(9999, 12, 31, tzinfo=INDIA)],
    _moments.map(lambda moment: moment.replace(tzinfo=INDIA)),
)
JSONB = Kind("jsonb", DOCUMENTS, _document, Jsonb, psycopg_json.Jsonb)
VECTOR = Kind(
    "vector",
    [(*NUMBERS, *FLOAT32), (0.0,), *map(span, (1, 3, 768, 2000, 16_000))],
    st.lists(_number, min_size=1).map(tuple),
    Vector,
    lambda numbers: pgvector.Vector(list(numbers)),
)
HALFVEC = Kind(
    "halfvec",
    [(*NUMBERS[:5], *FLOAT16), (-0.0,), *(span(size, 65504.0) for size in (1, 3, 768, 2000, 16_000))],
    st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1).map(tuple),
    HalfVector,
    lambda numbers: pgvector.HalfVector(list(numbers)),
)
SPARSEVEC = Kind(
    "sparsevec",
    [{}, {0: 1.5}, {8: -0.1, 3: 1e-45, 4: 0.0, 5: -0.0}, dict(enumerate(FLOAT32))],
    st.dictionaries(st.integers(0, 8), _number),
    lambda entries: SparseVector(entries, 9),
    lambda entries: pgvector.SparseVector({place: entries[place] for place in sorted(entries)}, 9),
)
BIT = Kind("bit", ["1", "0"], st.sampled_from("01"), Bit, pgvector.Bit)

SCALARS = [
    Kind("int2", [0, 1, -1, 2**15 - 1, -(2**15)], st.integers(-(2**15), 2**15 - 1)),
    INT4,
    Kind("int8", [0, 2**31, 2**63 - 1, -(2**63)], st.integers(-(2**63), 2**63 - 1)),
    Kind("oid", [0, 2**32 - 1], st.integers(0, 2**32 - 1)),
    FLOAT4,
    Kind("float8", [*NUMBERS, *FLOAT32, *FLOAT64, *SPECIAL], _floats),
    Kind(
        "numeric", [*map(Decimal, DECIMALS), 0, -1, 10**40], st.integers().map(Decimal) | st.decimals(-(10**30), 10**30)
    ),
    Kind("bool", [True, False], st.booleans()),
    Kind("text", TEXTS, _text),
    Kind("varchar", TEXTS, _text),
    Kind("name", ["", "a b", "é"]),
    Kind("bytea", [b"", bytes(range(256)), b"\\x", b"\\\\"], st.binary()),
    Kind("json", DOCUMENTS, _document, Json, psycopg_json.Json),
    JSONB,
    Kind("uuid", [UUID(int=0), UUID(int=2**128 - 1)], st.uuids()),
    Kind("date", [date(1, 1, 1), date(2000, 2, 29), date(9999, 12, 31)], st.dates()),
    Kind("time", [time(0), time(1, 2, 3, 400_000), time.max], st.times()),
    Kind("timestamp", [NOON, datetime(1, 1, 1), datetime(1999, 12, 31, 23, 59, 59, 1), datetime.max], st.datetimes()),
    TIMESTAMPTZ,
    Kind(
        "interval", [timedelta(0), timedelta(microseconds=-1), timedelta.min, timedelta.max, timedelta(3, 4, 5)], _spans
    ),
    Kind("mood", ["sad", "so-so"], st.sampled_from(["sad", "so-so"]), copied_as="text"),
    # These have no binary encoder here: COPY is text.
    Kind("timetz", [time(0, tzinfo=UTC), time(1, 2, 3, 4, INDIA), time(23, 59, 59, 999_990, ODD)]),
    Kind(
        "inet", [IPv4Address("10.0.0.1"), IPv6Address("::1"), IPv4Interface("10.0.0.1/24"), IPv6Interface("fe80::1/64")]
    ),
    Kind("cidr", [IPv4Network("10.0.0.0/8"), IPv4Network("10.0.0.1/32"), IPv6Network("fe80::/64")]),
    Kind(
        "int4range",
        [(1, 5, "[)"), (None, 5, "()"), (1, None, "[)"), (None, None, "()"), (7, 7, "[)")],
        ours=lambda bounds: Range(*bounds),
        theirs=lambda bounds: PsycopgRange(*bounds),
    ),
]
SIZED = [
    Kind("numeric(8,2)", [Decimal("1.005"), Decimal("-999999.994"), Decimal("NaN"), 1]),
    Kind("varchar(3)", ["", "abc", "é  "]),
    Kind("char(3)", ["", "a", "abc"], copied_as="text"),
    Kind("timestamp(0)", [NOON, NOON.replace(microsecond=500_000), NOON.replace(second=1, microsecond=500_000)]),
    *(VECTOR._replace(declared=f"vector({size})", values=[span(size)]) for size in (1, 3, 768, 2000, 16_000)),
    *(
        HALFVEC._replace(declared=f"halfvec({size})", values=[span(size, 65504.0)])
        for size in (1, 3, 768, 2000, 16_000)
    ),
    SPARSEVEC._replace(declared="sparsevec(9)"),
    *(
        BIT._replace(declared=f"bit({size})", values=["0" * size, "1" * size, "0" * (size - 1) + "1"])
        for size in (1, 7, 8, 9, 64_000)
    ),
    BIT._replace(
        declared="varbit", values=["1", "0" * 9, "1" * 64_000], random=st.text("01", min_size=1), copied_as="bit"
    ),
]
VECTORS = [VECTOR, HALFVEC, SPARSEVEC, BIT]
UNSIZED = [*SCALARS, *VECTORS]
ARRAYS = [array(kind) for kind in UNSIZED if kind.declared not in ("name", "mood", "cidr")]
KINDS = [*UNSIZED, *SIZED, *ARRAYS]
