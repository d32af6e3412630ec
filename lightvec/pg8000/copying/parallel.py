"""A load over several connections at once, each with a COPY in a transaction of its own.

Nothing is committed before every part is done, deferred constraints too: until then whatever goes wrong with one ends
the others, and nothing is kept. What a commit can still run into stands in ``committing``.

Threads, because the server does most of the work: NumPy fills messages and the kernel takes them without Python's lock.
A matrix of 768 numbers a row went into an unlogged table at 27,000 rows/s over one connection, at 37,000 by 2 threads
and at 37,000 by 2 processes (medians of six turns, client and server on 2 processors). Where Python encodes each value,
one thread does it for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from socket import SHUT_RDWR
from threading import Event, Lock
from typing import Protocol

from lightvec.errors import InvalidOption
from lightvec.pg8000.copying.blocks import HEADER, TRAILER, Block
from lightvec.pg8000.copying.committing import commit
from lightvec.pg8000.copying.parts import Part, Place, open_parts, place_of
from lightvec.pg8000.copying.sending import Progress, copy_in, is_binary
from lightvec.pg8000.copying.target import Target, ask
from lightvec.pg8000.exceptions import DatabaseError, Error, ErrorFields, OperationalError
from lightvec.pg8000.limits import GRACE
from lightvec.pg8000.wire import Wire

__all__ = ["RowsInTurn", "Spans", "check_jobs", "load_in_parts"]

#: Seconds between two looks at how far the parts are, and at what one waits for that does not go on.
_PACE, _PATIENCE = 0.1, 1.0
#: Seconds in which a part must have ended that was told to.
_LAST = 3.0

#: Of these processes, how many wait for the end of a transaction of another of them, which does not come before theirs.
#: Other locks, such as that for making the table longer, are held for a moment only.
_WAITING = """\
SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks w
WHERE NOT w.granted AND w.locktype = 'transactionid' AND w.pid = ANY ($1::int[])
  AND pg_catalog.pg_blocking_pids(w.pid) && $1::int[]"""

#: The same on Citus, where it is on other nodes that they wait; a process of another node has that one's number ahead.
_WAITING_ON_CITUS = """\
SELECT pg_catalog.count(*) FROM pg_catalog.citus_lock_waits
WHERE waiting_gpid % 10000000000 = ANY ($1::int[]) AND blocking_gpid % 10000000000 = ANY ($1::int[])"""

_FOR_EACH_OTHER = (
    "two parts of the load write the same row or the same unique key, or a trigger does for them, so that one waits "
    "for the other and neither can be committed first"
)
_ONE_JOB = "load with one job"
_FOREIGN_KEY, _DEADLOCK = "23503", "40P01"


class _Stopped(Exception):
    """Another part failed."""


class Source(Protocol):
    """Where the parts' rows come from."""

    def share(self, parts: Sequence[Part]) -> None:
        """Before anything is sent: divide what can be divided."""

    def feed(self, crew: Crew) -> None:
        """In the caller's thread: give the parts their rows, and look after the crew meanwhile."""

    def blocks(self, part: Part, crew: Crew) -> Iterator[Block]:
        """In the part's thread: the COPY of the part's rows."""

    def end(self) -> None:
        """Have every part that waits for rows wake up."""


