"""The tables that the scenarios read and write, once a run."""

from __future__ import annotations

import pytest

from lightvec.pg8000 import connect
from tests.faults.judging import TALLY
from tests.faults.scenarios import TABLES


@pytest.fixture(scope="session")
def tables(url: str) -> str:
    """The suite's database with the tables in it."""
    with connect(url) as connection:
        connection.run(TABLES)
    return url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried."""
    terminalreporter.write_line(str(TALLY))
