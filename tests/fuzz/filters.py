"""Filters as they come by HTTP, and what must hold of the SQL whatever is in them."""

from __future__ import annotations

import json
import re
from typing import Any

import peewee
from peewee import (
    BooleanField,
    CharField,
    DateTimeField,
    DecimalField,
    FloatField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
)
from playhouse import postgres_ext

from lightvec.errors import InvalidOption
from lightvec.peewee import Pg8000Database, where

__all__ = ["FIELDS", "KEYS", "SEEDS", "Note", "condition", "feed"]


class Note(Model):
    """What is asked for, and beside it what may not be."""

    id: Any
    title = TextField(null=True)
    word = CharField(null=True)
    price = FloatField(null=True, column_name="unit_price")
    exact = DecimalField(null=True)
    count = IntegerField(null=True)
    is_new = BooleanField(null=True)
    at = DateTimeField(null=True)
    code = UUIDField(null=True)
    meta = postgres_ext.BinaryJSONField(null=True)
    plain = postgres_ext.JSONField(null=True)
    core = peewee.JSONField(null=True)
    secret = TextField(null=True)

    class Meta:
        table_name = "fuzz_note"
        database = Pg8000Database("postgresql://nobody@localhost/nothing")


FIELDS = [
    *(Note.title, Note.word, Note.price, Note.exact, Note.count, Note.is_new, Note.at, Note.code),
    *(Note.meta["lang"], Note.meta.path("a", "b"), Note.plain["lang"], Note.core["lang"]),
]
KEYS = [
    *("title", "word", "price", "unit_price", "exact", "count", "is_new", "at", "code"),
    *("meta.lang", "meta.a.b", "plain.lang", "core.lang"),
]
SEEDS = [
    json.dumps(body).encode()
    for body in (
        {"price": {"lte": 10}, "or": [{"title": "a"}, {"meta.lang": "en"}], "is_new": True},
        {"$and": [{"core.lang": {"$in": ["en", 1, None]}}, {"$not": {"count": {"between": [1, 2]}}}]},
        {"at": {"gte": "2024-05-06T07:08:09Z"}, "code": "00112233445566778899aabbccddeeff"},
        {"title": {"like": "a%\\\\"}, "exact": {"nin": [1.5, -0.0]}, "plain.lang": {"exists": False}},
    )
]

#: All that the SQL of a filter may be made of.
_TOKENS = re.compile(
    r"""(?: [ ()] | , | %s | < | <= | > | >= | = | != | -> | ->> | \#> | \#>> | ::text\[\]
    | AND | OR | NOT | IN | IS | NULL | TRUE | LIKE | ILIKE | CAST | AS | jsonb | jsonb_typeof
    | 0\ =\ 1 | 1\ =\ 1 | text\[\] | '\{"lang"\}' | '\{a,b\}' | 'lang'
    | "t1"\."(?:title | word | unit_price | exact | count | is_new | at | code | meta | plain | core)"
    )*""",
    re.VERBOSE,
)


def _check_sentence(message: str) -> None:
    assert message.startswith("filter")
    assert "\n" not in message
    assert len(message) < 400


def condition(body: Any) -> Any:
    """The expression for a body, or None for one that is refused; its SQL says names of ``FIELDS`` only."""
    try:
        found = where(Note, body, fields=FIELDS)
    except InvalidOption as error:
        _check_sentence(str(error))
        return None
    sql, params = Note.select(Note.id).where(found).sql()
    beginning, _, written = sql.partition(" WHERE ")
    assert beginning == 'SELECT "t1"."id" FROM "fuzz_note" AS "t1"'
    assert _TOKENS.fullmatch(written), written
    assert written.count("%s") == len(params)
    assert len(written) < 64 * 100 * 40
    return found


def feed(data: bytes) -> None:
    """Bytes, as a body that may be JSON."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    condition(body)
