"""Whatever a decoder is given: a value, or one class of error, soon and in little memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pg8000.types import PGInterval

from lightvec.pg8000.exceptions import DataError
from lightvec.wire.results import Result
from tests.cases import for_each
from tests.fuzz.judging import TALLY, in_memory, in_time, tried
from tests.fuzz.messages import data_row
from tests.fuzz.mutations import EXTREMES
from tests.fuzz.targets import TARGETS
from tests.scale import scaled

by_target = pytest.mark.parametrize("name", TARGETS)

#: What the grammars of the formats are made of.
_PIECES = [
    *(*"{}[]()\",\\:;=+-./_%@&?#'", *"0159", *" \t\n\r", *"eEPTxXtf", "\0", "é", "٣", "\u2028", "\ufeff", "\U0001f600"),
    *(
        "NULL",
        "NaN",
        "Infinity",
        "infinity",
        "empty",
        "0x",
        "1_0",
        "1e999",
        "-0",
        "true",
        "::",
        "=>",
        "->",
        "BC",
        "\\x",
    ),
    *("0" * 20, "9" * 5_000, "year", "mons", "days", "postgresql://", "host", "port", "password", "..", "%00", "%ff"),
]
_numbers = [n.to_bytes(4, "big", signed=True) for n in EXTREMES] + [(n % 65_536).to_bytes(2, "big") for n in EXTREMES]


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with some of its bytes replaced, left out or added."""
    data = draw(st.sampled_from(seeds))
    pieces = st.sampled_from([piece.encode() for piece in _PIECES]) | st.sampled_from(_numbers) | st.binary(max_size=4)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 6))
        data = data[:start] + draw(pieces) + data[end:]
    return data


@by_target
@tried(60, 2_000)
@given(data=st.data())
def test_what_is_almost_right(name: str, data: st.DataObject) -> None:
    feed, seeds = TARGETS[name]
    fed = data.draw(_changed(list(seeds)))
    TALLY.count(fed)
    with in_time():
        feed(fed)


@by_target
@tried(30, 1_000)
@given(pieces=st.lists(st.sampled_from(_PIECES), max_size=12), rest=st.just(b"") | st.binary(max_size=20))
def test_what_is_not_right(name: str, pieces: list[str], rest: bytes) -> None:
    fed = "".join(pieces).encode() + rest
    TALLY.count(fed)
    with in_time():
        TARGETS[name].feed(fed)


@for_each("name", TARGETS)
def test_what_is_right(name: str) -> None:
    feed, seeds = TARGETS[name]
    for seed in seeds:
        feed(seed)


# --- what was taken for a value, or for another one ------------------------------------------------------------------

