"""float32 (``vector``, ``sparsevec``) and float16 (``halfvec``): packed, checked, as decimal text.

Numbers are kept in one ``array.array`` in native byte order, free of NaN and infinity.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import compress
from operator import ne
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types.inputs import is_ndarray, refuse_masked, require_numpy, require_size, sequence, show

_LITTLE = sys.byteorder == "little"
#: Significant digits: every 6-digit decimal survives float32, 9 digits tell any two float32 apart.
_FEWEST, _MOST = 7, 9
_DECIMAL = b"0123456789+-.eE, \t\n\r\v\f"


class FloatFormat:
    """How numbers of one precision are packed, checked, sent and read: float32."""

    name = "float32"
    code = "f"  # of array.array
    letter = "f"  # of struct
    size = 4
    digits = 9  # significant decimal digits that tell any two numbers apart
    dtype = "f4"
    largest = "3.4028235e+38"
    overflow = (2 - 2.0**-24) * 2.0**127  # numbers from here on round to infinity

    def unpack(self, numbers: array[Any]) -> list[float]:
        """The numbers as Python floats."""
        return numbers.tolist()

    def is_suspicious(self, high: bytes) -> bool:
        """Whether a most significant byte among these is one that NaN and infinity have.

        0.1 to 0.3 µs for 768 numbers; ``map(math.isfinite, ...)`` takes 30.
        """
        return 0x7F in high or 0xFF in high

    def collect(self, value: Any, most: int, who: str) -> array[Any]:
        """Whatever a caller may pass as numbers, packed: 1 to ``most`` of them."""
        if is_ndarray(value):
            return self._pack_ndarray(value, most, who)
        items = sequence(value, most, who)
        require_size(len(items), most, who)
        numbers = self.pack(items, who)
        require_size(len(numbers), most, who)  # a subclass of list may misstate its length
        return numbers

    def pack(self, items: Sequence[Any], who: str, places: Sequence[int] | None = None) -> array[Any]:
        """The items rounded to this format; errors name the indices in ``places``, if given."""
        try:
            # NumPy would turn an array of one item into a float, with a DeprecationWarning.
            if getattr(items[0] if items else 0, "ndim", 0):
                raise TypeError("expected a number and got an array")
            # A third of the time of array("f", items).
            numbers = array(self.code, struct.pack(f"{len(items)}{self.letter}", *items))
        except (TypeError, ValueError, OverflowError, IndexError, struct.error):
            raise self._refusal(items, who, places) from None
        return self._finite(numbers, self._high_bytes(numbers), who, items, places)

    def _pack_ndarray(self, value: Any, most: int, who: str) -> array[Any]:
        if value.ndim != 1:
            raise InvalidVector(f"{who} expected ndim to be 1 and got the shape {value.shape}: pass one row.")
        require_size(len(value), most, who)
        if value.dtype.kind == "O":
            return self.pack(value.tolist(), who)
        if value.dtype.kind not in "fiub":
            why = "; could not convert string to float" if value.dtype.kind in "SU" else ""
            raise InvalidVector(f"{who} expected an array of real numbers and got the dtype {value.dtype}{why}.")
        refuse_masked(value, who)
        converted = value
        if value.dtype != self.dtype:
            # Numbers that do not fit become infinite here and are reported below.
            with require_numpy(who).errstate(all="ignore"):
                converted = value.astype(self.dtype)
        numbers = array(self.code, converted.tobytes())
        return self._finite(numbers, self._high_bytes(numbers), who, value)

    def encode(self, numbers: array[Any]) -> bytes:
        """Big-endian bytes."""
        return big_endian(numbers).tobytes()

    def decode(self, data: bytes, who: str) -> array[Any]:
        """The numbers of big-endian bytes, whose length is a multiple of ``size``."""
        numbers: array[Any] = array(self.code, data)
        if _LITTLE:
            numbers.byteswap()
        return self._finite(numbers, data[:: self.size], who)

    def _high_bytes(self, numbers: array[Any]) -> bytes:
        return numbers.tobytes()[self.size - 1 if _LITTLE else 0 :: self.size]

    def _finite(
        self,
        numbers: array[Any],
        high: bytes,
        who: str,
        items: Any = None,
        places: Sequence[int] | None = None,
    ) -> array[Any]:
        """The numbers, if all are finite; else the error names the first item at fault."""
        if self.is_suspicious(high):
            values = self.unpack(numbers)
            if not all(map(math.isfinite, values)):
                raise self._refusal(values if items is None else items, who, places)
        return numbers

    def _refusal(self, items: Any, who: str, places: Sequence[int] | None) -> InvalidVector:
        """The error that names the first item at fault."""
        for index, item in enumerate(items.tolist() if is_ndarray(items) else items):
            place = index if places is None else places[index]
            number = _number(item)
            if isinstance(number, str):
                return InvalidVector(f"{who} expected {number} at index {place} and got {show(item)}.")
            if abs(number) >= self.overflow:
                return InvalidVector(
                    f"{who} got {show(item)} at index {place}, which does not fit {self.name}: "
                    f"allowed is -{self.largest} to {self.largest}."
                )
        return InvalidVector(f"{who} expected numbers and got {show(items)}.")


def _number(item: Any) -> float | str:
    """The item as a number, infinite if it is too large; or what was expected in its place."""
    if getattr(item, "ndim", 0):
        return "one number"
    try:
        number = array("d", [item])[0]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return "a number"
    is_finite = not math.isnan(number) and item not in (math.inf, -math.inf)
    return number if is_finite else "a finite number"


class _Float16(FloatFormat):
    name = "halfvec (float16)"
    code = "H"  # array.array has no float16: its bits are kept as uint16
    letter = "e"
    size = 2
    digits = 5
    dtype = "f2"
    largest = "65504"
    overflow = 65520.0
    _suspects = bytes(byte for byte in range(256) if byte & 0x7C == 0x7C)

    def unpack(self, numbers: array[Any]) -> list[float]:
        return list(struct.unpack(f"{len(numbers)}e", numbers))

    def is_suspicious(self, high: bytes) -> bool:
        for byte in self._suspects:  # noqa: SIM110  (any() with a generator takes three times as long)
            if byte in high:
                return True
        return False


FLOAT32 = FloatFormat()
FLOAT16 = _Float16()


def big_endian(numbers: array[Any]) -> array[Any]:
    """A copy in the other of native and big-endian byte order."""
    numbers = numbers[:]
    if _LITTLE:
        numbers.byteswap()
    return numbers


def normalized(numbers: list[float], who: str) -> list[float]:
    """The numbers divided by their L2 norm."""
    norm = math.hypot(*numbers)
    if norm == 0:
        raise InvalidVector(f"{who}.normalized expected at least one number other than 0 and got only zeros.")
    return [number / norm for number in numbers]


def shortest(numbers: Sequence[float], digits: int = _FEWEST) -> list[str]:
    """The shortest decimal of each number that reads back as the same float32.

    These are the digits PostgreSQL prints (``float_to_shortest_decimal_buf``): ``0.1``, ``1e-05``.
    Outside 0.001 to 1,000,000 one number in 20,000 gets a digit too many, and so may subnormal ones.

    The list is formatted and read back as a whole: 0.3 ms for 768 numbers, 0.45 with a loop.
    """
    texts = (f"%.{digits}g," * len(numbers) % tuple(numbers)).split(",")[:-1]
    if digits < _MOST:
        read = array("f", map(float, texts))
        changed = list(compress(range(len(texts)), map(ne, numbers, read)))
        longer = shortest([numbers[i] for i in changed], digits + 1) if changed else []
        for i, text in zip(changed, longer, strict=True):
            texts[i] = text
    return texts


def is_decimal(text: str, extra: bytes = b"") -> bool:
    """Whether all characters belong to decimal numbers and their separators.

    ``float`` alone reads ``1_000``, ``nan``, ``infinity`` and digits of other scripts.
    """
    return text.isascii() and not text.encode().translate(None, _DECIMAL + extra)


def read_floats(texts: list[str], who: str) -> list[float]:
    """``float`` of each text; :class:`InvalidVector` names the first that is not a number."""
    numbers: list[float] = []
    try:
        numbers.extend(map(float, texts))  # keeps the numbers before the error
    except ValueError:
        index = len(numbers)
        raise InvalidVector(
            f"{who}.from_text expected a decimal number at index {index} and got {show(texts[index])}."
        ) from None
    return numbers
