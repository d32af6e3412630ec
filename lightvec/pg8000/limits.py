"""How long is waited: for a server that is connected to, and for the answer to a statement.

A statement that is over its time is cancelled on the server, so that it does not go on for nobody. The server has
:data:`GRACE` to say so; if it says nothing, the connection is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lightvec.errors import InvalidOption

__all__ = ["GRACE", "Deadline", "Limits"]

#: Seconds in which a cancelled statement must have ended: a new connection, with TLS, and back.
GRACE = 1.0
#: The part of a short deadline that is kept for this.
_KEPT = 0.25


class Deadline:
    """Seconds that run out, and what they are named after; None never does.

    >>> Deadline(None).remaining() is None, 4 < Deadline(5).remaining() <= 5
    (True, True)
    >>> str(Deadline(1.5, "connect_timeout"))
    '1.5 s (connect_timeout)'
    """

    __slots__ = ("_end", "name", "seconds")

    def __init__(self, seconds: float | None, name: str = "") -> None:
        self.seconds = seconds
        self.name = name
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Seconds left, as ``socket.settimeout`` takes them; ``TimeoutError`` when there are none."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:  # zero would make a socket non-blocking
            raise TimeoutError("the time is up")
        return left

    def __str__(self) -> str:
        if self.seconds is None:
            return "the system's limit"
        return f"{self.seconds:.3g} s" + (f" ({self.name})" if self.name else "")


class Limits:
    """What bounds the waiting of one connection.

    ``command_timeout`` is in seconds for each statement; ``deadline`` is a function that gives the milliseconds left
    for all that is done, as ``get_remaining_time_in_millis`` of an AWS Lambda context does, or None where there is no
    limit now.
    """

    __slots__ = ("command_timeout", "deadline")

    def __init__(
        self, command_timeout: float | None = None, deadline: Callable[[], float | None] | None = None
    ) -> None:
        self.command_timeout = command_timeout
        self.deadline = deadline

    def is_over(self) -> bool:
        """Whether the deadline leaves no time at all."""
        left = self._left()
        return left is not None and left <= 0

    def connecting(self, connect_timeout: float | None, hosts: int = 1) -> Deadline:
        """For the next of so many hosts: its ``connect_timeout``, at most its share of what the deadline leaves."""
        left = self._left()
        return _earlier(connect_timeout, "connect_timeout", None if left is None else left / hosts)

    def statement(self) -> Deadline | None:
        """Until when a statement that begins now may go on; None is for ever."""
        left = self._left()
        if left is not None:
            left -= min(GRACE, _KEPT * left)
        elif self.command_timeout is None:
            return None
        return _earlier(self.command_timeout, "command_timeout", left)

    def grace(self) -> Deadline:
        """For a statement that is over its time to end."""
        return _earlier(GRACE, "", self._left())

    def _left(self) -> float | None:
        """Seconds that the deadline leaves."""
        milliseconds = None if self.deadline is None else self.deadline()
        if milliseconds is None:
            return None
        if not isinstance(milliseconds, (int, float)):
            raise InvalidOption(
                f"expected the milliseconds left from deadline(), got {milliseconds!r}: return a number"
            )
        return max(milliseconds / 1000, 0.0)


def _earlier(seconds: float | None, name: str, left: float | None) -> Deadline:
    if left is None or (seconds is not None and seconds <= left):
        return Deadline(seconds, name)
    return Deadline(left, "deadline")
