"""Many swaps under load, with bad releases, and kill -9 of agent and holder in between: no user notices anything."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.integration.agent.bench import Bench, asynchronous, bench
from tests.integration.agent.load import Load
from tests.integration.agent.releases import service
from tests.integration.agent.test_process_modules import holder_of, port_of

SWAPS = int(os.environ.get("HOTSWAP_TEST_SWAPS", "4"))  # each waits a second for the side to become quiet
QUICK_TO_FAIL = "health: {path: /healthz, timeout: 0.5, interval: 0.05, startTimeout: 1}\n"


@pytest.mark.parametrize(
    ("run", "swaps"), [("", SWAPS), ("  handover: port\n", max(3, SWAPS // 2))], ids=["socket", "port"]
)
def test_swaps_with_deaths_in_between(tmp_path: Path, run: str, swaps: int) -> None:
    @asynchronous
    async def scenario() -> None:
        async with bench(tmp_path) as at:
            await swap_again_and_again(at, run, swaps)

    scenario()


async def swap_again_and_again(at: Bench, run: str, swaps: int) -> None:
    first = service("0.0.0", at.key, run=run)
    at.orchestrator.serve(first)
    result = await at.orchestrator.do("qa-1", first, 1)
    endpoint, serving, bad = result["endpoint"], first, []
    async with Load(port_of(result)).running(6) as load:
        for number in range(1, swaps + 1):
            unwell = number % 4 == 0
            behaviour, health = ("unwell", QUICK_TO_FAIL) if unwell else ("good", "")
            new = service(f"0.0.{number}", at.key, behaviour=behaviour, more=health, run=run)
            at.orchestrator.serve(new)
            operation_id, reply = await at.orchestrator.put("qa-1", new, number + 1)
            assert reply.status == 202, reply
            killed = await _disturb(at, number)
            result = await at.orchestrator.result("qa-1", operation_id)
            if killed and result["state"] == "failed":
                assert result["error"]["code"] == "interrupted", result
                result = await at.orchestrator.do("qa-1", new, number + 1)
            assert result["state"] == ("failed" if unwell else "succeeded"), result
            bad += [new.version] if unwell else []
            serving = serving if unwell else new
            assert (result["activeVersion"], result["endpoint"]) == (serving.version, endpoint)
    assert not load.failures, load.failures
    assert not set(bad) & set(load.answers)
    assert sum(load.answers.values()) > 20 * swaps
    state = (await at.orchestrator.call("qa-1", "GET", "/v1/state")).body
    assert state["modules"][0]["digest"] == serving.digest


async def _disturb(at: Bench, number: int) -> bool:
    """kill -9 of the agent in every third swap, of the holder in every fourth, at a moment that moves."""
    await asyncio.sleep(0.02 * (number % 7))
    if number % 4 == 0:
        holder = holder_of(at)
        if holder is not None:
            os.kill(holder, signal.SIGKILL)
    if number % 3 == 0:
        await at.node.kill()
        await at.node.start()
        return True
    return False