REFUSED: dict[str, list[bytes]] = {
    "array of ints": [
        *(b"", b"{", b"}", b"1", b"{1", b"1}", b"{1,}", b"{,1}", b"{1,,2}", b"{1}{2}", b"{1},2", b"{1} ", b"{1}}"),
        *(b"{{1}", b"{{1},2}", b"{1,{2}}", b"{{1},{2,3}}", b"{{}}", b"{{1}},{{2}}", b"[1:2]", b"[1:2]1", b"{1\t}"),
        *(b"{x}", b"{{{{{{{1}}}}}}}", b"{" * 10_000 + b"1" + b"}" * 10_000),
    ],
    "array of texts": [b'{"a}', b'{"a"b}', b'{a"b"}', b'{"a",}', b"{a b}", b'{"a"}x', b'{"\\'],
    "array of bools": [b"{x}", b"{true}"],
    "array of ranges": [b'{"[1,2"}'],
    "bool": [b"", b"true", b"T", b"x", b"tt", b"1"],
    "bytes": [b"\\x0", b"\\x0 0", b"\\xgg", b"a\\b", b"\\400", b"\\12", b"a\\"],
    "date": [b"", b"2024-05-06 ", b"2024-05-06x", b"2024-13-06", b"10000-01-01x", "\u0662024-05-06".encode()],
    "timestamp": [b"2024-05-06", b"2024-05-06 01:02", b"2024-05-06 01:02:03.1234567", b"2024-05-06 01:02:03x"],
    "interval": [b"", b"P", b"PT", b"P1", b"P1D1Y", b"P1YT", b"1 day 1 year", "\u0661 days".encode(), b"1 day x"],
    "point": [b"", b"()", b"(1)", b"(1,2,3)", b"1,2", b"x1,2y", b"(1,2"],
    "range": [b"", b"[", b"[1,2", b"1,2)", b"[1)", b"[1,2,3)", b"x1,2y", b"[1,2)x", b"emptyx"],
    "range of times": [b"[2024-05-06 01:02:03,)x", b'["2024-05-06 01:02:03,)', b"[tomorrow,)"],
    "multirange": [b"", b"{", b"}", b"{[1,3)[5,7)}", b"{[1,3),}", b"{,[1,3)}", b"{[1,3", b"[1,3)", b"{[1,3)}}", b"{ }"],
    "record": [b"", b"(", b"(1", b"1,2", b'("a)', b'("a"b)', b"(1)x", b"(a(b)"],
    "hstore": [
        *(b"x", b'"a"', b'"a"=>', b'"a"=>1', b'"a"=>"1",', b'"a"=>"1", ', b'x"a"=>"1"', b'"a"=>"1"x'),
        *(b'"a"=>"1","b"=>"2"', b'"a"=>"1"\n', b'"a"=>"1", "b'),
    ],
    "ints": [b"1 x"],
    "text": [b"\xff"],
    "number": [b"1,5", b"0x1", b"9" * 5 + b"e" + b"9" * 30],
    "int": [b"9" * 5_000, b"1.0", b""],
    "document": [b"", b"{", b"[" * 100_000, b"1" * 5_000, b"nul"],
}


@for_each("name", REFUSED)
def test_texts_that_are_no_values(name: str) -> None:
    for data in REFUSED[name]:
        error = decoded(name, data).error
        assert isinstance(error, DataError), data
        assert len(str(error)) < 400


def decoded(name: str, data: bytes) -> Result:
    """A value of the target by this name, by way of a row."""
    feed: Any = TARGETS[name].feed
    result = Result("SELECT", list)
    result.describe([], [feed.args[0]])
    result.add_rows(data_row(data))
    return result


def ends(text: str, name: str = "range") -> tuple[Any, ...]:
    rows: Any = decoded(name, text.encode()).rows
    return rows[0][0].lower, rows[0][0].upper, rows[0][0].bounds, rows[0][0].is_empty


def test_ranges_to_the_end_of_time() -> None:
    """pg8000 takes the first and the last character for quotes, which infinity has none of."""
    moment = datetime(2024, 5, 6, 1, 2, 3)
    assert ends('["2024-05-06 01:02:03",infinity)', "range of times") == (moment, "infinity", "[)", False)
    assert ends("(,)", "range of times") == (None, None, "()", False)
    assert ends("[1,5)") == (1, 5, "[)", False)
    assert ends("empty")[3]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("array of ints", "[0:1][2:3]={{1,NULL},{3,4}}", [[1, None], [3, 4]]),
        ("array of texts", '{a,"b c",NULL,"NULL","\\"\\\\",""}', ["a", "b c", None, "NULL", '"\\', ""]),
        ("array of texts", '{{"{","}"},{",","é"}}', [["{", "}"], [",", "é"]]),
        ("array of bools", "{t,f,NULL}", [True, False, None]),
        ("record", '(1,,"a ""b"" \\\\ c","")', ("1", None, 'a "b" \\ c', "")),
        ("record", "(,)", (None, None)),
        ("multirange", "{}", []),
        ("hstore", '"a"=>"1", "b"=>NULL, "\\"\\\\"=>""', {"a": "1", "b": None, '"\\': ""}),
        ("hstore", "", {}),
        ("bytes", "a\\000\\\\", b"a\0\\"),
        ("date", "12024-05-06", "12024-05-06"),
        ("date", "0044-03-15 BC", "0044-03-15 BC"),
        ("timestamp with time zone", "0044-03-15 00:00:00.5+05:53:28 BC", "0044-03-15 00:00:00.5+05:53:28 BC"),
        ("interval", "P-1Y", PGInterval(years=-1)),
    ],
)
def test_texts_that_are_values(name: str, text: str, value: Any) -> None:
    assert decoded(name, text.encode()).rows == [[value]]