class Spans:
    """Rows that can be got at by their number: each part has as many, one after the other."""

    def __init__(self, length: int, blocks: Callable[[Wire, range], Iterator[Block]]) -> None:
        self._length = length
        self._blocks = blocks

    def feed(self, crew: Crew) -> None:
        """All have their rows."""

    def share(self, parts: Sequence[Part]) -> None:
        """Divide the rows."""
        ends = [self._length * number // len(parts) for number in range(len(parts) + 1)]
        for part, start, stop in zip(parts, ends[:-1], ends[1:], strict=True):
            part.take(range(start, stop))

    def blocks(self, part: Part, crew: Crew) -> Iterator[Block]:
        """The part's own rows."""
        (span,) = part.spans
        for block in self._blocks(part.conn, span):
            yield block
            if block.rows:
                part.sent = block.rows - span.start

    def end(self) -> None:
        """None waits."""


class RowsInTurn:
    """Rows of an iterable: the caller's own thread reads and encodes them, whichever part is free sends the next block.

    Python would not let several threads encode at once, and they would keep the one that reads waiting for its lock.
    """

    def __init__(self, jobs: int, blocks: Callable[[Wire], Iterator[Block]]) -> None:
        self._make = blocks
        self._queue: Queue[tuple[range, Block] | None] = Queue(2 * jobs)

    def share(self, parts: Sequence[Part]) -> None:
        """Begin: all the connections take what suits the first."""
        self._blocks = self._make(parts[0].conn)

    def feed(self, crew: Crew) -> None:
        """Make the blocks, until there is no row left or a part fails."""
        number = 0
        for block in self._blocks:
            if not block.rows:
                continue
            # The memory of a block is used again for the next one.
            item = range(number, block.rows), Block(bytes(block.message), block.rows)
            if not self._is_put(item, crew):
                return
            number = block.rows
        self._is_put(None, crew)

    def _is_put(self, item: tuple[range, Block] | None, crew: Crew) -> bool:
        """Hand it out, when there is room; False if a part has failed."""
        while not crew.has_failed:
            crew.look()
            with suppress(Full):
                self._queue.put(item, timeout=_PACE)
                return True
        return False

    def blocks(self, part: Part, crew: Crew) -> Iterator[Block]:
        """The blocks that the part takes."""
        is_binary_here = is_binary(part.conn, crew.target)
        if is_binary_here:
            yield Block(HEADER, 0)
        while (item := self._queue.get()) is not None:
            span, block = item
            part.take(span)
            yield block
            part.sent += len(span)
        self._queue.put(None)  # For the next one; there is room, since nothing stood behind it.
        crew.check()
        if is_binary_here:
            yield Block(TRAILER, 0)

    def end(self) -> None:
        """Have one wake up, which wakes the next."""
        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        with suppress(Full):
            self._queue.put_nowait(None)


def check_jobs(jobs: int, on_conflict: str | None) -> None:
    """:class:`InvalidOption` for what is no number of jobs, and for jobs that would wait for each other."""
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise InvalidOption(f"expected jobs, the number of connections to load over, to be at least 1, got {jobs!r}")
    if jobs > 1 and on_conflict is not None:
        raise InvalidOption(
            f'on_conflict="{on_conflict}" goes with one job: rows with the same key in two parts of a load would wait '
            f"for each other, and which of them is the last one nobody could say"
        )


def load_in_parts(conn: Wire, target: Target, source: Source, jobs: int, progress: Progress | None) -> int:
    """Load over so many connections like this one; how many rows went in.

    The connection itself only looks whether the parts wait for each other; meanwhile it is taken, as by any load.
    """
    place = place_of(conn, target)
    with open_parts(conn, jobs) as parts:
        source.share(parts)
        conn.is_streaming = True
        try:
            Crew(conn, place, parts, source, progress).load()
        finally:
            conn.is_streaming = False
        commit(conn, place, parts)
    total = sum(part.count for part in parts)
    if progress is not None:
        progress(total)
    return total


class Crew:
    """The parts at work. ``check`` is for their threads, ``look`` for the caller's."""

    def __init__(
        self, conn: Wire, place: Place, parts: Sequence[Part], source: Source, progress: Progress | None
    ) -> None:
        self._conn = conn
        self.target = place.target
        self._waiting = _WAITING_ON_CITUS if place.on_citus else _WAITING
        self._parts = parts
        self._source = source
        self._progress = progress
        self._news = Event()
        self._lock = Lock()
        self._failure: BaseException | None = None
        self._is_stopped = False
        self._next_report = self._next_look = 0.0
        self._seen: list[int] = []

    @property
    def has_failed(self) -> bool:
        """Whether a part has failed."""
        return self._failure is not None

    def load(self) -> None:
        """Have every part load its rows; what goes wrong first, once all have ended."""
        try:
            for part in self._parts:
                part.start(self._work)
            self._source.feed(self)
            while not self.has_failed and not all(part.is_over() for part in self._parts):
                self._news.wait(_PACE)
                self._news.clear()
                self.look()
        except BaseException:
            self._stop()
            raise
        if self._failure is not None:
            self._stop()
            raise self._failure

    def look(self) -> None:
        """Say how far it is, and whether parts wait for each other, now and then."""
        now = time.monotonic()
        if self._progress is not None and now >= self._next_report:
            self._next_report = now + _PACE
            self._progress(sum(part.sent for part in self._parts))
        if now >= self._next_look:
            self._next_look = now + _PATIENCE
            self._look_for_waiting()

    def check(self) -> None:
        """Raise where the load has failed."""
        if self._is_stopped:
            raise _Stopped

    # In the parts' threads

    def _work(self, part: Part) -> None:
        try:
            binary = is_binary(part.conn, self.target)
            part.count = copy_in(part.conn, self.target, binary, self._watched(part), None, part.row_at)
            # What is deferred is checked at the commit otherwise, when another part may be in already.
            part.conn.execute_unnamed("SET CONSTRAINTS ALL IMMEDIATE")
            part.is_loaded = True
        except BaseException as error:
            self._fail(error)
        finally:
            self._news.set()

    def _watched(self, part: Part) -> Iterator[Block]:
        for block in self._source.blocks(part, self):
            self.check()
            yield block

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None and not isinstance(error, _Stopped):
                self._failure = _advised(error)

    # In the caller's

    def _look_for_waiting(self) -> None:
        """Ask the server whether one part waits for another, if one has not gone on for a while."""
        before, self._seen = self._seen, [-1 if part.is_loaded else part.sent for part in self._parts]
        if not any(was == now >= 0 for was, now in zip(before, self._seen, strict=False)):
            return
        self._conn.is_streaming = False
        try:
            pids = "{" + ",".join(str(part.pid) for part in self._parts) + "}"
            (waiting,) = ask(self._conn, self._waiting, pids, read=int)
        finally:
            self._conn.is_streaming = True
        if waiting:
            raise OperationalError(f"{_FOR_EACH_OTHER}: nothing was kept, {_ONE_JOB}")

    def _stop(self) -> None:
        """Have every part end: at its next block, or by a cancel of what it waits for on the server."""
        self._is_stopped = True
        end = time.monotonic() + _LAST
        while still := [part for part in self._parts if not part.is_over()]:
            self._source.end()
            for part in still:
                if time.monotonic() > end:
                    _cut(part.conn)
                elif not part.is_over(0.05):
                    with suppress(Error):
                        part.conn.cancel(timeout=GRACE)
                    part.is_over(_PACE)


def _cut(conn: Wire) -> None:
    """End a connection under whoever waits for it."""
    with suppress(OSError):
        conn._stream.socket.shutdown(SHUT_RDWR)


def _advised(error: BaseException) -> BaseException:
    """What a part failed with, with what its being a part has to do with that."""
    fields = error.fields if isinstance(error, DatabaseError) else None
    if isinstance(error, DatabaseError) and isinstance(fields, ErrorFields):
        if error.sqlstate == _DEADLOCK:
            fields.remedy = f"{_FOR_EACH_OTHER}: {_ONE_JOB}"
        elif error.sqlstate == _FOREIGN_KEY:
            told = f"if it refers to a row of this load, that may be in another part: {_ONE_JOB}"
            fields.remedy = "; ".join(filter(None, (fields.remedy, told)))
    return error
