"""How large, how long, how many nodes: docs/scale.md, computed for any number of vectors.

    python -m examples.scale [VECTORS]

The page has the constants (`make bench-scale` measures them) and the formulas; its tables are what this module makes of
them. Without a number this is for 20 million vectors. It prints::

    20,000,000 vectors of 384 dimensions
      vector   table … index … to build … loaded in … built in … on … of … shards …
      halfvec  table … index … to build … loaded in … built in … on … of … shards …
      bit      table … index … to build … loaded in … built in … on … of … shards …
    20,000,000 vectors of 1,536 dimensions
      vector   table … index … to build … loaded in … built in … on … of … shards …
      halfvec  table … index … to build … loaded in … built in … on … of … shards …
      bit      table … index … to build … loaded in … built in … on … of … shards …
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from math import ceil, log2
from pathlib import Path
from typing import NamedTuple

__all__ = ["COUNTS", "DIMENSIONS", "FORMS", "PAGE", "Plan", "constants", "page", "plan", "with_constants"]

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"

COUNTS = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
DIMENSIONS = (384, 1_536)
#: What the table holds and the index: vectors and vectors, halfvecs and halfvecs, vectors and bits.
FORMS = ("vector", "halfvec", "bit")

_SIGNIFICANT = 4

Constants = Mapping[str, float]


class Plan(NamedTuple):
    """What so many vectors take: bytes, of the graph those of one shard, and seconds."""

    table_bytes: float
    index_bytes: float
    graph_bytes: float
    load_seconds: float
    build_seconds: float
    nodes: int
    shards: int


def plan(given: Constants, form: str, dimensions: int, count: int) -> Plan:
    """The formulas of the page."""
    key = f"{form} {dimensions}"
    table = count * (given[f"table bytes large {key}"] + given[f"key bytes large {key}"])
    index = count * given[f"index bytes large {key}"]
    in_memory = ceil(index / (given["node memory bytes"] * given["node part for caching"]))
    on_disk = ceil((table + index) / (given["node disk bytes"] * given["node part of disk"]))
    nodes = max(in_memory, on_disk)
    graph = count * given[f"graph bytes {key}"]
    shards = nodes * ceil(graph / nodes / given["node maintenance_work_mem bytes"])
    load = count / given[f"load rows/s {dimensions}"]
    one_shard = build_seconds(given, key, count / shards) * given["cores"] / given["node cores"]
    return Plan(table, index, graph / shards, load, one_shard * shards / nodes, nodes, shards)


def build_seconds(given: Constants, key: str, count: float) -> float:
    """What a build of so many rows takes where it was measured, if its graph fits into memory."""
    measured = given[f"rows large {key}"]
    return given[f"build s large {key}"] * (count * log2(count)) / (measured * log2(measured))


# The page


def constants(text: str) -> dict[str, float]:
    """The constants that a page states, ``name = value`` a line."""
    return {
        name: float(value.replace(",", ""))
        for block in re.findall(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        for name, value in re.findall(r"^(.+?) += ([\d.,]+)$", block, re.MULTILINE)
    }


def with_constants(text: str, measured: Constants) -> str:
    """The page with these constants, which are all that were measured; what is assumed stays."""
    width = max(map(len, measured))
    lines = "\n".join(f"{name:<{width}} = {_rounded(value)}" for name, value in measured.items())
    return _between(text, "measured", f"```text\n{lines}\n```")


def page(text: str) -> str:
    """The page with the tables that follow from its constants."""
    given = constants(text)
    for dimensions in DIMENSIONS:
        text = _between(text, f"table {dimensions}", _table(given, dimensions))
    text = _between(text, "rates", _rates(given))
    text = _between(text, "fit", _fit(given))
    return _between(text, "storage", _storage(given))


def _between(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"expected {begin.strip()} and {end} in the page")
    return f"{head}{begin}\n{content}\n\n{end}{tail}"


def _rounded(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    digits = max(_SIGNIFICANT - len(str(int(value))), 0)
    return f"{value:,.{digits}f}"


def _rows(head: str, rows: list[list[str]]) -> str:
    width = head.count("|") + 1
    lines = [head, " | ".join(["---", *["---:"] * (width - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _table(given: Constants, dimensions: int) -> str:
    rows = []
    for count in COUNTS:
        for form in FORMS:
            found = plan(given, form, dimensions, count)
            sizes = [_size(found.table_bytes), _size(found.index_bytes), _size(found.graph_bytes)]
            times = [_time(found.load_seconds), _time(found.build_seconds)]
            rows.append([f"{count:,} {form}", *sizes, *times, f"{found.nodes:,}", f"{found.shards:,}"])
    head = "vectors, form | table | index | `maintenance_work_mem` | load | build | nodes | shards"
    return _rows(head, rows)


def _rates(given: Constants) -> str:
    kinds = {
        "matrix of 384 dimensions": "384",
        "matrix of 1,536 dimensions": "1536",
        "matrix of 384, into a table with an HNSW index": "indexed",
        "JSON lines of 384, by `lightvec load`": "JSON",
    }
    rows = [[what, f"{given[f'load rows/s {key}']:,.0f}"] for what, key in kinds.items()]
    return _rows("what is loaded | rows/s", rows)


def _fit(given: Constants) -> str:
    rows = []
    for dimensions in DIMENSIONS:
        for form in FORMS:
            key = f"{form} {dimensions}"
            small, taken = given[f"rows small {key}"], given[f"build s small {key}"]
            said = build_seconds(given, key, small)
            bytes_a_row = [given[f"index bytes {size} {key}"] for size in ("small", "large")]
            sizes = [f"{value:,.0f}" for value in bytes_a_row]
            large = [f"{given[f'rows large {key}']:,.0f}", f"{given[f'build s large {key}']:.1f} s"]
            rows.append([key, f"{small:,.0f}", f"{taken:.1f} s", f"{said:.1f} s", *large, *sizes])
    head = "form | rows | built in | by the formula | rows | built in | index bytes a row, fewer | more"
    return _rows(head, rows)


def _storage(given: Constants) -> str:
    one = given["load rows/s 1536"]
    rows = [
        ["EXTERNAL (pgvector's default): in TOAST", f"{given['table bytes large vector 1536']:,.0f}", f"{one:,.0f}"],
        ["PLAIN: in the row", f"{given['table bytes plain 1536']:,.0f}", f"{given['load rows/s plain 1536']:,.0f}"],
    ]
    return _rows("1,536 dimensions | table bytes a row | load rows/s", rows)


def _size(count: float) -> str:
    """Bytes in decimal units.

    >>> _size(920_000_000), _size(1_638_400_000), _size(7.7e12)
    ('0.9 GB', '1.6 GB', '7.7 TB')
    """
    unit, name = (1e12, "TB") if count >= 1e12 else (1e9, "GB")
    return f"{_two_digits(count / unit)} {name}"


def _time(seconds: float) -> str:
    """Seconds as they are told.

    >>> _time(40), _time(400), _time(9_000), _time(400_000)
    ('40 s', '6.7 min', '2.5 h', '4.6 days')
    """
    for limit, unit, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{_two_digits(seconds / unit)} {name}"
    return f"{_two_digits(seconds / 86_400)} days"


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def main() -> None:
    """Print the plans for a number of vectors."""
    count = int(sys.argv[1].replace(",", "").replace("_", "")) if len(sys.argv) > 1 else 20_000_000
    given = constants(PAGE.read_text(encoding="utf-8"))
    for dimensions in DIMENSIONS:
        print(f"{count:,} vectors of {dimensions:,} dimensions")
        for form in FORMS:
            found = plan(given, form, dimensions, count)
            sizes = map(_size, (found.table_bytes, found.index_bytes, found.graph_bytes))
            times = map(_time, (found.load_seconds, found.build_seconds))
            told = "  {:<8} table {}, index {}, to build {}, loaded in {}, built in {}".format(form, *sizes, *times)
            print(f"{told}, on {found.nodes:,} nodes of {found.shards // found.nodes:,} shards each")


if __name__ == "__main__":
    main()
