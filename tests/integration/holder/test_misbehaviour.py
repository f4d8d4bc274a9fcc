"""What modules do to the listener they were lent, and that no user notices."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.holder.protocol import ListenerRepaired, SidePhase
from tests.integration.holder.load import Load, ask
from tests.integration.holder.node import KEY, Node, eventually, kill, run_with_node

BY_A_CANDIDATE = ["shut_down", "close", "nonblocking", "bind_alike", "timeouts", "fork_away"]


@pytest.mark.parametrize("deed", BY_A_CANDIDATE)
def test_a_candidate_misbehaves_under_load(tmp_path: Path, deed: str) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0")
        load = Load(*node.target)
        load.start(keep_alive=2, one_shot=4)
        try:
            for i in range(1, 3):
                new = await node.start(f"bad{i}", "bad")
                await eventually(lambda: answers(node, 503))
                await answers(node, 503, f"/do/{deed}")
                await asyncio.to_thread(load.wait_for, 20)
                await node.client.stop(new.identity, drain_timeout=0.5)
                await node.client.wait(new.identity)
                await node.deploy(f"v{i}")
                assert await asyncio.to_thread(ask, *node.target) == f"v{i}"
                assert (await node.client.prove(KEY)).proven
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}
        assert not [version for version in load.versions if version.startswith("bad")]
        if deed == "shut_down":
            assert [e.lost_listener for e in node.events if isinstance(e, ListenerRepaired)] == [True, True]

    run_with_node(tmp_path, story)


@pytest.mark.parametrize("deed", ["detach", "replace"])
def test_the_program_is_put_back(tmp_path: Path, deed: str) -> None:
    """Until it is back a few users can get to the candidate: here a healthy one, so nobody fails."""

    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0")
        load = Load(*node.target)
        load.start(one_shot=4)
        try:
            for i in range(1, 4):
                new = await node.start(f"v{i}")
                await node.healthy(f"v{i}")
                await answers(node, 200, f"/do/{deed}")
                await asyncio.to_thread(load.wait_for, 50)
                load.versions.clear()
                await eventually(lambda: only_the_active_answers(node))
                await node.switch()
                assert await asyncio.to_thread(ask, *node.target) == f"v{i}"
                assert node.current is not None
                await node.client.retire(node.current.identity, drain_timeout=10.0, quiet=0.1)
                await node.client.wait(node.current.identity)
                node.current = new
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}

    run_with_node(tmp_path, story)


async def answers(node: Node, status: int, path: str = "/") -> bool:
    try:
        return (await node.probe(path))[0] == status
    except OSError:
        return False


async def only_the_active_answers(node: Node) -> bool:
    assert node.current is not None
    tag = next(p.tag for p in (await node.state()).processes if p.identity == node.current.identity)
    return {await asyncio.to_thread(ask, *node.target) for _ in range(12)} == {tag}


def test_the_active_module_shuts_its_listener_down(tmp_path: Path) -> None:
    """Its users wait for its next start; who comes never meets the candidate."""

    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        candidate = await node.start("bad", "bad")
        await eventually(lambda: answers(node, 503))
        assert await asyncio.to_thread(ask, *node.target, "/do/shut_down") == "v1"

        async def told() -> bool:
            return any(isinstance(e, ListenerRepaired) and e.lost_listener for e in node.events)

        await eventually(told)
        waiting = [asyncio.create_task(asyncio.to_thread(ask, *node.target)) for _ in range(4)]
        assert node.current is not None
        await node.client.stop(node.current.identity, drain_timeout=0.5)
        await node.client.wait(node.current.identity)
        assert await answers(node, 503)
        node.current = await node.client.spawn(node.spec("v1", await node.active()))
        assert await asyncio.gather(*waiting) == ["v1"] * 4
        await node.client.stop(candidate.identity, drain_timeout=0.5)
        await node.client.wait(candidate.identity)
        await node.deploy("v2")
        assert await asyncio.to_thread(ask, *node.target) == "v2"

    run_with_node(tmp_path, story)


def test_every_listener_is_shut_down_while_no_holder_watches(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        await node.start("v2")
        await node.healthy("v2")
        source = await node.client.probe_source(KEY)
        os.kill(node.client.holder.pid, 19)  # SIGSTOP: what follows happens unseen
        holder = node.client.holder
        assert await asyncio.to_thread(
            ask, source.target_host, source.target_port, "/do/shut_down", source=(source.source_host, 0)
        ) == "v2"
        assert await asyncio.to_thread(ask, *node.target) == "v1"
        assert await asyncio.to_thread(ask, *node.target, "/do/shut_down") == "v1"
        kill(holder)
        proof = await node.client.prove(KEY)
        assert proof.proven or "no answer" in proof.detail
        for process in (await node.state()).processes:
            await node.client.stop(process.identity, drain_timeout=0.5)
            await node.client.wait(process.identity)
        node.current = None
        await node.deploy("v3")
        await node.deploy("v4")
        assert await asyncio.to_thread(ask, *node.target) == "v4"

    run_with_node(tmp_path, story)


def test_what_a_module_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        new = await node.start("v1")
        await node.healthy("v1")
        await answers(node, 200, "/do/fork_away")
        ended = await node.client.wait(new.identity)
        assert (ended.exit_code, ended.retired) == (0, False)
        side = (await node.active()).other
        assert (await node.state()).keys[KEY].sides[side].phase is SidePhase.EXITED
        folder = str(node.folder)

        async def nothing_is_left() -> bool:
            return not [entry for entry in Path("/proc").iterdir() if started_in(folder, entry)]

        await eventually(nothing_is_left)

    run_with_node(tmp_path, story)


def started_in(folder: str, process: Path) -> bool:
    try:
        return f'HOTSWAP_HOLDER=["{folder}"'.encode() in (process / "environ").read_bytes()
    except OSError:
        return False
