"""Connections that break after every so many bytes, in each direction, by each way to break."""

from __future__ import annotations

from functools import cache

import pytest

from tests.faults.judging import Extent, Trial, measured, tried
from tests.faults.proxy import FIN, RST, STALL, Fault
from tests.faults.scenarios import LARGE, SCENARIOS, Scenario
from tests.relay import CLIENT, SERVER
from tests.scale import scaled

#: How many places of each scenario are tried, in each direction.
CUTS = scaled(10, 1 << 30)
STALLS = scaled(1, 40)
LARGE_CUTS = scaled(3, 100)

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])

#: How long a scenario is in bytes.
extent = cache(measured)


def trials(scenario: Scenario, url: str, how: str, side: str, most: int) -> list[Trial]:
    places = extent(scenario, url).places(side, most, with_login=scenario.with_login)
    return [Trial(scenario, Fault(how, side, place)) for place in places]


@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("how", [FIN, RST])
@each_scenario
def test_cut(scenario: Scenario, how: str, side: str, tables: str) -> None:
    """An error of ours or a right answer, all or nothing, and good or closed afterwards."""
    assert tried(trials(scenario, tables, how, side, CUTS), tables, threads=4) == []


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_stall(side: str, tables: str) -> None:
    """The same, in the time that was given."""
    everywhere = [trial for scenario in SCENARIOS for trial in trials(scenario, tables, STALL, side, STALLS)]
    assert tried(everywhere, tables, threads=16) == []


@pytest.mark.parametrize("how", [FIN, RST, STALL])
@pytest.mark.parametrize("scenario", LARGE, ids=[scenario.name for scenario in LARGE])
def test_large(scenario: Scenario, how: str, tables: str) -> None:
    """Who waits until the server takes more is told, too."""
    assert tried(trials(scenario, tables, how, CLIENT, LARGE_CUTS), tables, threads=4) == []


@each_scenario
def test_one_byte_at_a_time(scenario: Scenario, tables: str) -> None:
    """Right answers, whatever a message comes in."""
    assert isinstance(measured(scenario, tables, piece=1), Extent)
