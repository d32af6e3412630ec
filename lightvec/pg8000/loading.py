"""COPY as methods of a connection, the same ones of the native and of the PEP 249 connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightvec.pg8000.wire import Wire

if TYPE_CHECKING:
    from typing_extensions import Self

    from lightvec.pg8000.copying.load import Progress

__all__ = ["LoadingWire"]


class LoadingWire(Wire):
    """The wire, with COPY; what that needs is loaded at its first use."""

    def __enter__(self) -> Self:
        """The connection, which is closed at the end of the block."""
        return self

    def copy_rows(
        self,
        table: str | tuple[str, str],
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        on_conflict: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Load rows by binary COPY; :func:`lightvec.pg8000.copying.load.copy_rows` says it all."""
        from lightvec.pg8000.copying import load

        self._begin()
        return load.copy_rows(self, table, columns, rows, on_conflict=on_conflict, progress=progress)

    def copy_columns(
        self,
        table: str | tuple[str, str],
        columns: Mapping[str, Any],
        *,
        on_conflict: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Load columns by binary COPY; :func:`lightvec.pg8000.copying.load.copy_columns` says it all."""
        from lightvec.pg8000.copying import load

        self._begin()
        return load.copy_columns(self, table, columns, on_conflict=on_conflict, progress=progress)

    def beginning(self) -> str | None:
        """The statement that must go before the next one so that it is in a transaction, if any."""
        return None

    def _begin(self) -> None:
        before = self.beginning()
        if before is not None:
            self.execute_unnamed(before)
