"""A COPY whose blocks are ready: sent as they are, with an ear for the error that ends it early."""

from __future__ import annotations

import codecs
import inspect
import re
from collections.abc import Callable, Generator, Iterator
from typing import Any

from lightvec.pg8000.copying.blocks import Block
from lightvec.pg8000.copying.target import Target
from lightvec.pg8000.duplex import make_room, send_listening
from lightvec.pg8000.exceptions import REMEDIES, ConnectionLost, DatabaseError, ErrorFields, InternalError
from lightvec.pg8000.wire import Wire

__all__ = ["Progress", "copy_in", "is_binary"]

#: Where the server says it was, in whatever language (``CopyFromErrorCallback``, src/backend/commands/copyfromparse.c,
#: until PostgreSQL 13 copy.c); in a binary COPY a line is a row, too.
_LINE = re.compile(r"^COPY .{1,200}?, \D{1,100} (\d{1,18})", re.MULTILINE)

#: What a server may say at any time: NoticeResponse, NotificationResponse, ParameterStatus.
_SAID_MEANWHILE = b"NAS"

#: Called with the number of rows sent so far, after each block and at the end.
Progress = Callable[[int], object]


def is_binary(conn: Wire, target: Target) -> bool:
    """Texts travel in the client's encoding in a binary COPY; a text COPY can say its own."""
    return target.encoders is not None and codecs.lookup(conn._client_encoding).name == "utf-8"


class _SourceLost(Exception):
    """A ConnectionLost of the caller's own, from another connection that his rows come from, not of this one."""

    def __init__(self, error: ConnectionLost) -> None:
        self.error = error


def copy_in(conn: Wire, into: Target, binary: bool, blocks: Iterator[Block], progress: Progress | None) -> int:
    """Run a COPY with these blocks; the rows that the server counted."""
    options = "FORMAT binary" if binary else "FORMAT text, ENCODING 'UTF8'"
    statement = f"COPY {into.name} ({into.column_list}) FROM STDIN ({options})"
    make_room(conn._stream)
    source = _sent(conn, blocks, progress)
    try:
        count: int = conn.execute_unnamed(statement, stream=source).row_count
    except _SourceLost as lost:
        raise lost.error from lost.error.__cause__
    except DatabaseError as error:
        _say_row(error)
        raise
    if inspect.getgeneratorstate(source) == inspect.GEN_CREATED:
        raise InternalError("the server says that the load is done, and did not ask for the rows")
    return count


def _say_row(error: DatabaseError) -> None:
    """Have the error say which row the server was at, unless there is something better to be said."""
    fields = error.fields
    line = _LINE.search(fields.get("W", ""))
    if isinstance(fields, ErrorFields) and line is not None and error.sqlstate not in REMEDIES:
        fields.remedy = f"it was row {int(line[1]):,} of the load"


def _sent(conn: Wire, blocks: Iterator[Block], progress: Progress | None) -> Generator[bytes, None, None]:
    """Send the blocks as they are when the server asks for the rows; the wire is left nothing to send but the end.

    The wire would put them together to messages of its own, which copies each block twice. Meanwhile the connection is
    taken: a statement of the caller's on it, while he makes the rows, is refused before it gets between the messages.
    """

    conn.is_streaming = True
    try:
        for block in _guarded(blocks, progress):
            conn.wait_anew()
            if _has_failed(conn, block):
                return
        yield from ()
    finally:
        conn.is_streaming = False


def _has_failed(conn: Wire, block: Any) -> bool:
    """Send a block; whether an error is what the server says meanwhile. Nothing said stops a load that goes on.

    The wire takes what comes out of here, but for a connection that is lost, for the fault of who makes the rows.
    """

    def notice(code: bytes, data: bytes) -> None:
        if code not in _SAID_MEANWHILE:
            raise InternalError(f"expected no message {code!r} in the middle of a COPY")
        conn.message_types[code](data, None)

    try:
        return send_listening(conn._stream, block, notice)
    except ConnectionLost:
        raise
    except Exception as error:
        raise ConnectionLost(f"the server's answer could not be read ({error}); the connection is closed") from error


def _guarded(blocks: Iterator[Block], progress: Progress | None) -> Iterator[Any]:
    try:
        for block in blocks:
            yield block.message
            if progress is not None and block.rows:
                progress(block.rows)
    except ConnectionLost as error:
        raise _SourceLost(error) from error
