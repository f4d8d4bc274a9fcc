"""What must not bring a holder down."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from functools import partial
from pathlib import Path

import pytest

from agent.holder import wire
from agent.holder.client import HolderClient
from agent.holder.protocol import AddressUnavailable, Handover, HolderLost
from tests.integration.holder.load import Load, ask
from tests.integration.holder.node import KEY, Node, eventually, gone_process, kill, run_with_node

ROUNDS = int(os.environ.get("HOTSWAP_TEST_SWAPS", "4"))
MESSAGES: list[bytes] = [
    b"x", b"[]", b"{}", b'{"id":1}', b'{"id":1,"call":"no such"}', b'{"id":1,"call":"begin"}', b'{"call":"state"}',
    b'{"id":1,"call":"listen"}', b'{"id":1,"call":"listen","key":1,"host":2,"port":"x"}',
    b'{"id":1,"call":"listen","key":"k","host":"127.0.0.1","port":99999}',
    b'{"id":1,"call":"spawn","spec":{}}', b'{"id":1,"call":"spawn","spec":[]}',
    b'{"id":1,"call":"signal","identity":"x"}',
    b'{"id":1,"call":"signal","identity":"a:1:1","signal":99,"group":false}', b'{"id":[],"call":{}}',
    b'{"id":1,"call":"retire","identity":"a:-1:x"}', b'{"id":1,"call":"steer","key":"k","side":"C"}',
    b'{"id":1,"call":"restore","snapshot":null}', b'{"id":1,"call":"__class__"}', b"\xff\xfe", b"[" * 100_000,
    b'{"id":1,"call":"shutdown","drainTimeout":"x"}', b'{"id":1,"call":"stop"}', b"null",
]  # fmt: skip


_WHOLE = {"key": "k", "host": "127.0.0.1", "port": 1, "sides": {}, "order": [], "guard": 1, "active": "A"}
SNAPSHOTS: tuple[object, ...] = (None, [], {}, {"key": "k"}, {**_WHOLE, "numbers": [1, 2]})


def test_descriptors_of_what_cannot_be_restored_are_closed(tmp_path: Path) -> None:
    """Each is answered, so that it was read for certain. They are no sockets, and no snapshot is one of theirs."""

    async def story(node: Node) -> None:
        before = descriptors(node.client.holder.pid)
        with wire.new_socket() as sock:
            sock.setblocking(True)
            wire.connect(sock, node.folder)
            for snapshot in SNAPSHOTS:
                for fds in ([0], [0, 1]):
                    wire.send(sock, wire.encode({"id": 1, "call": "restore", "snapshot": snapshot}), fds)
                    while (answer := wire.receive(sock)) is not None and "id" not in answer[0]:
                        pass
                    assert answer is not None
                    assert answer[0]["error"]["code"], answer
            assert descriptors(node.client.holder.pid) == before + 1  # the connection's own

    run_with_node(tmp_path, story)


def test_messages_that_are_none(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v1")
        before = descriptors(node.client.holder.pid)
        chance = random.Random(7)
        noise = [chance.randbytes(chance.randint(1, 200)) for _ in range(100)]
        for data in (*MESSAGES, *noise):
            with wire.new_socket() as sock:
                sock.setblocking(True)
                wire.connect(sock, node.folder)
                try:
                    wire.send(sock, data, [0, 1])
                    wire.send(sock, data)
                except OSError:
                    pass  # it has hung up already
        with wire.new_socket() as sock:  # connected and silent
            sock.setblocking(True)
            wire.connect(sock, node.folder)
            assert await asyncio.to_thread(ask, *node.target) == "v1"
        await node.client.prove(KEY)

        async def none_kept() -> bool:
            return descriptors(node.client.holder.pid) <= before

        await eventually(none_kept)
        assert node.client.holder == (await node.state()).holder

    run_with_node(tmp_path, story)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_an_agent_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    """What it missed is in `state()` when it comes back."""

    async def story(node: Node) -> None:
        await node.listen()

        def ask_and_never_read() -> None:
            with wire.new_socket() as deaf:
                deaf.setblocking(True)
                wire.connect(deaf, node.folder)
                with pytest.raises(ConnectionError):
                    for number in range(20_000):
                        wire.send(deaf, wire.encode({"id": number, "call": "state"}))

        await asyncio.to_thread(ask_and_never_read)
        await node.deploy("v1")
        assert await asyncio.to_thread(ask, *node.target) == "v1"

    run_with_node(tmp_path, story)


def test_a_full_disk(tmp_path: Path) -> None:
    """The holder's own log cannot be written: what it does goes on."""

    async def start_on_a_full_disk(folder: Path) -> None:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                from agent.holder import main

                main.LOG_NAME = "full"
                os._exit(main.run(folder))
            os._exit(0)
        os.wait()

    (tmp_path / "full").symlink_to("/dev/full")

    async def play() -> None:
        client = await HolderClient.open(tmp_path, start=start_on_a_full_disk)
        node = Node(tmp_path, client)
        try:
            await node.listen()
            await node.deploy("v1")
            candidate = await node.start("v2")
            await node.healthy("v2")
            await node.probe("/do/detach")
            proof = await client.prove(KEY)
            assert proof.proven
            await client.stop(candidate.identity, drain_timeout=1.0)
            await client.wait(candidate.identity)
            await node.deploy("v3")
            assert await asyncio.to_thread(ask, *node.target) == "v3"
        finally:
            await node.end()

    asyncio.run(play())


