"""What an error must be: one sentence of lightvec's own, with a remedy, and without a secret."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

from lightvec.errors import LightvecError

__all__ = ["chain", "check_remedy", "check_silence"]

#: A remedy is an order or a question behind the colon or semicolon, or what was expected.
_REMEDY = re.compile(
    r"[:;] .*\b(say|use|give|take|replace|renew|connect|set|switch|update|look|check|put|is|does|are|leave|install|"
    r"see|lower|ask|write|have|did you mean|expected)\b|, expected "
)


def check_remedy(error: BaseException) -> str:
    """The message, which is one sentence that says what to do."""
    message = str(error)
    assert isinstance(error, LightvecError), repr(error)
    assert "\n" not in message, message
    assert not message.endswith("."), message
    assert ". " not in message.replace("e.g. ", ""), f"one sentence: {message}"
    assert _REMEDY.search(message), f"no remedy: {message}"
    return message


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its causes and what they came from."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, one.__context__]


def check_silence(error: BaseException, *secrets: str) -> None:
    """No secret in an error, in its causes, in their arguments, or in the traceback as it is printed."""
    said = [text for one in chain(error) for text in (str(one), repr(one), repr(one.args), repr(vars(one)))]
    said += traceback.format_exception(error)
    for secret in secrets:
        # A traceback shows the lines of the test itself, too, which must not hold the secret as a literal.
        assert not [text for text in said if secret in text], "a secret is shown"
