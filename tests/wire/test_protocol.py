"""The protocol without a socket: bytes in whatever pieces give the same events, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.pg8000.exceptions import InternalError
from lightvec.wire import protocol
from lightvec.wire.protocol import BUFFER_SIZE, Reader, row_description, row_description_message
from tests.fuzz.messages import data_row, error, message, notification, parameter_status
from tests.fuzz.messages import row_description as describe

Message = tuple[bytes, bytes]

#: As the server sends them.
MESSAGES = [
    message("Z", b"T"),
    message("C", b"SELECT 2\0"),
    describe(("a", 25), ("é", 23)),
    data_row(b"x", None),
    data_row(b"y" * 300_000),
    parameter_status("TimeZone", "UTC"),
    message("d", b"1\t2\n"),
    message("2"),
]


def read(data: bytes, sizes: list[int]) -> list[Message]:
    """The messages in bytes that come in pieces of these sizes, again and again; rows with their headers, together."""
    reader = Reader()
    messages = list(fed(reader, data, sizes))
    assert not reader.has_bytes
    return messages


def fed(reader: Reader, data: bytes, sizes: list[int]) -> Iterator[Message]:
    start = turn = 0
    while start < len(data):
        room = reader.get_buffer()
        size = min(sizes[turn % len(sizes)], len(room), len(data) - start)
        room[:size] = data[start : start + size]
        reader.buffer_updated(size)
        start, turn = start + size, turn + 1
        while True:
            if rows := reader.next_rows():
                yield b"D", rows
            elif (found := reader.next_message()) is not None:
                yield found
            else:
                break


def joined(messages: list[Message]) -> list[Message]:
    """The same with rows that follow each other as one: how many are together is a matter of the pieces."""
    found: list[Message] = []
    for code, body in messages:
        if code == b"D" and found and found[-1][0] == b"D":
            found[-1] = code, found[-1][1] + body
        else:
            found.append((code, body))
    return found


@given(
    chosen=st.lists(st.sampled_from(MESSAGES), max_size=12),
    sizes=st.lists(st.sampled_from([1, 2, 5, 7, 64, 4_096, BUFFER_SIZE]), min_size=1, max_size=4),
)
def test_any_pieces_give_the_same_messages(chosen: list[bytes], sizes: list[int]) -> None:
    if min(sizes) < 64:
        chosen = [each for each in chosen if len(each) < 1_000]
    expected = [(each[:1], each if each[:1] == b"D" else each[5:]) for each in chosen]
    assert joined(read(b"".join(chosen), sizes)) == joined(expected)


@given(st.binary(max_size=200))
def test_bytes_are_messages_or_an_error(data: bytes) -> None:
    message = ""
    try:
        list(fed(Reader(), data, [len(data) or 1]))
    except InternalError as refused:
        message = str(refused)
    assert len(message) < 400


def test_the_bodies() -> None:
    assert protocol.command_tag(b"SELECT 2\0", "ascii") == "SELECT 2"
    assert protocol.parameter_status(parameter_status("TimeZone", "UTC")[5:], "utf-8") == ("TimeZone", "UTC")
    assert protocol.notification(notification("ch", "é")[5:], "utf-8") == (7, "ch", "é")
    assert protocol.transaction_status(b"T", "ascii") == b"T"
    assert protocol.error_fields(error("22012")[5:], "utf-8")["C"] == "22012"


@given(st.binary(max_size=40))
def test_other_bodies_are_refused(body: bytes) -> None:
    parsers: list[Callable[[bytes, str], object]] = [
        *(protocol.command_tag, protocol.parameter_status, protocol.notification),
        *(protocol.transaction_status, protocol.copy_is_binary, row_description),
    ]
    for parse in parsers:
        with suppress(InternalError):
            parse(body, "utf-8")


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
    assert [tuple(column) for column in row_description(written[5:], "utf-8")] == columns


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
