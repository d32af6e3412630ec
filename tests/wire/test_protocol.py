"""The protocol without a socket: bytes in whatever pieces give the same events, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.pg8000.exceptions import InternalError
from lightvec.wire import protocol
from lightvec.wire.protocol import (
    BUFFER_SIZE,
    CommandComplete,
    CopyData,
    DataRows,
    ErrorResponse,
    Event,
    NotificationResponse,
    ParameterStatus,
    Reader,
    ReadyForQuery,
    RowDescription,
    row_description,
    row_description_message,
)
from tests.fuzz.messages import data_row, error, message, notification, parameter_status
from tests.fuzz.messages import row_description as describe

COLUMNS = describe(("a", 25), ("é", 23))

#: Messages, and the event that each is.
EVENTS: list[tuple[bytes, Event]] = [
    (message("Z", b"T"), ReadyForQuery(b"T")),
    (message("C", b"SELECT 2\0"), CommandComplete("SELECT 2")),
    (COLUMNS, RowDescription(row_description(COLUMNS[5:]))),
    (data_row(b"x", None), DataRows(data_row(b"x", None))),
    (data_row(b"y" * 300_000), DataRows(data_row(b"y" * 300_000))),
    (parameter_status("TimeZone", "UTC"), ParameterStatus("TimeZone", "UTC")),
    (notification("ch", "é"), NotificationResponse(7, "ch", "é")),
    (message("d", b"1\t2\n"), CopyData(b"1\t2\n")),
    (message("E", b"C22012\0Mdivision\0\0"), ErrorResponse({"C": "22012", "M": "division"})),
    (message("2"), protocol.BIND_COMPLETE),
    (message("n"), protocol.NO_DATA),
]


def read(data: bytes, sizes: list[int]) -> list[Event]:
    """The events of bytes that come in pieces of these sizes, again and again."""
    reader = Reader()
    events = list(fed(reader, data, sizes))
    assert not reader.has_bytes
    return events


def fed(reader: Reader, data: bytes, sizes: list[int]) -> Iterator[Event]:
    start = turn = 0
    while start < len(data):
        room = reader.get_buffer()
        size = min(sizes[turn % len(sizes)], len(room), len(data) - start)
        room[:size] = data[start : start + size]
        reader.buffer_updated(size)
        start, turn = start + size, turn + 1
        while (event := reader.next_event()) is not None:
            yield event


def joined(events: list[Event]) -> list[Event]:
    """The same with rows that follow each other as one event: how many are together is a matter of the pieces."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, DataRows) and found and isinstance(found[-1], DataRows):
            found[-1] = DataRows(found[-1].data + event.data)
        else:
            found.append(event)
    return found


@given(
    chosen=st.lists(st.sampled_from(EVENTS), max_size=12),
    sizes=st.lists(st.sampled_from([1, 2, 5, 7, 64, 4_096, BUFFER_SIZE]), min_size=1, max_size=4),
)
def test_any_pieces_give_the_same_events(chosen: list[tuple[bytes, Event]], sizes: list[int]) -> None:
    if min(sizes) < 64:
        chosen = [pair for pair in chosen if len(pair[0]) < 1_000]
    data = b"".join(each for each, _ in chosen)
    assert joined(read(data, sizes)) == joined([event for _, event in chosen])


@given(st.binary(max_size=200))
def test_bytes_are_events_or_an_error(data: bytes) -> None:
    message = ""
    try:
        list(fed(Reader(), data, [len(data) or 1]))
    except InternalError as refused:
        message = str(refused)
    assert len(message) < 400


@given(
    columns=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9),
            st.integers(0, 2**32 - 1),
            st.integers(-(2**15), 2**15 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(-(2**15), 2**15 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.integers(0, 1),
        ),
        max_size=5,
    )
)
def test_a_description_is_written_as_it_is_read(columns: list[tuple[str, int, int, int, int, int, int]]) -> None:
    written = row_description_message([protocol.ColumnDescription(*column) for column in columns], "utf-8")
    assert [tuple(column) for column in row_description(written[5:])] == columns


@pytest.mark.parametrize(
    ("name", "codec"), [("UTF8", "utf-8"), ("LATIN1", "latin1"), ("WIN1252", "cp1252"), ("SQL_ASCII", "ascii")]
)
def test_encodings(name: str, codec: str) -> None:
    assert "x".encode(protocol.python_encoding(name)) == "x".encode(codec)


@pytest.mark.parametrize("name", ["MULE_INTERNAL", "EUC_TW", "hex", "", "utf-16"])
def test_encodings_that_python_does_not_know(name: str) -> None:
    with pytest.raises(InternalError, match="no codec"):
        protocol.python_encoding(name)


def test_the_bytes_of_a_bind() -> None:
    parameters = [protocol.Parameter(25, 0, b"x"), protocol.NULL]
    parts = protocol.bind_parts(protocol.bind_head([0, 0], b"s"), parameters, protocol.formats([1]))
    body = b"\0s\0" + pack("!HHHH", 2, 0, 0, 2) + pack("!i", 1) + b"x" + pack("!i", -1) + pack("!HH", 1, 1)
    assert b"".join(parts) == b"B" + pack("!i", len(body) + 4) + body


def test_an_error_has_its_fields() -> None:
    (event,) = read(error("22012"), [9])
    assert isinstance(event, ErrorResponse)
    assert event.fields["C"] == "22012"
