"""Releases that do not come up, or do not go: what the deployment says, and that nobody else suffers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.api import Api, stage
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until
from tests.load import Load

WHY = {Manner.UNWELL: "the orders database does not answer", Manner.EXITS: "the licence file is missing"}


@pytest.mark.parametrize("manner", list(WHY))
def test_a_bad_release_stops_at_the_first_wave_and_goes_back(
    module: ProbeModule, api: Api, stack: Stack, manner: Manner
) -> None:
    before = module.served("QA")
    endpoints = module.endpoints("QA")
    bad = module.release(manner, health_limit=3)
    with Load(endpoints) as load:
        load.start(keep_alive=1, one_shot=1)
        load.wait_for(5)
        ended = api.finished(module.deploy(bad, "QA"))
        load.wait_for(5)
    assert load.tally.failures == {} and set(load.tally.versions) == {before}
    assert ended["status"] == "RolledBack"
    deploy = stage(ended, "Deploy")
    assert WHY[manner] in deploy["outputTail"]
    failed = [each for each in api.operations(ended["executionId"]) if each["status"] == "Failed"]
    assert failed and all(WHY[manner] in each["outputTail"] and each["error"] for each in failed)
    assert all(each["wave"] == 0 for each in failed)
    assert module.endpoints("QA") == endpoints and set(module.answers("QA").values()) == {before}
    started = [name for name in endpoints if bad in stack.node(name).starts(module.name)]
    assert 1 <= len(started) <= 2


def test_a_module_that_ignores_sigterm_is_ended_all_the_same(module: ProbeModule, api: Api, stack: Stack) -> None:
    module.deployed(module.release(Manner.STUBBORN, drain=1), "Development")
    starts = stack.node("development-1").module(module.name) / "data" / "starts"
    stubborn = int(starts.read_text().split()[1])
    module.served("Development")
    until(lambda: not Path(f"/proc/{stubborn}").exists(), "the stubborn one is gone")
    module.served("Development")  # on the side that it had
