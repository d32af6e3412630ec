"""The quoting function itself."""

from __future__ import annotations

from typing import Any

import pytest

from lightvec.errors import InvalidOption
from lightvec.pg8000 import Connection
from lightvec.wire.identifiers import MAX_BYTES, check_name, identifier
from tests.cases import for_each
from tests.names.hostile import HOSTILE, NO_TEXT, REFUSED, shown


@for_each("name", HOSTILE, shown)
def test_a_name_means_itself(conn: Connection, name: str) -> None:
    conn.run(f"SELECT 1 AS {identifier(name)}")
    assert [column["name"] for column in conn.columns or ()] == [name]
    assert conn.run("SELECT parse_ident(:quoted)", quoted=identifier(name, name)) == [[[name, name]]]


@for_each("name", [*REFUSED, *NO_TEXT], shown)
def test_what_is_no_name(name: Any) -> None:
    for refuse in (check_name, identifier, lambda each: identifier("public", each)):
        with pytest.raises(InvalidOption, match="expected a name"):
            refuse(name)


def test_no_part_is_no_name() -> None:
    with pytest.raises(InvalidOption):
        identifier()


def test_the_server_keeps_as_many_bytes(conn: Connection) -> None:
    assert conn.run("SHOW max_identifier_length") == [[str(MAX_BYTES)]]
