"""The end of a load over several connections: its parts are committed one after the other.

A server has no commit of several transactions at once but by PREPARE TRANSACTION, which most have not
(``max_prepared_transactions`` is 0 unless set), which Citus does not take, and which leaves locks behind for ever where
a client dies in the middle. What is done instead: nothing that PostgreSQL checks is left to the commits, so that only a
server or a network that breaks down within these milliseconds can part them. Then the server is asked what has become
of each (``txid_status``), and the error says what is in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from lightvec.pg8000.connecting import open_another
from lightvec.pg8000.copying.parts import Part, Place, shown
from lightvec.pg8000.exceptions import ConnectionLost, Error, ErrorFields, PartlyLoaded
from lightvec.pg8000.wire import Wire, check_committed

__all__ = ["commit"]

_STATUS = "SELECT pg_catalog.txid_status($1::bigint)"
_COMMITTED, _ABORTED = "committed", "aborted"
#: How often, with a second in between, the server is asked what has become of a transaction.
_TRIES = 5
#: Rows have the lower half of their transaction's number in ``xmin``.
_XID = 2**32


class _Commits:
    """The commits, in a thread of their own, so that an interrupt of the caller's does not part them."""

    def __init__(self, conn: Wire, parts: Sequence[Part]) -> None:
        self._conn = conn
        self._left = list(parts)
        self.stand: list[Part] = []
        self.doubtful: list[Part] = []
        self.failure: BaseException | None = None
        self.are_over = threading.Event()
        self.thread = threading.Thread(target=self._run, name="lightvec commit", daemon=True)

    def _run(self) -> None:
        try:
            while self._left:
                part = self._left.pop(0)
                fate = self._fate(part)
                if fate == _COMMITTED:
                    self.stand.append(part)
                    continue
                if fate != _ABORTED:
                    self.doubtful.append(part)
                return
        except BaseException as error:
            self.failure = error
            self.doubtful.append(part)
        finally:
            self.are_over.set()

    def _fate(self, part: Part) -> str | None:
        """Commit a part; what has become of it, None where nobody can say."""
        try:
            check_committed(part.conn.execute_unnamed("COMMIT"))
        except Error as error:
            fate = self._asked(part) if error.in_doubt else _ABORTED
            self.failure = _without_doubt(error) if fate == _ABORTED else error
            return fate
        return _COMMITTED

    def _asked(self, part: Part) -> str | None:
        """What the server says of a part whose commit was sent and not answered."""
        for again in range(_TRIES):
            time.sleep(1.0 if again else 0.0)
            try:
                fate = _fate_of(self._conn, part.transaction)
            except Error:
                continue  # It may be about to come back.
            if fate in (_COMMITTED, _ABORTED):
                return fate
        return None


def _fate_of(conn: Wire, transaction: int) -> str | None:
    """What has become of a transaction, asked on a connection of its own: the others may have broken, too."""
    asking = open_another(conn)
    try:
        ((fate,),) = asking.execute_unnamed(_STATUS, (transaction,)).rows or [(None,)]
    finally:
        asking.close()
    return fate if isinstance(fate, str) else None


def commit(conn: Wire, place: Place, parts: Sequence[Part]) -> None:
    """Commit every part; :class:`PartlyLoaded` where some are in and others are not.

    An interrupt meanwhile comes when the commits are over, and says that the rows are in.
    """
    commits = _Commits(conn, parts)
    interrupt = _finished(commits)
    if len(commits.stand) < len(parts):
        error = _failure(place, parts, commits)
        raise error from (None if error is commits.failure else commits.failure)
    if interrupt is not None:
        if isinstance(interrupt, KeyboardInterrupt):
            interrupt.args = ("every row is in, it came too late to stop that",)
        raise interrupt


def _finished(commits: _Commits) -> BaseException | None:
    """Wait for the commits to be over; the interrupt that came meanwhile.

    By an event: a thread whose ``join`` was interrupted counts as ended, until Python 3.12.
    """
    interrupt: BaseException | None = None
    try:
        commits.thread.start()
    except BaseException as error:
        if commits.thread.ident is None:
            raise
        interrupt = error
    while not commits.are_over.is_set():
        try:
            commits.are_over.wait()
        except BaseException as error:
            interrupt = interrupt or error
    return interrupt


def _failure(place: Place, parts: Sequence[Part], commits: _Commits) -> BaseException:
    """What to raise where not every part is in."""
    stand, doubtful = ([part for part in some if part.count] for some in (commits.stand, commits.doubtful))
    if not stand and not doubtful and commits.failure is not None:
        return commits.failure
    kept, unknown = ([span for part in some for span in part.spans] for some in (stand, doubtful))
    why = getattr(commits.failure, "what", None) or commits.failure
    sentence = f"the load was parted at its end ({why}): of {sum(part.count for part in parts):,} rows "
    said = [f"{sum(map(len, kept)):,} are in ({shown(kept)})" if kept else "none is known to be in"]
    if unknown:
        said.append(f"of {sum(map(len, unknown)):,} it is not known ({shown(unknown)})")
    sentence += ", ".join([*said, "the others are not"])
    if not place.on_citus:
        which = ", ".join(str(part.transaction % _XID) for part in (*stand, *doubtful))
        sentence += (
            f"; DELETE FROM {place.target.name} WHERE xmin::text::bigint IN ({which}) takes them out, load again then"
        )
    return PartlyLoaded(sentence, kept, unknown)


def _without_doubt(error: Error) -> Error:
    """The error of a commit of which the server says that it did not take place."""
    if isinstance(error, ConnectionLost):
        return ConnectionLost(error.what)
    error.in_doubt = False
    if isinstance(error.fields, ErrorFields):
        error.fields.in_doubt = False
    return error
