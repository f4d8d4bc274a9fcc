"""The promise of the product: releases are swapped under load; no user gets a failed answer, or one of a bad release.

HOTSWAP_E2E_SWAPS says how many good releases each test swaps in (6); every fourth release is one more, never healthy.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.api import Api
from tests.e2e.conftest import ModuleMaker
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.stack import Stack
from tests.load import Load

SWAPS = int(os.environ.get("HOTSWAP_E2E_SWAPS", "6"))
MORE = 3  # answers that each node gives at least between two swaps


def swaps(module: ProbeModule, api: Api, load: Load, disturb: Callable[[int], None]) -> list[str]:
    """Deploy SWAPS good releases to QA and every fourth time a bad one; the versions of the good ones.

    `disturb` is called with a number in the middle of each rollout.
    """
    good = [str(version) for version in set(module.recorded("QA").values())]
    for number in range(1, SWAPS + 1):
        load.wait_for(MORE)
        if number % 3 == 0:
            bad = module.release(Manner.UNWELL, health_limit=1)
            ended = api.finished(module.deploy(bad, "QA"))
            assert ended["status"] == "RolledBack", ended
            assert set(module.recorded("QA").values()) == {good[-1]}
        version = module.release()
        execution_id = module.deploy(version, "QA")
        disturb(number)
        ended = api.finished(execution_id)
        assert ended["status"] == "Succeeded", (number, ended, api.operations(execution_id))
        good.append(version)
    return good


@contextmanager
def under_load(module: ProbeModule, *, late: int = 0) -> Iterator[Load]:
    """Users of every QA node; afterwards every one of them must have been answered, by every node's one endpoint."""
    module.served("QA")
    endpoints = module.endpoints("QA")
    assert len(endpoints) == 5
    with Load(endpoints) as load:
        load.start(keep_alive=2, one_shot=2, late=late)
        load.wait_for(MORE)
        yield load
        load.wait_for(MORE)
    assert module.endpoints("QA") == endpoints
    print(f"{load.tally.answers} answers, {load.tally.failures.total()} failed, by version {dict(load.tally.versions)}")
    assert load.tally.failures == {}


def undisturbed(_number: int) -> None:
    """Nothing happens."""


@pytest.mark.timeout(120 * SWAPS)
@pytest.mark.parametrize("handover", ["socket", "port"])
def test_swaps_fail_nobody(new_module: ModuleMaker, api: Api, handover: str) -> None:
    # With a deferred accept the handshake of a late user ends half a second after it chose its side.
    module = new_module(handover=handover, defer_accept=handover == "socket")
    with under_load(module, late=2) as load:
        good = swaps(module, api, load, undisturbed)
    assert set(load.tally.versions) == set(good)
    assert module.answers("QA") == dict.fromkeys(module.endpoints("QA"), good[-1])


@pytest.mark.timeout(120 * SWAPS)
def test_swaps_fail_nobody_while_agents_and_holders_are_killed(module: ProbeModule, api: Api, stack: Stack) -> None:
    names = list(api.nodes("QA"))

    def disturb(number: int) -> None:
        choice = random.Random(number)
        stack.node(choice.choice(names)).kill_agent()
        stack.node(choice.choice(names)).kill_holder()

    with under_load(module) as load:
        good = swaps(module, api, load, disturb)
    assert set(load.tally.versions) == set(good)
    assert module.answers("QA") == dict.fromkeys(module.endpoints("QA"), good[-1])
