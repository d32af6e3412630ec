"""How settings are made to hold for one statement, and for nothing behind it.

``set_config(name, value, true)`` holds until the transaction ends (PostgreSQL documentation, 9.28.1).
Outside a transaction block the statements before one Sync are one implicit transaction. A pooler
that sends a Sync of its own in between (pgpool-II does) breaks that, so there it is an explicit one.
Inside the caller's own block the former values come back right behind the statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lightvec.wire.settings import restoring, setting

__all__ = ["EXPLICIT", "IMPLICIT", "Framing", "Step"]


class Step(NamedTuple):
    """A statement of ours and the values of its parameters."""

    sql: str
    values: list[str] = []  # noqa: RUF012  (never changed)


BEGIN, COMMIT = Step("BEGIN"), Step("COMMIT")


class Framing:
    """The statements around one that has settings.

    ``begins`` says that they open a transaction of their own, which must be rolled back where the
    statement fails.
    """

    begins = False
    #: Whether the tag of an INSERT counts the rows that were stored, not those that were sent.
    counts_inserts = True

    def around(self, settings: Mapping[str, object], *, inside: bool) -> tuple[list[Step], list[Step]]:
        """The statements before and behind it; ``inside`` says that a transaction block is open."""
        before = Step(*setting(settings, keep=inside))
        return [before], [Step(*restoring(settings))] if inside else []


class ExplicitFraming(Framing):
    """An explicit transaction, where the implicit one of a Sync cannot be trusted."""

    begins = True

    def around(self, settings: Mapping[str, object], *, inside: bool) -> tuple[list[Step], list[Step]]:
        before, after = super().around(settings, inside=inside)
        return (before, after) if inside else ([BEGIN, *before], [COMMIT])


IMPLICIT, EXPLICIT = Framing(), ExplicitFraming()