def test_a_stopped_module_and_a_stopped_forwarder(tmp_path: Path) -> None:
    """SIGSTOP is no way out of a retirement."""

    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0", handover=Handover.PORT)
        old = node.current
        assert old is not None and old.forwarder is not None
        await node.start("v1", handover=Handover.PORT)
        await node.healthy("v1")
        await node.switch()
        os.kill(old.identity.pid, signal.SIGSTOP)
        os.kill(old.forwarder.pid, signal.SIGSTOP)
        await node.client.retire(old.identity, drain_timeout=1.0, quiet=0.1)
        await asyncio.wait_for(node.client.wait(old.identity), 20)
        await eventually(partial(gone_process, old.forwarder))
        assert await asyncio.to_thread(ask, *node.target) == "v1"

    run_with_node(tmp_path, story)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Whatever was under way: afterwards there is one active release, which served all the time."""

    async def story(node: Node) -> None:
        await node.listen()
        await node.deploy("v0")
        load = Load(*node.target)
        load.start(keep_alive=1, one_shot=2)
        chance = random.Random(11)
        try:
            for i in range(ROUNDS):
                deployment = asyncio.create_task(node.deploy(f"v{i + 1}"))
                await asyncio.sleep(chance.random() * 0.4)
                kill(node.client.holder)
                await asyncio.wait([deployment])
                error = deployment.exception()  # a start of which it cannot know how far it had come
                assert error is None or isinstance(error, HolderLost), error
                state = await node.state()
                active = state.keys[KEY].active
                serving = state.keys[KEY].sides[active].process
                for process in state.processes:
                    if process.running and process.identity != serving:
                        await node.client.stop(process.identity, drain_timeout=10.0)
                        await node.client.wait(process.identity)
                    elif process.running:
                        node.current = await node.known(process.identity)
        finally:
            await asyncio.to_thread(load.stop)
        assert load.failures == {}

    run_with_node(tmp_path, story)


def test_a_stranger_on_the_address(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        with socket.create_server(("127.0.0.1", 0), reuse_port=True) as stranger:
            port = stranger.getsockname()[1]
            with pytest.raises(AddressUnavailable, match="in use"):
                await node.client.listen("k", "127.0.0.1", port)

    run_with_node(tmp_path, story)
