"""``Json`` and ``Jsonb``: values that are sent as JSON, whatever their Python type."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class Json:
    """A value to send as ``json``; ``dumps`` turns it into text (default :func:`json.dumps`)."""

    __slots__ = ("dumps", "obj")

    def __init__(self, obj: Any, dumps: Callable[[Any], str] | None = None) -> None:
        self.obj = obj
        self.dumps = dumps or json.dumps

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.obj!r})"


class Jsonb(Json):
    """A value to send as ``jsonb``."""

    __slots__ = ()


def json_text(value: Any) -> str:
    """A value as the text of a JSON document; a str is that text already."""
    if isinstance(value, str):
        return value
    return value.dumps(value.obj) if isinstance(value, Json) else json.dumps(value)
