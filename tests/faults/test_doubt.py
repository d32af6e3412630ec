"""What an error says of the statement that it ends: that it did not take effect, or that this is not known."""

from __future__ import annotations

import pytest

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import DatabaseError
from tests.fuzz.messages import BIND_COMPLETE, LOGIN, PARSE_COMPLETE, READY, complete, error, message
from tests.fuzz.player import URL, playing

_BEGUN = PARSE_COMPLETE + BIND_COMPLETE
#: PgBouncer's errors have no field V.
_POOLERS = message("E", b"SFATAL\0C08P01\0Mserver conn crashed?\0\0")


@pytest.mark.parametrize(
    ("answer", "in_doubt"),
    [
        (_BEGUN + error("22012") + READY, False),
        (_BEGUN + error("57P01", "FATAL"), False),
        (_BEGUN + complete("COMMIT") + error("57P01", "FATAL"), True),
        (_BEGUN + _POOLERS, True),
        (_BEGUN + message("?"), True),
        (_BEGUN + message("Z", b"?"), True),
        (_BEGUN, True),
    ],
    ids=["error", "ended", "ended after its answer", "pooler", "no message", "no status", "hung up"],
)
def test_it_is_said_what_is_not_known(answer: bytes, in_doubt: bool) -> None:
    with playing([LOGIN, answer]), connect(URL) as conn:
        with pytest.raises(DatabaseError) as caught:
            conn.run("COMMIT")
        assert caught.value.in_doubt == in_doubt == ("is not known" in str(caught.value))


def test_what_comes_before_the_statement_is_not_about_it() -> None:
    """A pooler that hangs up on an idle client."""
    with playing([LOGIN + _POOLERS], eager=True), connect(URL) as conn:
        with pytest.raises(DatabaseError, match="crashed") as caught:
            conn.run("COMMIT")
        assert not caught.value.in_doubt
