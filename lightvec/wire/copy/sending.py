"""A COPY whose blocks are ready: sent as they are, up to the error of the server that ends it early."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lightvec.wire.copy.blocks import Block
from lightvec.wire.copy.copy_in import copy_in
from lightvec.wire.copy.target import Target
from lightvec.wire.errors import REMEDIES, DatabaseError, ErrorFields
from lightvec.wire.session import Session

__all__ = ["Progress", "is_binary", "send_blocks"]

#: Where the server says that it was, in whatever language (``CopyFromErrorCallback``,
#: src/backend/commands/copyfromparse.c); in a binary COPY a line is a row, too.
_LINE = re.compile(r"^COPY .{1,200}?, \D{1,100} (\d{1,18})", re.MULTILINE)

#: Called with the number of rows sent so far, after each block and at the end.
Progress = Callable[[int], object]


def is_binary(session: Session, target: Target) -> bool:
    """Texts travel in the client's encoding in a binary COPY; a text COPY can say its own."""
    return target.encoders is not None and session.adapters.encoding == "utf-8"


def send_blocks(
    session: Session, into: Target, binary: bool, blocks: Iterator[Block], progress: Progress | None
) -> int:
    """Run a COPY with these blocks; the rows that the server counted."""
    options = "FORMAT binary" if binary else "FORMAT text, ENCODING 'UTF8'"
    session.transport.enlarge_send_buffer()
    with copy_in(session, f"COPY {into.name} ({into.column_list}) FROM STDIN ({options})") as copy:
        try:
            for block in blocks:
                copy.write_message(block.message)
                if progress is not None and block.rows:
                    progress(block.rows)
            copy.finish()
        except DatabaseError as error:
            if error is copy.result.error:
                _say_row(error)
            raise
    return copy.result.row_count


def _say_row(error: DatabaseError) -> None:
    """Have the error say which row the server was at, unless there is something better to say."""
    line = _LINE.search(error.fields.get("W", ""))
    if isinstance(error.fields, ErrorFields) and line is not None and error.sqlstate not in REMEDIES:
        error.fields.remedy = f"it was row {int(line[1]):,} of the load"
