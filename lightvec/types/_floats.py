"""The two float formats of pgvector: float32 (``vector``, ``sparsevec``) and float16 (``halfvec``).

A format keeps numbers in one ``array.array`` in native byte order, and NaN and infinity out of it.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Any, ClassVar

from lightvec.errors import InvalidVector
from lightvec.types._inputs import is_ndarray, refuse_masked, require_numpy, sequence
from lightvec.types._limits import require_size
from lightvec.types._messages import show

_LITTLE = sys.byteorder == "little"


class FloatFormat:
    """How numbers of one precision are packed, checked, sent and read."""

    name: ClassVar[str]
    code: ClassVar[str]  # of array.array; float16 has none there, so its raw bits are kept as uint16
    size: ClassVar[int]
    digits: ClassVar[int]  # decimals of so many tell apart all numbers
    dtype: ClassVar[str]
    largest: ClassVar[str]
    #: The most significant bytes that a NaN or an infinity can have. Looking for them in every size-th
    #: byte takes 0.1 to 0.3 µs for 768 numbers; ``map(math.isfinite, ...)`` takes 30.
    _suspects: ClassVar[bytes]

    def _pack(self, items: Sequence[Any]) -> array[Any]:
        raise NotImplementedError

    def unpack(self, data: array[Any]) -> list[float]:
        """The numbers as Python floats."""
        raise NotImplementedError

    def collect(self, value: Any, most: int, who: str) -> array[Any]:
        """Whatever a caller may pass as numbers, packed: 1 to ``most`` of them."""
        if is_ndarray(value):
            return self.pack_ndarray(value, most, who)
        items = sequence(value, most, who)
        require_size(len(items), most, who)
        data = self.pack(items, who)
        require_size(len(data), most, who)  # A list of the caller's own class may say what it likes of its length.
        return data

    def pack(self, items: Sequence[Any], who: str, places: Sequence[int] | None = None) -> array[Any]:
        """The numbers rounded to this format; ``places`` are the indices to name in an error."""
        try:
            _refuse_rows(items)
            data = self._pack(items)
        except (TypeError, ValueError, OverflowError, IndexError, struct.error) as error:
            raise self._refusal(items, who, places) from error
        self._require_finite(data, self._high_bytes(data), who, items, places)
        return data

    def pack_ndarray(self, value: Any, most: int, who: str) -> array[Any]:
        """A one-dimensional NumPy array of any real dtype, byte order and stride."""
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
            # What does not fit becomes infinite here, and is named below.
            with require_numpy(who).errstate(all="ignore"):
                converted = value.astype(self.dtype)
        data = array(self.code, converted.tobytes())
        self._require_finite(data, self._high_bytes(data), who, value)
        return data

    def decode(self, data: bytes, who: str) -> array[Any]:
        """Big-endian bytes, a multiple of ``size`` long, as the server sends them."""
        numbers: array[Any] = array(self.code, data)
        if _LITTLE:
            numbers.byteswap()
        self._require_finite(numbers, data[:: self.size], who)
        return numbers

    def encode(self, numbers: array[Any]) -> bytes:
        """Big-endian bytes."""
        if _LITTLE:
            numbers = numbers[:]
            numbers.byteswap()
        return numbers.tobytes()

    def _high_bytes(self, data: array[Any]) -> bytes:
        return data.tobytes()[self.size - 1 if _LITTLE else 0 :: self.size]

    def _require_finite(
        self,
        data: array[Any],
        high: bytes,
        who: str,
        items: Any = None,
        places: Sequence[int] | None = None,
    ) -> None:
        for byte in self._suspects:
            if byte in high:
                break
        else:
            return
        numbers = self.unpack(data)
        if not all(map(math.isfinite, numbers)):
            raise self._refusal(numbers if items is None else items, who, places)

    def _refusal(self, items: Any, who: str, places: Sequence[int] | None) -> InvalidVector:
        """The error for the first item that is at fault."""
        for index, item in enumerate(items.tolist() if is_ndarray(items) else items):
            if fault := self._fault(item):
                place = index if places is None else places[index]
                return InvalidVector(fault.format(who=who, index=place, item=show(item)))
        return InvalidVector(f"{who} expected numbers and got {show(items)}.")

    def _fault(self, item: Any) -> str | None:
        if getattr(item, "ndim", 0):
            return "{who} expected one number at index {index} and got {item}: only flat lists make a vector."
        try:
            number = array("d", [item])[0]
        except OverflowError:
            number = math.inf
        except (TypeError, ValueError):
            return "{who} expected a number at index {index} and got {item}."
        if math.isnan(number) or item in (math.inf, -math.inf):
            return "{who} expected a finite number at index {index} and got {item}."
        if self._fits(number):
            return None
        limit = f"allowed is -{self.largest} to {self.largest}."
        return f"{{who}} got {{item}} at index {{index}}, which does not fit {self.name}: {limit}"

    def _fits(self, number: float) -> bool:
        try:
            return math.isfinite(self.unpack(self._pack([number]))[0])
        except (OverflowError, struct.error):
            return False


def _refuse_rows(items: Sequence[Any]) -> None:
    # NumPy turns an array of one item into a float, with a DeprecationWarning; a list of such rows is
    # no vector.
    first: Any = items[0] if items else 0
    if getattr(first, "ndim", 0):
        raise TypeError("an array stands where a number should")


class _Float32(FloatFormat):
    name, code, size, digits, dtype, largest = "float32", "f", 4, 9, "f4", "3.4028235e+38"
    _suspects = b"\x7f\xff"

    def _pack(self, items: Sequence[Any]) -> array[Any]:
        return array("f", items)

    def unpack(self, data: array[Any]) -> list[float]:
        return data.tolist()


class _Float16(FloatFormat):
    name, code, size, digits, dtype, largest = "halfvec (float16)", "H", 2, 5, "f2", "65504"
    _suspects = bytes(byte for byte in range(256) if byte & 0x7C == 0x7C)

    def _pack(self, items: Sequence[Any]) -> array[Any]:
        return array("H", struct.pack(f"{len(items)}e", *items))

    def unpack(self, data: array[Any]) -> list[float]:
        return list(struct.unpack(f"{len(data)}e", data))


FLOAT32: FloatFormat = _Float32()
FLOAT16: FloatFormat = _Float16()
