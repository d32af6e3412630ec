"""Plans of Citus: what is in them of each shard, under a node of its own (``Custom Scan``, ``Citus Adaptive``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["tasks", "unnumbered", "unplanned"]

_NUMBERED = ("Relation Name", "Index Name")


def unnumbered(plan: Any, is_task: bool = False) -> Any:
    """A plan with the names of tables and indexes as they are on the coordinator, without the shards' numbers.

    >>> unnumbered({"Tasks": [{"Index Name": "doc_hnsw_102008"}]})
    {'Tasks': [{'Index Name': 'doc_hnsw'}]}
    """
    if isinstance(plan, list):
        return [unnumbered(each, is_task) for each in plan]
    if not isinstance(plan, dict):
        return plan
    changed = {name: unnumbered(each, is_task or name == "Tasks") for name, each in plan.items()}
    for name in _NUMBERED if is_task else ():
        if name in changed:
            changed[name] = re.sub(r"_\d+\Z", "", changed[name])
    return changed


def tasks(plan: Any) -> Iterator[Any]:
    """The tasks in a plan, one for each shard that is shown."""
    if isinstance(plan, list):
        for each in plan:
            yield from tasks(each)
    elif isinstance(plan, dict):
        for name, each in plan.items():
            if name == "Tasks" and isinstance(each, list):
                yield from each
            yield from tasks(each)


def unplanned(plan: Any) -> bool:
    """Whether Citus could not get the plan of a shard."""
    return any("Error" in task for task in tasks(plan))
