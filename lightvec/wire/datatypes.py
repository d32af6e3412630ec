"""The one table of PostgreSQL's data types: what the driver knows of each.

OIDs are those of ``src/include/catalog/pg_type.dat``. pgvector's types have other OIDs in each
database, so :class:`~lightvec.wire.adapters.Adapters` adds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from lightvec.types import Bit
from lightvec.types.arrays import parse_array
from lightvec.wire import binary_encoders as encoders
from lightvec.wire import text_decoders as decoders
from lightvec.wire.binary_encoders import Encoder, fixed


class DataType(NamedTuple):
    """A type: how its text is read, the field that COPY writes, the dtype of a number in binary.

    ``expects`` says what ``encode`` accepts.
    """

    name: str
    oid: int
    array_oid: int
    from_text: Callable[[str], Any] = str
    encode: Encoder | None = None
    expects: str = ""
    dtype: str = ""
    from_binary: Callable[[bytes], Any] | None = None


_STR = "a str"
_DOCUMENT = "a dict, a list, a Json or Jsonb, or a str of JSON"
_text = encoders.text_to_binary
_timestamp = decoders.timestamp_from_text

_TABLE = (
    DataType("bool", 16, 1000, decoders.bool_from_text, encoders.BOOLS.__getitem__, "a bool", "?"),
    DataType(
        "bytea", 17, 1001, decoders.bytes_from_text, encoders.bytes_to_binary, "bytes, a bytearray or a memoryview"
    ),
    DataType("char", 18, 1002),
    DataType("name", 19, 1003, str, _text, _STR),
    DataType("int8", 20, 1016, int, fixed("q"), "an int from -2^63 to 2^63 - 1", ">i8"),
    DataType("int2", 21, 1005, int, fixed("h"), "an int from -32,768 to 32,767", ">i2"),
    DataType("int2vector", 22, 1006, decoders.integers_from_text),
    DataType("int4", 23, 1007, int, fixed("i"), "an int from -2^31 to 2^31 - 1", ">i4"),
    DataType("text", 25, 1009, str, _text, _STR),
    DataType("oid", 26, 1028, int, fixed("I"), "an int from 0 to 2^32 - 1", ">u4"),
    DataType("xid", 28, 1011, int),
    DataType("oidvector", 30, 1013, decoders.integers_from_text),
    DataType("json", 114, 199, json.loads, encoders.json_to_binary, _DOCUMENT),
    DataType("point", 600, 1017, decoders.point_from_text),
    DataType("cidr", 650, 651, decoders.cidr_from_text),
    DataType("float4", 700, 1021, float, fixed("f"), "a number that float32 can hold", ">f4"),
    DataType("float8", 701, 1022, float, fixed("d"), "a number", ">f8"),
    DataType("money", 790, 791),
    DataType("macaddr", 829, 1040),
    DataType("inet", 869, 1041, decoders.inet_from_text),
    DataType("bpchar", 1042, 1014, str, _text, _STR),
    DataType("varchar", 1043, 1015, str, _text, _STR),
    DataType(
        "date", 1082, 1182, decoders.date_from_text, encoders.date_to_binary, "a date, or a datetime without time zone"
    ),
    DataType("time", 1083, 1183, decoders.time_from_text, encoders.time_to_binary, "a time without time zone"),
    DataType(
        *("timestamp", 1114, 1115, _timestamp, encoders.timestamp_to_binary),
        "a datetime without time zone (tzinfo=None), or a date",
    ),
    DataType(
        "timestamptz", 1184, 1185, _timestamp, encoders.timestamptz_to_binary, "a datetime with a time zone (tzinfo)"
    ),
    DataType("interval", 1186, 1187, decoders.interval_from_text, encoders.interval_to_binary, "a timedelta"),
    DataType("timetz", 1266, 1270, decoders.time_from_text),
    DataType("bit", 1560, 1561, Bit.from_text, from_binary=Bit.from_binary),
    DataType("varbit", 1562, 1563),
    DataType("numeric", 1700, 1231, Decimal, encoders.numeric_to_binary, "a Decimal, an int or a float"),
    DataType("record", 2249, 2287, decoders.record_from_text),
    DataType("cstring", 2275, 1263),
    DataType("uuid", 2950, 2951, UUID, encoders.uuid_to_binary, "a UUID"),
    DataType("jsonb", 3802, 3807, json.loads, encoders.jsonb_to_binary, _DOCUMENT),
)

#: Elements, and the OIDs of range and its array, of multirange and its array.
_RANGES = (
    ("int4", int, 3904, 3905, 4451, 6150),
    ("num", Decimal, 3906, 3907, 4532, 6151),
    ("ts", _timestamp, 3908, 3909, 4533, 6152),
    ("tstz", _timestamp, 3910, 3911, 4534, 6153),
    ("date", decoders.date_from_text, 3912, 3913, 4535, 6155),
    ("int8", int, 3926, 3927, 4536, 6157),
)


def _ranges() -> Iterator[DataType]:
    for name, element, oid, array_oid, multi_oid, multi_array_oid in _RANGES:
        yield DataType(f"{name}range", oid, array_oid, decoders.range_decoder(element))
        multirange = decoders.multirange_decoder(element)
        yield DataType(f"{name}multirange", multi_oid, multi_array_oid, multirange)


def array_decoder(element: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """The decoder for an array whose elements ``element`` reads."""
    return partial(parse_array, convert=element)


#: The table by name, and by OID.
TYPES: Mapping[str, DataType] = MappingProxyType({row.name: row for row in (*_TABLE, *_ranges())})
BY_OID: Mapping[int, DataType] = MappingProxyType({row.oid: row for row in TYPES.values()})
#: The names of all types, and of their arrays, by OID.
NAMES: Mapping[int, str] = {
    **{row.oid: row.name for row in TYPES.values()},
    **{row.array_oid: f"{row.name}[]" for row in TYPES.values()},
}


def oids(*names: str) -> tuple[int, ...]:
    """The OIDs of types by their names."""
    return tuple(TYPES[name].oid for name in names)


#: The text decoders of all types, and of their arrays, by OID.
FROM_TEXT: Mapping[int, Callable[[str], Any]] = MappingProxyType(
    {row.oid: row.from_text for row in TYPES.values()}
    | {row.array_oid: array_decoder(row.from_text) for row in TYPES.values()}
)

#: NumPy's name for a number of pgvector's dense types in binary.
DENSE: Mapping[str, str] = MappingProxyType({"vector": ">f4", "halfvec": ">f2"})
