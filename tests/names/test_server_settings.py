"""Names and values of the embedded server's settings; its account and its database are always ``postgres``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightvec.errors import InvalidOption
from lightvec.server import Server
from tests.cases import for_each
from tests.names.hostile import HOSTILE, NO_TEXT, REFUSED, shown

#: What can be the name of a setting, if only the server knows of it.
PLAIN = ("a.b", "select", "user", "UPPER")


@for_each(
    "name",
    [*(name for name in (*HOSTILE, *REFUSED) if name not in PLAIN and set(name) - set("xy")), *NO_TEXT[:-1]],
    shown,
)
def test_what_is_no_setting(tmp_path: Path, name: Any) -> None:
    with pytest.raises(InvalidOption, match="is not the name of a PostgreSQL setting"):
        Server(tmp_path / "db", settings={name: "on"})
    assert not (tmp_path / "db").exists()


@for_each("value", ["\0", "a\0b"], shown)
def test_what_is_no_value(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidOption, match="cannot hold a zero byte"):
        Server(tmp_path / "db", settings={"names.value": value})
