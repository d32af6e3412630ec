"""What a server says, by the protocol's names of it (PostgreSQL documentation, 54.7 "Message Formats")."""

from __future__ import annotations

from struct import pack

__all__ = [
    "BIND_COMPLETE",
    "LOGIN",
    "NO_DATA",
    "NO_ROWS",
    "PARSE_COMPLETE",
    "READY",
    "answer",
    "authentication",
    "codes_of",
    "complete",
    "data_row",
    "error",
    "message",
    "messages_of",
    "notification",
    "parameter_status",
    "row_description",
    "rows",
]


def message(code: str, body: bytes = b"") -> bytes:
    """One message."""
    return code.encode() + pack("!i", len(body) + 4) + body


def messages_of(data: bytes) -> list[tuple[str, bytes]]:
    """The messages that bytes consist of: their codes and bodies. What is left at the end and is none is one, too."""
    found = []
    while len(data) >= 5:
        end = 1 + int.from_bytes(data[1:5], "big", signed=True)
        if not 5 <= end <= len(data):
            break
        found.append((chr(data[0]), data[5:end]))
        data = data[end:]
    return found


def codes_of(data: bytes) -> str:
    """Their codes alone; the bytes themselves where there are none, for the name of a test."""
    return "".join(code for code, _ in messages_of(data)) or data.hex()


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return message("S", f"{name}\0{value}\0".encode())


def authentication(method: int, more: bytes = b"") -> bytes:
    """One of the Authentication messages."""
    return message("R", pack("!i", method) + more)


def row_description(*columns: tuple[str, int], form: int = 0) -> bytes:
    """RowDescription of columns with a name and a type's OID, all in one format."""
    fields = [name.encode() + b"\0" + pack("!IhIhih", 0, 0, oid, -1, -1, form) for name, oid in columns]
    return message("T", pack("!H", len(columns)) + b"".join(fields))


def data_row(*values: bytes | None) -> bytes:
    """DataRow."""
    fields = [pack("!i", -1) if value is None else pack("!i", len(value)) + value for value in values]
    return message("D", pack("!H", len(values)) + b"".join(fields))


def complete(tag: str) -> bytes:
    """CommandComplete."""
    return message("C", f"{tag}\0".encode())


def error(sqlstate: str = "22012", severity: str = "ERROR") -> bytes:
    """ErrorResponse."""
    return message("E", f"S{severity}\0V{severity}\0C{sqlstate}\0Mit failed\0\0".encode())


def notification(channel: str, payload: str) -> bytes:
    """NotificationResponse."""
    return message("A", pack("!i", 7) + f"{channel}\0{payload}\0".encode())


PARSE_COMPLETE, BIND_COMPLETE, NO_DATA = message("1"), message("2"), message("n")
READY = message("Z", b"I")

#: What a server says to who needs no password.
LOGIN = b"".join(
    (
        authentication(0),
        parameter_status("server_version", "18.0"),
        parameter_status("client_encoding", "UTF8"),
        message("K", pack("!ii", 4321, 1234)),
        READY,
    )
)


def rows(*values: bytes | None, tag: str = "", oid: int = 25) -> bytes:
    """What a query of one column answers, from its RowDescription to its CommandComplete."""
    return row_description(("a", oid)) + b"".join(map(data_row, values)) + complete(tag or f"SELECT {len(values)}")


def answer(*parts: bytes) -> bytes:
    """What a statement answers, from its ParseComplete to the Z behind it."""
    return b"".join((PARSE_COMPLETE, BIND_COMPLETE, *parts, READY))


#: Bodies of DataRows that are no rows of one column, by what is wrong with them.
NO_ROWS: dict[str, bytes] = {
    "nothing": b"",
    "half a count": b"\0",
    "no columns": pack("!H", 0),
    "a column too many": pack("!HiciI", 2, 1, b"x", -1, 0)[:-4],
    "65,535 columns": pack("!Hic", 65_535, 1, b"x"),
    "no value": pack("!H", 1),
    "half a length": pack("!HH", 1, 0),
    "a value beyond the end": pack("!Hic", 1, 2, b"x"),
    "a value of 2 GB": pack("!Hic", 1, 0x7FFFFFFF, b"x"),
    "less than NULL": pack("!Hi", 1, -2),
    "the least of all": pack("!Hi", 1, -0x80000000),
    "more behind the last value": pack("!Hicc", 1, 1, b"x", b"y"),
    "more behind NULL": pack("!Hic", 1, -1, b"x"),
}
