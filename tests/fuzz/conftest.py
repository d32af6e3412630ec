"""What a real server says to each use of a connection, once a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.judging import TALLY, in_time
from tests.fuzz.uses import Recordings, recorded


@pytest.fixture(scope="session")
def recordings(url: str) -> Recordings:
    """Each use's name, and the answers to it in turns."""
    return recorded(url)


@pytest.fixture
def in_time_at_all() -> Iterator[None]:
    """For a test that must not take long, nor for ever."""
    with in_time():
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried."""
    terminalreporter.write_line(str(TALLY))
