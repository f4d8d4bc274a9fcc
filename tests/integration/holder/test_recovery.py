"""Agent, holder or both are killed; modules go on serving and are found again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from agent.holder import recovery
from agent.holder.client import HolderClient
from agent.holder.protocol import Handover, HolderLost, Side, UnknownProcess
from tests.integration.holder.load import Load, ask
from tests.integration.holder.node import KEY, Node, eventually, kill, run_with_node


async def both_die(node: Node) -> None:
    """An agent that dies leaves no more behind than one that closes its descriptors."""
    holder = node.client.holder
    await node.client.close()
    kill(holder)


@pytest.mark.parametrize("handover", [Handover.SOCKET, Handover.PORT])
@pytest.mark.parametrize("candidate", [False, True])
def test_both_die_and_the_next_ones_find_everything(tmp_path: Path, handover: Handover, candidate: bool) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        for version in ("v0", "v1"):  # the listeners are no longer in the order they were made in
            await node.deploy(version, handover=handover)
        if candidate:
            await node.start("bad", "bad", handover=handover)
        before = await node.state()
        load = Load(*node.target)
        load.start(keep_alive=2, one_shot=2)
        try:
            for _ in range(1 + candidate):
                await both_die(node)
                await asyncio.to_thread(load.wait_for, 10)
                node.client = await HolderClient.open(node.folder)
                await asyncio.to_thread(load.wait_for, 10)
                after = await node.state()
                assert {(p.identity, p.tag, p.side, p.forwarder) for p in after.processes} == {
                    (p.identity, p.tag, p.side, p.forwarder) for p in before.processes if p.running
                }
                assert after.keys[KEY].active is before.keys[KEY].active
                assert after.keys[KEY].address == before.keys[KEY].address
            for process in (await node.state()).processes:
                if process.tag == "bad":
                    await node.client.retire(process.identity, drain_timeout=5.0, quiet=0.1)
                    await node.client.wait(process.identity)
            await node.deploy("v2", handover=handover)
            assert await asyncio.to_thread(ask, *node.target) == "v2"
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}
        assert "bad" not in load.versions

    run_with_node(tmp_path, story)


def test_without_the_right_to_take_descriptors_the_address_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Yama's default for an ordinary user: the next holder joins the group with new sockets only."""

    async def start_without_the_right(folder: Path) -> None:
        pid = os.fork()
        if pid == 0:
            from agent.holder.main import run

            def refused(pidfd: int, fd: int) -> int:
                raise PermissionError(1, "not permitted")

            recovery._pidfd_getfd = refused
            os._exit(run(folder))

    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0")
        load = Load(*node.target)
        load.start(keep_alive=2, one_shot=2)
        try:
            await both_die(node)
            node.client = await HolderClient.open(node.folder, start=start_without_the_right)
            side = (await node.active())
            assert (await node.state()).keys[KEY].sides[side].accept_queue is None
            await asyncio.to_thread(load.wait_for, 20)
            await node.deploy("v1")
            await node.deploy("v2")
            assert await asyncio.to_thread(ask, *node.target) == "v2"
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}

    run_with_node(tmp_path, story)


def test_a_process_that_ended_while_nobody_was_its_parent(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        worker = await node.client.spawn(node.spec("worker", None, "deaf", handover=Handover.NONE))
        waiting = asyncio.create_task(node.client.wait(worker.identity))
        await node.state()
        os.kill(node.client.holder.pid, signal.SIGSTOP)
        kill_quietly(worker.identity.pid)
        kill(node.client.holder)
        ended = await asyncio.wait_for(waiting, 20)
        assert (ended.exit_code, ended.retired) == (None, False)
        with pytest.raises(UnknownProcess):
            await node.client.wait(worker.identity)

    run_with_node(tmp_path, story)


def kill_quietly(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_holder_that_stands_still_is_told_from_one_that_is_gone(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        holder = node.client.holder
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            with pytest.raises(HolderLost):
                await HolderClient.open(node.folder, timeout=0.5)
        finally:
            os.kill(holder.pid, signal.SIGCONT)
        assert (await node.state()).holder == holder

    run_with_node(tmp_path, story)


def test_two_starters_end_with_one_holder(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        others = await asyncio.gather(*(HolderClient.open(node.folder) for _ in range(3)))
        assert {client.holder for client in others} == {node.client.holder}
        for client in others:
            await client.close()

    run_with_node(tmp_path, story)


def test_a_folder_with_a_very_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 25) / ("deeper" * 20)
    folder.mkdir(parents=True)

    async def story(node: Node) -> None:
        await node.listen()
        assert (await node.state()).keys[KEY].active is Side.A

    run_with_node(folder, story)


def test_shutdown_leaves_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        node = await Node.open(tmp_path)
        await node.listen()
        await node.deploy("v1", handover=Handover.PORT)
        await node.start("hung", "deaf")
        holder = node.client.holder
        pids = [holder.pid]
        for process in (await node.state()).processes:
            pids.append(process.identity.pid)
            if process.forwarder:
                pids.append(process.forwarder.pid)
        started = time.monotonic()
        await node.client.shutdown(drain_timeout=0.5)
        assert time.monotonic() - started < 10

        async def all_gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in pids)

        await eventually(all_gone)
        with pytest.raises(OSError):
            await asyncio.to_thread(ask, *node.target)

    asyncio.run(play())
