"""``--map``, ``--skip`` and ``--only``: which column a name in the file is loaded into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightvec.errors import InvalidOption, SchemaMismatch


class ColumnMap:
    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        maps: Sequence[str],
        skips: Sequence[str],
        only: bool,
    ) -> None:
        self.table = table
        self.columns = columns
        self.maps = dict(_parse(each, columns) for each in maps)
        if len(self.maps) < len(maps):
            raise InvalidOption("expected each name of the file in one --map")
        self._skips = frozenset(skips)
        self._only = only
        self._sources: dict[str, str] = {}

    def is_loaded(self, name: str) -> bool:
        return name not in self._skips and (name in self.maps or not self._only)

    def names_of(self, columns: Iterable[str]) -> set[str]:
        wanted = set(columns)
        return wanted | {name for name, column in self.maps.items() if column in wanted}

    def column(self, name: str) -> str | None:
        """None if the options leave this name out."""
        if not self.is_loaded(name):
            return None
        column = self.maps.get(name, name)
        if column not in self.columns:
            raise SchemaMismatch(self._no_column(name))
        source = self._sources.setdefault(column, name)
        if source != name:
            both = f"{source!r} and {name!r}"
            raise SchemaMismatch(f"the file has {both} for the column {column}: skip one of them")
        return column

    def _no_column(self, name: str) -> str:
        if not name:
            return "the file has a column without a name: name it, or leave it out with --skip ''"
        if any("\udc80" <= letter <= "\udcff" for letter in name):
            return f"expected names in UTF-8, got {name!r}: save the file as UTF-8"
        return (
            f"the file has {name!r}, and the table {self.table} no such column: it has "
            f"{', '.join(self.columns)} (--map {name}:COLUMN loads it into one, "
            f"--skip {name} leaves it out)"
        )

    def check_maps(self) -> None:
        """Refuse a ``--map`` of a name that the file did not have."""
        found = {*self._sources.values(), *self._skips}
        unused = [name for name in self.maps if name not in found]
        if unused and (self._sources or self._only):
            raise SchemaMismatch(f"the file has no {unused[0]!r}, which --map names")


def _parse(text: str, columns: Sequence[str]) -> tuple[str, str]:
    # Both may hold colons.
    colons = (at for at, letter in enumerate(text) if letter == ":" and at)
    splits = [(text[:at], text[at + 1 :]) for at in colons if text[at + 1 :] in columns]
    if len(splits) != 1:
        known = f"the columns are {', '.join(columns)}"
        why = "which of the colons is it" if splits else known
        wanted = "NAME:COLUMN, with a column of the table"
        raise InvalidOption(f"--map {text}: expected {wanted} ({why})")
    return splits[0]
