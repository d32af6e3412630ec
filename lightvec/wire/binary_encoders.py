"""The binary fields of COPY, and of the elements of arrays, from Python values.

A field is an int32 length and the payload, big-endian; NULL is the length -1 alone (PostgreSQL
documentation, COPY, "Binary Format"). The payload is what the type's ``*_recv`` function reads
(``src/backend/utils/adt``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from struct import Struct
from typing import Any
from uuid import UUID

from lightvec.wire.jsonb import json_text

Encoder = Callable[[Any], bytes]

NULL = b"\xff\xff\xff\xff"

_int32 = Struct("!i").pack
_int64 = Struct("!iq").pack
_span = Struct("!iqii").pack
_numeric = Struct("!ihhHH").pack

#: PostgreSQL counts days and microseconds from here (``POSTGRES_EPOCH_JDATE``).
_EPOCH = datetime(2000, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=timezone.utc)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY = 86_400_000_000


def fixed(layout: str) -> Encoder:
    """For a number of a fixed size: one call packs length and number."""
    pack = Struct(f"!i{layout}")
    return partial(pack.pack, pack.size - 4)


def text_to_binary(value: Any) -> bytes:
    """``textrecv``: in the client's encoding, which is UTF-8 wherever binary COPY is chosen."""
    if "\x00" in value:
        raise ValueError("PostgreSQL cannot store NUL characters in a text: send bytes to a bytea column")
    data: bytes = value.encode()
    return _int32(len(data)) + data


def bytes_to_binary(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError
    data = bytes(value)
    return _int32(len(data)) + data


def json_to_binary(value: Any) -> bytes:
    return text_to_binary(json_text(value))


def jsonb_to_binary(value: Any) -> bytes:
    """``jsonb_recv``: version 1 of the format, the text of the document."""
    data = json_text(value).encode()
    return _int32(len(data) + 1) + b"\x01" + data


def uuid_to_binary(value: Any) -> bytes:
    return b"\x00\x00\x00\x10" + (value if isinstance(value, UUID) else UUID(value)).bytes


BOOLS = {False: b"\x00\x00\x00\x01\x00", True: b"\x00\x00\x00\x01\x01"}


def date_to_binary(value: Any) -> bytes:
    """``date_recv``: days; a datetime is cut to its date, as in an assignment."""
    if getattr(value, "tzinfo", None) is not None:
        raise TypeError
    return _days(value.toordinal() - _EPOCH_DAY)


_days = fixed("i")


def _microseconds(span: timedelta) -> int:
    return span.days * _DAY + span.seconds * 1_000_000 + span.microseconds


def timestamp_to_binary(value: Any) -> bytes:
    """``timestamp_recv``: microseconds; a date is its midnight, as in an assignment."""
    if type(value) is date:
        value = datetime.combine(value, time())
    return _int64(8, _microseconds(value - _EPOCH))


def timestamptz_to_binary(value: Any) -> bytes:
    return _int64(8, _microseconds(value - _EPOCH_UTC))


def time_to_binary(value: Any) -> bytes:
    if value.tzinfo is not None:
        raise TypeError
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return _int64(8, seconds * 1_000_000 + value.microsecond)


def interval_to_binary(value: Any) -> bytes:
    """``interval_recv``: microseconds, days and months."""
    if not isinstance(value, timedelta):
        return _pg_interval(value)
    return _span(16, value.seconds * 1_000_000 + value.microseconds, value.days, 0)


def _pg_interval(value: Any) -> bytes:
    part = {name: count or 0 for name, count in vars(value).items()}
    years = part["millennia"] * 1000 + part["centuries"] * 100 + part["decades"] * 10 + part["years"]
    seconds = (part["hours"] * 60 + part["minutes"]) * 60 + part["seconds"]
    microseconds = round(seconds * 1_000_000) + part["microseconds"]
    return _span(16, microseconds, part["weeks"] * 7 + part["days"], years * 12 + part["months"])


def numeric_of(value: Any) -> Decimal:
    """The ``numeric`` for an int, a float or a Decimal.

    A float has 15 digits, as in the server's own cast (``float8_numeric``).

    >>> numeric_of(0.1 + 0.2)
    Decimal('0.3')
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(f"{value:.15g}")
    return Decimal(value.__index__())


#: The sign words of ``numeric_recv``.
_NEGATIVE, _NAN, _INFINITY = 0x4000, 0xC000, 0xD000
#: The most digits of a numeric before and after the point (PostgreSQL documentation, 8.1.2).
_MAX_BEFORE, _MAX_AFTER = 131_072, 16_383


def numeric_to_binary(value: Any) -> bytes:
    """``numeric_recv``: digits in base 10,000, weight of the first, sign, decimal places."""
    number = numeric_of(value)
    if not number.is_finite():
        return _numeric(8, 0, 0, _NAN if number.is_nan() else _INFINITY | number.is_signed() << 13, 0)
    if number.adjusted() >= _MAX_BEFORE or number.as_tuple().exponent < -_MAX_AFTER:  # type: ignore[operator]
        raise ValueError("numeric holds 131,072 digits before the point and 16,383 after it")
    before, _, after = f"{number.copy_abs():f}".partition(".")
    digits = before.zfill(-(-len(before) // 4) * 4) + after.ljust(-(-len(after) // 4) * 4, "0")
    groups = [int(digits[index : index + 4]) for index in range(0, len(digits), 4)]
    weight = -(-len(before) // 4) - 1
    while groups and not groups[-1]:
        groups.pop()
    first = next((index for index, group in enumerate(groups) if group), weight)
    groups = groups[first:]
    sign = _NEGATIVE if number.is_signed() and groups else 0
    head = _numeric(8 + 2 * len(groups), len(groups), weight - first, sign, len(after))
    return head + Struct(f"!{len(groups)}H").pack(*groups)
