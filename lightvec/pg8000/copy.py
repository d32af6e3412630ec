"""COPY FROM STDIN of what the caller gives: a file, or an iterable of text or bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import TextIOBase
from typing import Any

from lightvec.pg8000.exceptions import InterfaceError
from lightvec.pg8000.messages import copy_data

__all__ = ["copy_in_messages"]

#: Small pieces are put together to CopyData messages of about this many bytes: a message a row is a system call a row.
_BLOCK = 64 * 1024


def copy_in_messages(source: Any, is_binary: bool, encoding: str) -> Iterator[bytes]:
    """The CopyData messages for what the caller gave as ``stream``; his own errors pass through."""
    if source is None:
        raise InterfaceError("COPY FROM STDIN needs a source of rows: run(sql, stream=file or iterable)")
    if is_binary and isinstance(source, TextIOBase):
        raise InterfaceError("a binary COPY needs a source of bytes, got a text file: open it with mode 'rb'")
    pieces = _read(source) if hasattr(source, "read") else source
    return map(copy_data, _blocks(_as_bytes(pieces, is_binary, encoding)))


def _read(file: Any) -> Iterator[Any]:
    while piece := file.read(_BLOCK):
        yield piece


def _as_bytes(pieces: Iterable[Any], is_binary: bool, encoding: str) -> Iterator[bytes]:
    for piece in pieces:
        if not isinstance(piece, str):
            yield piece
        elif is_binary:
            raise InterfaceError("a binary COPY needs a source of bytes, got a str in it")
        else:
            yield piece.encode(encoding)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
