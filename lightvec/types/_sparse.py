"""The rules of ``sparsevec`` that text, bytes and Python values share."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Sequence
from operator import index as as_int
from operator import lt
from struct import Struct
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types._decimal import is_decimal, malformed, read_floats, strip
from lightvec.types._limits import MAX_SPARSE_DIMENSIONS, MAX_SPARSE_NONZERO, require_size
from lightvec.types._messages import show, show_bytes, show_number

HEADER = Struct(">iii")
_EXAMPLE = "'{1:1.5,3:2}/6'"
_TEXT = re.compile(r"\{([^{}]*)\}\s*/\s*([+-]?[0-9]{1,10})", re.ASCII)


def integer(value: Any, expectation: str) -> int:
    """``value`` as an int; a float or a text is none."""
    try:
        return as_int(value)
    except TypeError as error:
        raise InvalidVector(f"{expectation} and got {show(value)}.") from error


def require_count(count: int, who: str) -> None:
    """Raise when there are more numbers than PostgreSQL stores."""
    if count > MAX_SPARSE_NONZERO:
        raise InvalidVector(f"{who} expected at most {MAX_SPARSE_NONZERO:,} numbers other than 0 and got {count:,}.")


def require_places(places: Sequence[int], dimensions: int, who: str, first: int = 0) -> None:
    """Raise unless the places, counted from 0, ascend within the dimensions; errors count from ``first``."""
    if not places or (places[0] >= 0 and places[-1] < dimensions and all(map(lt, places, places[1:]))):
        return
    before = -1
    for place in places:
        if not before < place < dimensions:
            break
        before = place
    came = show_number(place + first) + (f" after {before + first:,}" if before >= 0 else "")
    raise InvalidVector(
        f"{who} expected ascending indices, each once, from {first} to {dimensions - 1 + first:,}, and got {came}."
    )


def swapped(numbers: array[int]) -> array[int]:
    """A copy in the other of native and big-endian order."""
    numbers = numbers[:]
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def read_header(data: bytes, who: str) -> tuple[int, int]:
    """The dimensions and the count of numbers, both of which agree with the length of ``data``."""
    if len(data) < HEADER.size:
        raise InvalidVector(f"{who} expected a header of {HEADER.size} bytes and got {show_bytes(data)}.")
    dimensions, count, zero = HEADER.unpack_from(data)
    require_size(dimensions, MAX_SPARSE_DIMENSIONS, who)
    if zero:
        raise InvalidVector(f"{who} expected 0 in bytes 8 to 11 and got {zero} in {show_bytes(data)}.")
    if not 0 <= count <= MAX_SPARSE_NONZERO or len(data) != HEADER.size + 8 * count:
        raise InvalidVector(
            f"{who} expected {HEADER.size} bytes and 8 for each of at most {MAX_SPARSE_NONZERO:,} numbers, "
            f"and got a count of {count:,} in {show_bytes(data)}."
        )
    return dimensions, count


def read_text(value: object, who: str) -> tuple[int, list[int], list[float]]:
    """The dimensions, the indices (from 1) and the numbers as the text has them."""
    match = _TEXT.fullmatch(strip(value, who, _EXAMPLE))
    if match is None or not is_decimal(match[1], b":"):
        raise malformed(value, who, _EXAMPLE)
    entries = match[1].split(",") if match[1].strip() else []
    require_count(len(entries), f"{who}.from_text")
    pairs = [entry.partition(":") for entry in entries]
    try:
        indices = [int(index) for index, _, _ in pairs]
    except ValueError as error:
        raise malformed(value, who, _EXAMPLE) from error
    return int(match[2]), indices, read_floats([number for _, _, number in pairs], who)
