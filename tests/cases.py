"""One test for many cases, where pytest's work for a parametrized test would be more than that of the case."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

import pytest

__all__ = ["for_each"]

Test = Callable[..., None]


def for_each(argument: str, cases: Collection[Any], shown: Callable[[Any], str] = repr) -> Callable[[Test], Test]:
    """Call the test with each case as ``argument``; the failure names the case.

    All cases share the test's fixtures. A fixture with a method ``end_case`` has it called after each case.
    """

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for case in cases:
                try:
                    test(**fixtures, **{argument: case})
                    for fixture in fixtures.values():
                        if hasattr(fixture, "end_case"):
                            fixture.end_case()
                except (KeyboardInterrupt, pytest.skip.Exception):
                    raise
                except BaseException as error:  # pytest's own failures are no Exception.
                    raise AssertionError(f"failed with {argument} = {shown(case)}") from error

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name != argument]
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorate
