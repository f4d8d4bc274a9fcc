"""Switching under load: no failed request, and nobody meets a release that was not switched to."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import pytest

from agent.holder.protocol import Handover, HolderReplaced, Side, SidePhase
from tests.integration.holder.load import Load, ask
from tests.integration.holder.node import KEY, Node, eventually, kill, run_with_node

# Releases in a row. The long form takes HOTSWAP_TEST_SWAPS=36 for more than 26 switches.
SWAPS = max(4, int(os.environ.get("HOTSWAP_TEST_SWAPS", "11")))


async def bad_candidate(node: Node, version: str, handover: Handover = Handover.SOCKET) -> None:
    """Starts, never gets healthy, is ended."""
    new = await node.start(version, "bad", handover=handover)

    async def answers() -> bool:
        try:
            return await node.probe() == (503, version)
        except OSError:
            return False

    await eventually(answers)
    await node.client.retire(new.identity, drain_timeout=5.0, quiet=0.1)
    await node.client.wait(new.identity)


def test_many_switches_with_bad_candidates_and_late_handshakes(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0", "defer")
        load = Load(*node.target)
        load.start(keep_alive=4, one_shot=4, late=6)
        try:
            for i in range(1, SWAPS + 1):
                if i % 4 == 0 and i < SWAPS:
                    await bad_candidate(node, f"bad{i}")
                    continue
                await node.deploy(f"v{i}", "defer")
            assert await asyncio.to_thread(ask, *node.target) == f"v{SWAPS}"
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}
        assert load.answers > 100
        assert not [version for version in load.versions if version.startswith("bad")]

    run_with_node(tmp_path, story)


def test_switches_while_holders_and_agents_are_killed(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0")
        load = Load(*node.target)
        load.start(keep_alive=3, one_shot=3)
        try:
            for i in range(1, max(4, SWAPS // 4) + 1):
                kill(node.client.holder)
                if i % 3 == 0:
                    await bad_candidate(node, f"bad{i}")
                await node.deploy(f"v{i}")
                if i % 2 == 0:  # an agent's death leaves nothing but closed descriptors
                    await node.client.close()
                    if i % 4 == 0:
                        kill(node.client.holder)
                    node.client = (await Node.open(node.folder)).client
                assert await asyncio.to_thread(ask, *node.target) == f"v{i}"
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}
        assert not [version for version in load.versions if version.startswith("bad")]

    run_with_node(tmp_path, story)


def test_port_handover_switches_and_ends_without_a_failed_request(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0", handover=Handover.PORT)
        assert node.current and node.current.port and node.current.forwarder
        load = Load(*node.target)
        load.start(keep_alive=3, one_shot=3)
        try:
            for i in range(1, 5):
                if i % 3 == 0:
                    await bad_candidate(node, f"bad{i}", Handover.PORT)
                old = node.current
                await node.deploy(f"v{i}", handover=Handover.PORT)
                assert old.forwarder is not None
                await eventually(partial(gone, old.forwarder.pid))
            kill(node.client.holder)
            kill(node.current.forwarder)
            await eventually(lambda: answers_again(node, "v4"))
        finally:
            await asyncio.to_thread(load.stop)
        cut_with_forwarder = sum(load.failures.values())
        assert cut_with_forwarder <= 6, load.failures  # at most one per client, from killing a forwarder with -9
        assert not [version for version in load.versions if version.startswith("bad")]

    run_with_node(tmp_path, story)


async def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def answers_again(node: Node, version: str) -> bool:
    try:
        return await asyncio.to_thread(ask, *node.target) == version
    except OSError:
        return False


def test_a_crashed_active_module_fails_nobody_while_it_is_started_again(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        for handover in (Handover.SOCKET, Handover.PORT):
            await node.deploy("v1", handover=handover)
            assert node.current is not None
            kill(node.current.identity)
            waiting = [asyncio.create_task(asyncio.to_thread(ask, *node.target)) for _ in range(5)]
            exit_ = await node.client.wait(node.current.identity)
            assert (exit_.exit_code, exit_.retired) == (-9, False)
            side = await node.active()
            assert (await node.state()).keys[KEY].sides[side].phase is SidePhase.EXITED
            port = node.current.port
            node.current = await node.client.spawn(node.spec("v1", side, handover=handover))
            assert node.current.port == port
            assert await asyncio.gather(*waiting) == ["v1"] * 5

    run_with_node(tmp_path, story)


def test_going_back_calls_a_retirement_off(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        first = node.current
        assert first is not None
        second = await node.start("v2")
        await node.healthy("v2")
        await node.switch()
        await node.client.retire(first.identity, drain_timeout=5.0, quiet=30.0)
        await node.switch()
        await node.client.retire(second.identity, drain_timeout=5.0, quiet=0.05)
        assert (await node.client.wait(second.identity)).retired
        phases = {side: its.phase for side, its in (await node.state()).keys[KEY].sides.items()}
        assert set(phases.values()) == {SidePhase.OCCUPIED, SidePhase.FREE}
        assert await asyncio.to_thread(ask, *node.target) == "v1"

    run_with_node(tmp_path, story)


def test_a_retirement_is_asked_for_again_after_the_holder_died(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        first = node.current
        assert first is not None
        await node.start("v2")
        await node.healthy("v2")
        await node.switch()
        await node.client.retire(first.identity, drain_timeout=5.0, quiet=30.0)
        kill(node.client.holder)

        async def replaced() -> bool:
            return any(isinstance(event, HolderReplaced) for event in node.events)

        await eventually(replaced)
        await node.client.retire(first.identity, drain_timeout=5.0, quiet=0.05)
        ended = await node.client.wait(first.identity)
        assert (ended.exit_code, ended.retired) == (None, True)
        assert await asyncio.to_thread(ask, *node.target) == "v2"

    run_with_node(tmp_path, story)


def test_a_retirement_goes_on_without_the_agent(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        first = node.current
        assert first is not None
        await node.start("v2")
        await node.healthy("v2")
        await node.switch()
        await node.client.retire(first.identity, drain_timeout=5.0, quiet=0.3)
        await node.client.close()
        await eventually(lambda: gone(first.identity.pid))
        node.client = (await Node.open(node.folder)).client
        ended = next(p for p in (await node.state()).processes if p.identity == first.identity)
        assert (ended.running, ended.exit_code, ended.retiring) == (False, 0, True)

    run_with_node(tmp_path, story)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.7", "::", "::1"])
def test_every_kind_of_address(tmp_path: Path, host: str) -> None:
    async def story(node: Node) -> None:
        await node.listen(host)
        load = Load(*node.target)
        await node.deploy("v0")
        load.start(one_shot=2, keep_alive=1)
        try:
            for i in range(1, 3):
                await node.deploy(f"v{i}")
            await bad_candidate(node, "bad")
            kill(node.client.holder)
            assert (await node.client.prove(KEY)).proven
            await node.deploy("v4")
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}
        assert "bad" not in load.versions

    run_with_node(tmp_path, story)


def test_a_hung_module_is_retired_all_the_same_and_its_users_are_served(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        deaf = await node.client.spawn(node.spec("hung", (await node.active()).other, "deaf"))
        await node.switch()
        assert node.current is not None
        waiting = [asyncio.create_task(asyncio.to_thread(ask, *node.target)) for _ in range(5)]

        async def queued() -> bool:
            return await node.client.accept_queue(KEY, await node.active()) >= 5

        await eventually(queued)
        await node.switch()
        await node.client.retire(deaf.identity, drain_timeout=0.5, quiet=0.1)
        assert await asyncio.gather(*waiting) == ["v1"] * 5
        ended = await node.client.wait(deaf.identity)
        assert (ended.exit_code, ended.retired) == (-9, True)

    run_with_node(tmp_path, story)


def test_both_sides_can_be_asked_for(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        state = (await node.state()).keys[KEY]
        assert state.active is Side.A

        async def quiet() -> bool:  # our own proof is accepted in a moment
            return [its.accept_queue for its in (await node.state()).keys[KEY].sides.values()] == [0, 0]

        await eventually(quiet)
        assert (await node.client.prove(KEY)).proven

    run_with_node(tmp_path, story)
