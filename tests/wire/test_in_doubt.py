"""Whether a statement may have taken effect: one function, held to what it may never say."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from lightvec.wire.session import in_doubt

#: Every way in which an exchange can end.
ENDS: list[dict[str, Any]] = [
    {"sent": sent, "ready": ready, "failed": failed, "completed": completed, "fatal": fatal}
    for sent, ready, failed, completed in product([False, True], repeat=4)
    for fatal in (None, "server", "pooler")
]


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_doubt(end: dict[str, Any]) -> None:
    doubtful = in_doubt(**end)
    if not end["sent"]:
        assert not doubtful, "without its Sync nothing takes effect"
    elif end["ready"] or end["failed"]:
        assert not doubtful, "the server has said how it ended"
    elif end["completed"]:
        assert doubtful, "a COMMIT may have been done before the session ended"
    elif end["fatal"] == "server":
        assert not doubtful, "a server that ends the session has undone what it had not finished"
    else:
        assert doubtful, "nobody has said anything of it"


def test_more_that_was_said_leaves_less_doubt() -> None:
    for end in ENDS:
        for name in ("ready", "failed"):
            assert in_doubt(**{**end, name: True}) <= in_doubt(**end)
