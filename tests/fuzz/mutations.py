"""From what a real server said to what none would say.

A change is drawn as numbers, which are read modulo whatever there is, so that it fits every conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from tests.fuzz.messages import message, messages_of

__all__ = ["Change", "changed", "changes", "strange_messages"]

#: Numbers that lengths and counts are set to: just beside what is right, and as far away as possible.
EXTREMES = (-1, -2, 0, 1, 3, 4, 5, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x3FFFFFFF, 0x7FFFFFFF, -0x80000000, 2_000_000_000)

CODES = "RKSZTDCEN123nsItAGHWdcvVEQ?\0"
_BODIES = (
    *(b"", b"\0", b"I", b"II", b"\0\0", b"\0\1", b"\xff\xff", b"\0\0\0\0", b"\0\0\0\3", b"\0\0\0\5abcd", b"\0\0\0\x0a"),
    *(
        b"client_encoding\0EVIL\0",
        b"client_encoding\0LATIN1\0",
        b"client_encoding\0SQL_ASCII\0",
        b"a\0b",
        b"SELECT 1\0",
    ),
    *(
        b"SELECT 1\0",
        b"SELECT 99",
        b"COPY 5\0",
        b"SFATAL\0VFATAL\0C57P01\0M\0\0",
        b"SERROR\0C42601\0",
        b"\0\0\0\7ch\0\xc3\xa9\0",
    ),
)


class Change(NamedTuple):
    """One change to a conversation: which one, where (a turn, a message, a byte) and what is put there."""

    kind: str
    place: int
    byte: int
    data: bytes


_ON_BYTES = ("flip", "insert", "remove", "replace", "number", "cut")
_ON_MESSAGES = ("drop", "double", "swap", "move", "code", "length", "strange", "end")

strange_messages = st.builds(message, st.sampled_from(CODES), st.sampled_from(_BODIES) | st.binary(max_size=30))

_what = st.binary(min_size=1, max_size=8) | st.sampled_from([n.to_bytes(4, "big", signed=True) for n in EXTREMES])

changes = st.lists(
    st.builds(
        Change,
        st.sampled_from(_ON_BYTES + _ON_MESSAGES),
        st.integers(0, 1000),
        st.integers(0, 10_000),
        _what | strange_messages,
    ),
    min_size=1,
    max_size=3,
)


def changed(turns: Sequence[bytes], to_do: Sequence[Change]) -> list[bytes]:
    """The turns of a conversation with these changes."""
    said = [[turn_number, code, body] for turn_number, turn in enumerate(turns) for code, body in messages_of(turn)]
    for change in to_do:
        if said:
            _change(said, change)
    return [_said_in(number, said) for number in range(len(turns))]


def _said_in(number: int, said: Sequence[Sequence[object]]) -> bytes:
    return b"".join(one[2] if one[1] == "" else message(one[1], one[2]) for one in said if one[0] == number)  # type: ignore[misc,arg-type]


def _change(said: list[list[object]], change: Change) -> None:
    place = change.place % len(said)
    turn, code, body = said[place]
    assert isinstance(code, str)
    assert isinstance(body, bytes)
    at = change.byte % (len(body) + 1)
    if change.kind in _ON_BYTES:
        said[place] = [turn, code, _with(change.kind, body, at, change.data)]
    elif change.kind == "drop":
        del said[place]
    elif change.kind == "double":
        said.insert(place, [turn, code, body])
    elif change.kind == "swap":
        other = (place + 1) % len(said)
        said[place], said[other] = [turn, *said[other][1:]], [said[other][0], code, body]
    elif change.kind == "move":
        said.insert(change.byte % len(said), said.pop(place))
    elif change.kind == "code":
        said[place] = [turn, chr(change.data[0] & 0x7F), body]
    elif change.kind == "length" and code:
        length = change.data[:4].rjust(4, b"\0")
        said[place] = [turn, "", code.encode() + length + body]
    elif change.kind == "strange":
        said.insert(place, [turn, "", change.data])
    elif change.kind == "end":
        del said[place + 1 :]
        said[place] = [turn, "", _said_in(0, [[0, code, body]])[: at + 1]]


def _with(kind: str, body: bytes, at: int, data: bytes) -> bytes:
    if kind == "flip" and body:
        at %= len(body)
        return body[:at] + bytes([body[at] ^ (1 << data[0] % 8)]) + body[at + 1 :]
    if kind == "insert":
        return body[:at] + data + body[at:]
    if kind == "remove":
        return body[:at] + body[at + len(data) :]
    if kind in ("replace", "number"):
        return body[:at] + data[:4] + body[at + len(data[:4]) :]
    return body[:at] if kind == "cut" else body
