"""From a Python value to the bytes of its column: the binary fields of COPY, and of the elements of arrays.

A field is an int32 length and the payload, big-endian; NULL is the length -1 alone (PostgreSQL documentation, COPY,
"Binary Format"). COPY and arrays write fields the same way, so an encoder gives the length too: one call packs both.
The payloads are what each type's ``*_recv`` function reads (``src/backend/utils/adt``, pgvector's ``src``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from struct import Struct
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from pg8000.types import PGInterval

from lightvec.pg8000.parameters import Json

__all__ = ["NULL", "SCALARS", "Encoder", "Encoding", "json_text", "numeric_of"]

Encoder = Callable[[Any], bytes]

#: The field of a NULL.
NULL = b"\xff\xff\xff\xff"

_int32 = Struct("!i").pack
_int64 = Struct("!iq").pack
_span = Struct("!iqii").pack
_numeric = Struct("!ihhHH").pack

#: PostgreSQL counts days and microseconds from here (``POSTGRES_EPOCH_JDATE``, src/include/datatype/timestamp.h).
_EPOCH = datetime(2000, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=timezone.utc)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY = 86_400_000_000


class Encoding(NamedTuple):
    """How the values of one type become fields, and what a value of it is called in an error."""

    encode: Encoder
    expects: str


def _fixed(layout: str) -> Encoder:
    """A number of one size: one C call writes length and number."""
    pack = Struct(f"!i{layout}")
    return partial(pack.pack, pack.size - 4)


def _text(value: Any) -> bytes:
    """``textrecv``: the characters in the client's encoding, which is UTF-8 wherever binary COPY is chosen."""
    if "\x00" in value:
        raise ValueError("PostgreSQL cannot store NUL characters in a text: send bytes to a bytea column")
    data: bytes = value.encode()
    return _int32(len(data)) + data


