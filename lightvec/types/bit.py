"""``Bit``, PostgreSQL's ``bit(n)`` and ``bit varying``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any

from lightvec.errors import InvalidVector
from lightvec.types.inputs import (
    MAX_BITS,
    contents,
    is_instance,
    is_ndarray,
    refuse_masked,
    require_numpy,
    require_size,
    sequence,
    show,
    show_bytes,
)
from lightvec.types.value import Value, assign, malformed_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

_HEADER = Struct(">i")
#: In a list; 1 and 0 are equal to True and False, so they are bits, too.
_DIGITS = {True: "1", False: "0"}
#: How many of a longer one ``repr`` shows.
_SHOWN_BITS = 64


class Bit(Value[bool]):
    """A string of 1 to 83,886,080 bits: immutable, hashable, picklable, a ``Sequence[bool]``.

    ``value`` is bytes, bytearray or memoryview (8 bits a byte, the most significant first), a text of
    ``0`` and ``1``, a list or other iterable of bools, a one-dimensional NumPy array of bool, or of uint8
    that holds only 0 and 1, asyncpg's BitString, or another Bit. Raises
    :class:`lightvec.errors.InvalidVector` for anything else, numbers too.

    >>> bits = Bit("101")
    >>> bits
    Bit(101)
    >>> bits.to_list(), bits[0], bits[1:]
    ([True, False, True], True, [False, True])
    >>> bits == "101", bits == [True, False, True], Bit(b"\\xa0").to_text()
    (True, True, '10100000')
    >>> bits.to_binary().hex(" ", 4)
    '00 000003a0'
    """

    __slots__ = ("_data", "_length")

    _example = "'101'"
    _length: int
    _data: bytes  # as sent: the last byte is padded with zeros

    def __new__(
        cls,
        value: bytes | bytearray | memoryview | str | Iterable[bool] | NDArray[np.bool_ | np.uint8],
        /,
    ) -> Self:
        if type(value) is cls:
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value)
            return cls._of(len(data) * 8, data)
        if is_ndarray(value):
            return cls._of_ndarray(value)
        if isinstance(value, str) or _is_bit_string(value):
            return cls._of_text(value if isinstance(value, str) else _digits(value), cls.__name__)
        return cls._of_items(sequence(value, MAX_BITS, cls.__name__, "bools"))

    @classmethod
    def _of(cls, length: int, data: bytes) -> Self:
        require_size(length, MAX_BITS, cls.__name__, "bits")
        bits = object.__new__(cls)
        assign(bits, "_length", length)
        assign(bits, "_data", data)
        return bits

    @classmethod
    def _of_text(cls, text: str, who: str) -> Self:
        require_size(len(text), MAX_BITS, who, "bits")
        if text.strip("01"):
            index = len(text) - len(text.lstrip("01"))
            raise InvalidVector(f"{who} expected only 0 and 1 and got {show(text[index])} at index {index}.")
        size = (len(text) + 7) // 8
        return cls._of(len(text), int(text.ljust(size * 8, "0"), 2).to_bytes(size, "big"))

    @classmethod
    def _of_items(cls, items: Sequence[Any]) -> Self:
        require_size(len(items), MAX_BITS, cls.__name__, "bits")
        digits: list[str] = []
        try:
            digits.extend(map(_DIGITS.__getitem__, items))  # keeps the digits before the error
        except (KeyError, TypeError):
            index = len(digits)
            raise InvalidVector(
                f"{cls.__name__} expected a bool at index {index} and got {show(items[index])}."
            ) from None
        return cls._of_text("".join(digits), cls.__name__)

    @classmethod
    def _of_ndarray(cls, value: Any) -> Self:
        who = cls.__name__
        if value.ndim != 1 or value.dtype.str not in ("|b1", "|u1"):
            raise InvalidVector(
                f"{who} expected a one-dimensional array of bool, or uint8 of 0 and 1, and got the shape "
                f"{value.shape} of {value.dtype}."
            )
        refuse_masked(value, who)
        if value.dtype.str == "|u1" and len(value) and value.max() > 1:
            index = int((value > 1).argmax())
            raise InvalidVector(
                f"{who} expected 0 or 1 at index {index} of a uint8 array and got {value[index]}: "
                f"for 8 bits a byte pass its tobytes()."
            )
        return cls._of(len(value), require_numpy(who).packbits(value).tobytes())

    def __repr__(self) -> str:
        if self._length <= _SHOWN_BITS:
            return f"{type(self).__name__}({self.to_text()})"
        return f"{type(self).__name__}({self.to_text()[:_SHOWN_BITS]}..., {self._length:,} bits)"

    def __len__(self) -> int:
        return self._length

    def _at(self, place: int) -> bool:
        return bool(self._data[place // 8] >> (7 - place % 8) & 1)

    def _key(self) -> tuple[Any, ...]:
        return self._length, self._data

    def __eq__(self, other: object) -> bool:
        """Equal to a Bit, text, asyncpg's BitString, list or tuple of the same bits."""
        if _is_bit_string(other):
            other = _digits(other)
        return self.to_text() == other if isinstance(other, str) else super().__eq__(other)

    def __hash__(self) -> int:
        """The hash of the text; an equal tuple of bools has another."""
        return hash(self.to_text())

    def to_list(self) -> list[bool]:
        """A new list of bools."""
        return [digit == "1" for digit in self.to_text()]

    def to_numpy(self) -> NDArray[np.bool_]:
        """A new bool array; :class:`lightvec.errors.MissingExtra` where NumPy is not installed."""
        numpy = require_numpy("an array of a Bit")
        packed = numpy.frombuffer(self._data, numpy.uint8)
        bits: NDArray[np.bool_] = numpy.unpackbits(packed, count=self._length).view(numpy.bool_)
        return bits

    def to_text(self) -> str:
        """The text PostgreSQL prints, such as ``101``."""
        return f"{int.from_bytes(self._data, 'big'):0{len(self._data) * 8}b}"[: self._length]

    @classmethod
    def from_text(cls, value: str, /) -> Self:
        """Read a text of ``0`` and ``1``; :class:`lightvec.errors.InvalidVector` for the rest."""
        if not isinstance(value, str):
            raise malformed_text(cls, value)
        return cls._of_text(value, f"{cls.__name__}.from_text")

    def to_binary(self) -> bytes:
        """PostgreSQL's ``bit_send``: big-endian int32 length in bits, then the bits."""
        return _HEADER.pack(self._length) + self._data

    @classmethod
    def from_binary(cls, value: bytes | bytearray | memoryview, /) -> Self:
        """Read what :meth:`to_binary` writes; :class:`lightvec.errors.InvalidVector` for the rest.

        Bits set in the padding are refused, too, which PostgreSQL would silently clear.
        """
        data, who = contents(value, cls.__name__), f"{cls.__name__}.from_binary"
        (length,) = _HEADER.unpack_from(data) if len(data) >= 4 else (-1,)
        if not 1 <= length <= MAX_BITS or len(data) != 4 + (length + 7) // 8:
            raise InvalidVector(
                f"{who} expected int32 length (1 to {MAX_BITS:,} bits) and as many bits, and got {show_bytes(data)}."
            )
        if length % 8 and data[-1] & (0xFF >> length % 8):
            raise InvalidVector(f"{who} expected zeros after bit {length:,} and got 0x{data[-1]:02x} as last byte.")
        return cls._of(length, data[4:])


def _is_bit_string(value: object) -> bool:
    return is_instance(value, "asyncpg.pgproto.types", "BitString")


def _digits(bit_string: Any) -> str:
    """The bits of asyncpg's BitString, which puts a space after each fourth."""
    digits: str = bit_string.as_string().replace(" ", "")
    return digits