# --- long ones -------------------------------------------------------------------------------------------------------

#: How many bytes a long text has.
LONG = scaled(100_000, 1_000_000)

#: Texts that are long in one way; what is made of them is a decoder's own affair, but not the time it takes.
LONG_TEXTS: dict[str, Callable[[], bytes]] = {
    "digits": lambda: b"1" * LONG,
    "digits behind the point": lambda: b"0." + b"1" * LONG,
    "an exponent": lambda: b"1e" + b"9" * LONG,
    "blanks": lambda: b" " * LONG,
    "blanks before a word": lambda: b" " * LONG + b"x y=",
    "words": lambda: b"port=1 " * (LONG // 7),
    "names": lambda: b"a=b " * (LONG // 4),
    "commas": lambda: b"," * LONG,
    "hosts": lambda: b"postgresql://" + b"a," * (LONG // 10),
    "open braces": lambda: b"{" * LONG,
    "braces": lambda: b"{" * 10_000 + b"1" + b"}" * 10_000,
    "pairs of braces": lambda: b"{},{}," * (LONG // 6),
    "open brackets": lambda: b"[" * LONG,
    "brackets": lambda: b"[" * 10_000 + b"]" * 10_000,
    "objects": lambda: b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "quotes": lambda: b'"' * LONG,
    "an open quote": lambda: b'{"' + b"a" * LONG,
    "a quote": lambda: b'{"' + b"a" * LONG + b'"}',
    "backslashes": lambda: b"\\" * LONG,
    "a quote full of backslashes": lambda: b'{"' + b"\\\\" * (LONG // 2) + b'"}',
    "a record": lambda: b"(" + b"a," * (LONG // 2) + b")",
    "a record of quotes": lambda: b'("' + b'""' * (LONG // 2) + b'")',
    "an array": lambda: b"{" + b"1," * (LONG // 2) + b"1}",
    "an array of arrays": lambda: b"{" + b"{1}," * (LONG // 4) + b"{1}}",
    "an array of quotes": lambda: b"{" + b'"1",' * (LONG // 4) + b'"1"}',
    "ranges": lambda: b"{" + b"[1,2)," * (LONG // 6) + b"[1,2)}",
    "a vector": lambda: b"[" + b"1," * (LONG // 2) + b"1]",
    "a sparse vector": lambda: b"{" + b"1:1," * (LONG // 4) + b"1:1}/9",
    "pairs": lambda: b'"a"=>"b", ' * (LONG // 10),
    "hexadecimal digits": lambda: b"\\x" + b"00" * (LONG // 2),
    "bytes with escapes": lambda: b"\\000" * (LONG // 4),
    "years": lambda: b"9" * LONG + b" years",
    "a duration": lambda: b"P" + b"1" * LONG + b"Y",
    "colons": lambda: b"::" * (LONG // 2),
    "escapes": lambda: b"postgresql://" + b"%41" * (LONG // 3),
    "questions": lambda: b"postgresql:///?" + b"port=1&" * (LONG // 7),
    "lines": lambda: b"a:b:c:d:e\n" * (LONG // 10),
    "NULs": lambda: bytes(LONG),
}


#: What holds lengths or counts as numbers.
COUNTING = [name for name in TARGETS if name.partition(" ")[0] in ("row", "description", "message") or "binary" in name]


@for_each("name", TARGETS)
def test_long_texts_take_little_time(name: str) -> None:
    for what, make in LONG_TEXTS.items():
        fed = make()
        TALLY.count(fed)
        with in_time(scaled(2, 8), what):
            TARGETS[name].feed(fed)


@pytest.mark.parametrize("number", EXTREMES)
@for_each("name", COUNTING)
def test_numbers_are_not_believed(number: int, name: str) -> None:
    """Whatever a length or a count says, no more is allocated for it than came."""
    feed, seeds = TARGETS[name]
    written = number.to_bytes(4, "big", signed=True)
    for seed in seeds:
        for place in range(min(len(seed), 16)):
            for data in (seed[:place] + written + seed[place + 4 :], seed[:place] + written[2:] + seed[place + 2 :]):
                with in_memory(4 << 20):
                    feed(data)