def _bytes(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError
    data = bytes(value)
    return _int32(len(data)) + data


def json_text(value: Any) -> str:
    """A value as JSON's text: a str is that text already, as it is for INSERT."""
    if isinstance(value, str):
        return value
    text: str = value.dumps(value.obj) if isinstance(value, Json) else json.dumps(value)
    return text


def _json(value: Any) -> bytes:
    return _text(json_text(value))


def _jsonb(value: Any) -> bytes:
    """``jsonb_recv``: version 1 of the format, the text of the document."""
    data = json_text(value).encode()
    return _int32(len(data) + 1) + b"\x01" + data


def _uuid(value: Any) -> bytes:
    return b"\x00\x00\x00\x10" + (value if isinstance(value, UUID) else UUID(value)).bytes


_BOOLS = {False: b"\x00\x00\x00\x01\x00", True: b"\x00\x00\x00\x01\x01"}


def _date(value: Any) -> bytes:
    """``date_recv``: days; a datetime is cut to its day, as an assignment does."""
    if getattr(value, "tzinfo", None) is not None:
        raise TypeError
    return _days(value.toordinal() - _EPOCH_DAY)


_days = _fixed("i")


def _microseconds(span: timedelta) -> int:
    return span.days * _DAY + span.seconds * 1_000_000 + span.microseconds


def _timestamp(value: Any) -> bytes:
    """``timestamp_recv``: microseconds; a date is its midnight, as an assignment makes it."""
    if type(value) is date:
        value = datetime.combine(value, time())
    return _int64(8, _microseconds(value - _EPOCH))


def _timestamptz(value: Any) -> bytes:
    return _int64(8, _microseconds(value - _EPOCH_UTC))


def _time(value: Any) -> bytes:
    if value.tzinfo is not None:
        raise TypeError
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return _int64(8, seconds * 1_000_000 + value.microsecond)


def _interval(value: Any) -> bytes:
    """``interval_recv``: microseconds, days and months, each for itself."""
    if isinstance(value, PGInterval):
        return _pg_interval(value)
    return _span(16, value.seconds * 1_000_000 + value.microseconds, value.days, 0)


def _pg_interval(value: Any) -> bytes:
    part = {name: count or 0 for name, count in vars(value).items()}
    years = part["millennia"] * 1000 + part["centuries"] * 100 + part["decades"] * 10 + part["years"]
    seconds = (part["hours"] * 60 + part["minutes"]) * 60 + part["seconds"]
    microseconds = round(seconds * 1_000_000) + part["microseconds"]
    return _span(16, microseconds, part["weeks"] * 7 + part["days"], years * 12 + part["months"])


def numeric_of(value: Any) -> Decimal:
    """The decimal that an int, a float or a Decimal is as ``numeric``.

    A float has the 15 digits that the server's own cast gives it (``float8_numeric``, src/backend/utils/adt/numeric.c).

    >>> numeric_of(0.1 + 0.2)
    Decimal('0.3')
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(f"{value:.15g}")
    return Decimal(value.__index__())


#: Sign words of ``numeric_recv`` by the letter that Decimal.as_tuple puts in place of an exponent.
_SPECIAL = {"n": 0xC000, "N": 0xC000, "F": 0xD000}
_NEGATIVE = 0x4000
#: The digits that numeric has room for on either side of the point (PostgreSQL documentation, 8.1.2).
_MOST_BEFORE, _MOST_BEHIND = 131_072, 16_383


def _decimal(value: Any) -> bytes:
    """``numeric_recv``: digits in base 10,000, the weight of the first, a sign, the digits shown behind the point."""
    number = numeric_of(value)
    negative, digits, exponent = number.as_tuple()
    if isinstance(exponent, str):
        return _numeric(8, 0, 0, _SPECIAL[exponent] | (negative << 13 if exponent == "F" else 0), 0)
    scale = max(0, -exponent)
    if number.adjusted() >= _MOST_BEFORE or scale > _MOST_BEHIND:
        raise ValueError("numeric holds 131,072 digits before the point and 16,383 behind it")
    groups, weight = _base_10000("".join(map(str, digits)) + "0" * exponent, scale)
    sign = _NEGATIVE if negative and groups else 0
    head = _numeric(8 + 2 * len(groups), len(groups), weight, sign, scale)
    return head + Struct(f"!{len(groups)}H").pack(*groups)


def _base_10000(digits: str, scale: int) -> tuple[list[int], int]:
    """The groups of four digits, aligned at the point, without zeros at either end, and the first group's weight."""
    behind = -(-scale // 4)
    text = digits + "0" * (behind * 4 - scale)
    text = text.zfill(-(-len(text) // 4) * 4)
    groups = [int(text[place : place + 4]) for place in range(0, len(text), 4)]
    weight = len(groups) - behind - 1
    first = next((place for place, group in enumerate(groups) if group), len(groups))
    while groups and not groups[-1]:
        groups.pop()
    return groups[first:], weight - first if groups else 0


_CHARACTERS = Encoding(_text, "a str")
_DOCUMENT = "a dict, a list, a Json or Jsonb, or a str of JSON"

#: The one table: OID of a type (src/include/catalog/pg_type.dat) to its encoding.
SCALARS: Mapping[int, Encoding] = MappingProxyType(
    {
        16: Encoding(_BOOLS.__getitem__, "a bool"),
        17: Encoding(_bytes, "bytes, a bytearray or a memoryview"),
        19: _CHARACTERS,  # name
        20: Encoding(_fixed("q"), "an int from -2^63 to 2^63 - 1"),
        21: Encoding(_fixed("h"), "an int from -32,768 to 32,767"),
        23: Encoding(_fixed("i"), "an int from -2^31 to 2^31 - 1"),
        25: _CHARACTERS,  # text
        26: Encoding(_fixed("I"), "an int from 0 to 2^32 - 1"),
        114: Encoding(_json, _DOCUMENT),
        700: Encoding(_fixed("f"), "a number that float32 can hold"),
        701: Encoding(_fixed("d"), "a number"),
        1042: _CHARACTERS,  # bpchar
        1043: _CHARACTERS,  # varchar
        1082: Encoding(_date, "a date, or a datetime without time zone"),
        1083: Encoding(_time, "a time without time zone"),
        1114: Encoding(_timestamp, "a datetime without time zone (tzinfo=None), or a date"),
        1184: Encoding(_timestamptz, "a datetime with a time zone (tzinfo)"),
        1186: Encoding(_interval, "a timedelta"),
        1700: Encoding(_decimal, "a Decimal, an int or a float"),
        2950: Encoding(_uuid, "a UUID"),
        3802: Encoding(_jsonb, _DOCUMENT),
    }
)
