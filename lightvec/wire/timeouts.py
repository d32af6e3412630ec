"""Time limits: for a connection attempt, and for the result of a statement.

A statement that runs too long is canceled on the server. If the server does not report that within
:data:`GRACE`, the connection is closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lightvec.errors import InvalidOption

__all__ = ["GRACE", "Deadline", "Limits"]

#: Seconds for a canceled statement to end: time for a second connection, with TLS.
GRACE = 1.0
#: At most this share of a deadline is reserved for that.
_RESERVED = 0.25


class Deadline:
    """A number of seconds from now, and the option that set it; None is no limit.

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
        """Seconds left, as ``socket.settimeout`` takes them; ``TimeoutError`` if there are none."""
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
    """The time limits of one connection.

    ``command_timeout`` is in seconds for each statement. ``deadline`` returns the milliseconds left for
    everything, like ``get_remaining_time_in_millis`` of an AWS Lambda context, or None for no limit.
    """

    __slots__ = ("command_timeout", "deadline")

    def __init__(
        self,
        command_timeout: float | None = None,
        deadline: Callable[[], float | None] | None = None,
    ) -> None:
        self.command_timeout = command_timeout
        self.deadline = deadline

    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self._left() == 0

    def connecting(self, connect_timeout: float | None, hosts: int = 1) -> Deadline:
        """For the next of ``hosts`` hosts: ``connect_timeout``, or a share of the deadline if less."""
        left = self._left()
        return _earlier(connect_timeout, "connect_timeout", None if left is None else left / hosts)

    def statement(self) -> Deadline | None:
        """For a statement that begins now; None is no limit."""
        left = self._left()
        if left is not None:
            left -= min(GRACE, _RESERVED * left)
        elif self.command_timeout is None:
            return None
        return _earlier(self.command_timeout, "command_timeout", left)

    def grace(self) -> Deadline:
        """For a canceled statement to end."""
        return _earlier(GRACE, "", self._left())

    def _left(self) -> float | None:
        milliseconds = None if self.deadline is None else self.deadline()
        if milliseconds is None:
            return None
        if not isinstance(milliseconds, (int, float)):
            raise InvalidOption(f"deadline() returned {milliseconds!r}, expected the milliseconds left as a number")
        return max(milliseconds / 1000, 0.0)


def _earlier(seconds: float | None, name: str, left: float | None) -> Deadline:
    if left is None or (seconds is not None and seconds <= left):
        return Deadline(seconds, name)
    return Deadline(left, "deadline")
