"""The rows of a statement a batch at a time.

Streamed rows come from a portal that the server keeps until the last one. There is no Sync before the end: a portal
lives as long as its transaction, and a pooler leaves the server with us. Pages are parts of an answer that was asked
for as a whole.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightvec.pg8000 import messages
from lightvec.pg8000.exceptions import InternalError
from lightvec.pg8000.formats import gives_rows, kind_of
from lightvec.pg8000.messages import DESCRIBE_PORTAL, DESCRIBE_STATEMENT, FLUSH, SYNC, Parameter
from lightvec.pg8000.results import Result

if TYPE_CHECKING:
    from lightvec.pg8000.conversation import Answers
    from lightvec.pg8000.wire import Wire

__all__ = ["paged", "sent_and_read", "streamed"]

#: What ends a batch: CommandComplete, EmptyQueryResponse, PortalSuspended, ErrorResponse.
_END_OF_BATCH = b"CIsE"


def streamed(
    wire: Wire,
    statement: str,
    vals: Sequence[Any],
    oids: Sequence[int | None],
    batch: int,
    settings: Mapping[str, object] | None,
) -> Generator[Any, None, None]:
    """The rows (:meth:`lightvec.pg8000.wire.Wire.stream_rows`); the statement is sent when the first is asked for."""
    wire.check_usable()
    wire.meet(vals)
    if settings:
        wire.meet_citus()  # How they are sent goes by that.
    result = Result(statement, wire.row_class)
    result.after_copy = b""  # The Sync is yet to come.
    parameters = wire.parameters(vals, oids)
    before, after = _around(wire, statement, settings)
    code = b""
    try:
        try:
            wire.is_streaming = True
            code = _start(wire, result, parameters, before, batch)
            while result.error is None:
                rows, result.rows = result.rows or [], []
                if code == b"s" and len(rows) != batch:
                    raise InternalError(
                        f"expected {batch:,} rows of a longer answer, got {len(rows):,}: rows were lost"
                    )
                yield from rows
                if code != b"s":
                    break
                code = wire.exchange(messages.execute(batch) + FLUSH, [result], until=_END_OF_BATCH)
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            wire.cut_short()  # Who interrupts does not want to wait for the end of the rows.
            raise
        finally:
            wire.is_streaming = False
            result.end()  # What was not asked for does not come.
            if not wire.closed:
                behind = () if code == b"E" else after
                data = b"".join(statement.data for statement in behind)
                wire.exchange(data + SYNC, [statement.result for statement in behind] or [result])
    except BaseException:
        wire.is_streaming = False
        wire.close_unless_in_step()
        raise
    if result.error is not None:
        raise result.error


def paged(wire: Wire, result: Result, answers: Answers | None, page: int) -> Generator[list[Any], None, None]:
    """The rows (:meth:`lightvec.pg8000.wire.Wire.rows_in_pages`) of a result, and of answers not yet read to their end.

    Here all is sent at once, its Sync too: what is not yet read waits in the sockets, and the server waits for room.
    """
    try:
        while True:
            rows, result.rows = result.rows, []
            if rows:
                result.taken += len(rows)
                yield rows
            elif answers is None or answers.are_over:
                break
            else:
                wire.check_usable()
                wire.exchange(b"", answers, page=page)
    finally:
        result.rows = None
    if result.error is not None:
        raise result.error


def _around(wire: Wire, statement: str, settings: Mapping[str, object] | None) -> tuple[list[Any], Sequence[Any]]:
    """What goes before the statement and what goes behind it: the look-up of types, and settings."""
    frame = wire.frame(settings, keep=wire.in_transaction)
    return [*wire.ahead(statement, None), *frame.before], frame.after


def _start(wire: Wire, result: Result, parameters: Sequence[Parameter], before: Sequence[Any], batch: int) -> bytes:
    """Send the statement and read its first batch.

    The columns' formats must be known first. In its first run the statement is described in a round trip of its own:
    that is little beside the batches to come, all of which have their vectors in binary then.
    """
    sql = wire.encode(result.statement)
    data = b"".join(statement.data for statement in before) + messages.parse(sql, parameters)
    results = [*(statement.result for statement in before), result]
    formats = wire.wanted_formats(kind_of(result.statement, parameters))
    if not formats and gives_rows(result.statement):
        if sent_and_read(wire, data + DESCRIBE_STATEMENT + FLUSH, results, until=b"TnE") == b"E":
            return b"E"
        formats, data, results = wire.binary_formats(result), b"", [result]
    data += messages.bind(parameters, formats) + DESCRIBE_PORTAL + messages.execute(batch) + FLUSH
    return sent_and_read(wire, data, results, until=_END_OF_BATCH)


def sent_and_read(wire: Wire, data: bytes, results: list[Result], until: bytes) -> bytes:
    """Send, and read up to one of these codes for the last result; an error of one before it becomes the last one's."""
    wire.exchange(data, (), until=b"")
    for result in results[:-1]:
        if wire.exchange(b"", [result], until=b"CIE") == b"E":
            results[-1].error = result.error
            return b"E"
    return wire.exchange(b"", results[-1:], until=until)
