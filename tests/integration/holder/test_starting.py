"""What a process finds when it begins, and what is said when it cannot begin."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.holder.protocol import (
    AddressUnavailable,
    BadRequest,
    Handover,
    Limits,
    LimitsBy,
    ProcessSpec,
    Side,
    SideBusy,
    StartFailed,
    UnknownKey,
    UnknownProcess,
)
from tests.integration.holder.node import KEY, Node, eventually, run_with_node

TELL = """
import json, os, resource, signal, socket
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[int(fd)] = os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
    except FileNotFoundError:
        pass
names = [socket.socket(fileno=3 + i).getsockname()[1] for i in range(int(os.environ.get("LISTEN_FDS", "0")))]
print(json.dumps({
    "environment": dict(os.environ), "fds": fds, "ports": names, "pid": os.getpid(), "sid": os.getsid(0),
    "pgid": os.getpgid(0), "uid": os.getuid(), "groups": os.getgroups(), "cwd": os.getcwd(),
    "umask": os.umask(0), "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "blocked": [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
}), flush=True)
"""


def telling(node: Node, **changes: object) -> ProcessSpec:
    spec = ProcessSpec(
        name="teller", command=[sys.executable, "-I", "-S", "-c", TELL], cwd=node.folder,
        environment={"PATH": os.defpath, "ONLY": "this"}, log_file=node.folder / "teller.log", handover=Handover.SOCKET,
    )  # fmt: skip
    return replace(spec, **changes)  # type: ignore[arg-type]


async def told(node: Node, spec: ProcessSpec) -> dict[str, object]:
    spawned = await node.client.spawn(spec)
    ended = await node.client.wait(spawned.identity)
    text = spec.log_file.read_text()
    assert ended.exit_code == 0, text
    told = json.loads(text)
    assert told["pid"] == spawned.identity.pid
    assert isinstance(told, dict)
    return told


def test_sockets_environment_and_nothing_else(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        first = await node.client.listen("t/m/http", "127.0.0.1", 0)
        second = await node.client.listen("t/m/admin", "127.0.0.1", 0)
        found = await told(node, telling(node, keys=["t/m/admin", "t/m/http"], side=Side.B))
        assert found["ports"] == [second.port, first.port]
        environment = found["environment"]
        assert isinstance(environment, dict)
        environment.pop("LC_CTYPE", None)  # set by Python itself
        assert json.loads(environment.pop("HOTSWAP_HOLDER"))[2] == found["pid"]
        assert environment == {
            "PATH": os.defpath, "ONLY": "this", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "admin:http",
            "LISTEN_PID": str(found["pid"]), "NGINX": "3;4;",
        }  # fmt: skip
        fds = found["fds"]
        assert isinstance(fds, dict)
        assert {fd: kind for fd, kind in fds.items() if not kind.startswith("/proc/")} == {
            "0": "/dev/null", "1": str(node.folder / "teller.log"), "2": str(node.folder / "teller.log"),
            "3": "socket", "4": "socket",
        }  # fmt: skip
        assert found["sid"] == found["pgid"] == found["pid"]
        assert (found["cwd"], found["umask"], found["blocked"]) == (str(node.folder), 0o022, [])

    run_with_node(tmp_path, story)


def test_without_sockets_there_is_no_word_of_them(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        found = await told(node, telling(node, handover=Handover.NONE, limits=Limits(open_files=77)))
        environment = found["environment"]
        assert isinstance(environment, dict)
        assert not {"LISTEN_FDS", "LISTEN_PID", "NGINX", "PORT"} & set(environment)
        assert found["nofile"] == [77, 77]

    run_with_node(tmp_path, story)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"command": ["no-such-command"]}, "command 'no-such-command': No such file or directory"),
        ({"command": ["/"]}, "command '/': Permission denied"),
        ({"command": [str(Path(__file__))]}, "Permission denied"),
        ({"cwd": Path("/no/such/folder")}, "working folder /no/such/folder: No such file or directory"),
        ({"log_file": Path("/no/such/folder/log")}, "log file: No such file or directory"),
        ({"user": "nobody-of-this-name"}, "there is no user 'nobody-of-this-name'"),
        ({"environment": {"A": "x\0y"}}, "embedded null byte"),
    ],
)
def test_why_it_cannot_begin(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    async def story(node: Node) -> None:
        await node.listen()
        with pytest.raises(StartFailed, match=says):
            await node.client.spawn(telling(node, keys=[KEY], side=Side.B, **changes))
        assert (await node.state()).processes == ()
        await node.deploy("v1")

    run_with_node(tmp_path, story)


def test_what_is_refused(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        address = await node.listen()
        running = await node.start("v1")
        spec = node.spec("v2", (await node.active()).other)
        with pytest.raises(SideBusy):
            await node.client.spawn(spec)
        with pytest.raises(UnknownKey):
            await node.client.spawn(replace(spec, keys=["other"]))
        for wrong in (
            replace(spec, command=[]), replace(spec, side=None), replace(spec, keys=[KEY, KEY]),
            replace(spec, keys=[], handover=Handover.PORT),
        ):  # fmt: skip
            with pytest.raises(BadRequest):
                await node.client.spawn(wrong)
        with pytest.raises(SideBusy):
            await node.client.release(KEY)
        with pytest.raises(SideBusy):
            await node.client.forget(running.identity)
        await node.switch()
        with pytest.raises(SideBusy):
            await node.client.retire(running.identity, drain_timeout=1.0)
        for other in (replace(running.identity, start_time=1), replace(running.identity, boot_id="x")):
            with pytest.raises(UnknownProcess):
                await node.client.signal(other, signal.SIGKILL)
            with pytest.raises(UnknownProcess):
                await node.client.stop(other, drain_timeout=0.0)
        assert await node.client.listen(KEY, address.host, 0) == address
        for host, port in (("127.0.0.2", 0), (address.host, 1), ("localhost", 0), ("", 0)):
            with pytest.raises(AddressUnavailable):
                await node.client.listen(KEY, host, port)
        for host, port in (("no.address", 0), ("203.0.113.7", 0), (address.host, address.port)):
            with pytest.raises(AddressUnavailable):
                await node.client.listen("another", host, port)
        await node.client.signal(running.identity, signal.SIGKILL, group=True)
        assert (await node.client.wait(running.identity)).exit_code == -9
        await node.client.forget(running.identity)
        await node.client.release(KEY)
        await node.client.release(KEY)
        with pytest.raises(UnknownKey):
            await node.client.steer(KEY, Side.A)

    run_with_node(tmp_path, story)


def test_limits_hold(tmp_path: Path) -> None:
    """By whatever this machine has: a cgroup or resource limits."""
    greedy = "x = bytearray(256 * 1024 * 1024); print('got it all')"

    async def story(node: Node) -> None:
        spec = telling(
            node, handover=Handover.NONE, command=[sys.executable, "-S", "-c", greedy],
            limits=Limits(memory_bytes=64 * 1024 * 1024, processes=50),
        )  # fmt: skip
        spawned = await node.client.spawn(spec)
        assert spawned.limits_by is not LimitsBy.NOTHING
        ended = await node.client.wait(spawned.identity)
        assert ended.exit_code in (-9, 1)
        assert "got it all" not in spec.log_file.read_text()
        assert (await node.state()).processes[0].limits_by is spawned.limits_by

    run_with_node(tmp_path, story)


@pytest.mark.parametrize("user", ["nobody", pwd.getpwuid(os.geteuid()).pw_name])
def test_the_user_of_a_process(tmp_path: Path, user: str) -> None:
    """Root may choose; anybody may name himself."""
    may = os.geteuid() == 0 or pwd.getpwnam(user).pw_uid == os.geteuid()

    async def story(node: Node) -> None:
        spec = telling(node, handover=Handover.NONE, user=user, cwd=Path("/"))
        if not may:
            with pytest.raises(StartFailed, match="only root"):
                await node.client.spawn(spec)
            return
        spec = replace(spec, command=["/bin/sh", "-c", "id -u"])
        spawned = await node.client.spawn(spec)
        assert (await node.client.wait(spawned.identity)).exit_code == 0
        assert spec.log_file.read_text().strip() == str(pwd.getpwnam(user).pw_uid)

    run_with_node(tmp_path, story)


def test_a_log_file_is_cut_in_place(tmp_path: Path) -> None:
    chatty = "import time\nfor i in range(10**9):\n    print('line', i, flush=True)\n    time.sleep(0.0005)"

    async def story(node: Node) -> None:
        spec = telling(
            node, handover=Handover.NONE, command=[sys.executable, "-S", "-c", chatty], log_bytes=4000
        )
        spawned = await node.client.spawn(spec)
        inode: int | None = None

        async def cut() -> bool:
            nonlocal inode
            if not spec.log_file.exists():
                return False
            inode = spec.log_file.stat().st_ino if inode is None else inode
            text = spec.log_file.read_text()
            return bool(text) and not text.startswith("line 0\n")

        await eventually(cut)
        assert spec.log_file.stat().st_ino == inode
        await node.client.stop(spawned.identity, drain_timeout=5.0)
        await node.client.wait(spawned.identity)
        numbers = [int(line.split()[1]) for line in spec.log_file.read_text().splitlines()]
        assert numbers == sorted(numbers)
        assert len(numbers) - 1 >= (numbers[-1] - numbers[0]) * 0.9

    run_with_node(tmp_path, story)


def test_a_large_environment(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        spec = telling(node, handover=Handover.NONE, command=["/bin/sh", "-c", "echo ${#BIG}"])
        big = replace(spec, environment={"BIG": "x" * 100_000, "PATH": os.defpath})
        await node.client.wait((await node.client.spawn(big)).identity)
        assert spec.log_file.read_text().strip() == "100000"
        with pytest.raises(BadRequest, match="too large"):
            await node.client.spawn(replace(spec, environment={"BIG": "x" * 1_000_000}))
        with pytest.raises(StartFailed, match="Argument list too long"):
            await node.client.spawn(replace(spec, environment={"BIG": "x" * 150_000}))

    run_with_node(tmp_path, story)


def test_a_state_larger_than_a_packet(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        tag = "tag \u00e4 \"quoted\" " * 1000
        spec = telling(node, handover=Handover.NONE, command=["/bin/sh", "-c", "exit 0"], tag=tag)
        for _ in range(25):
            await node.client.spawn(spec)
        assert [process.tag for process in (await node.state()).processes] == [tag] * 25

    run_with_node(tmp_path, story)


def test_many_processes_at_once(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        spec = telling(node, handover=Handover.NONE, command=["/bin/sh", "-c", "exit 7"])
        spawned = await asyncio.gather(*(node.client.spawn(spec) for _ in range(30)))
        ended = await asyncio.gather(*(node.client.wait(one.identity) for one in spawned))
        assert [end.exit_code for end in ended] == [7] * 30

    run_with_node(tmp_path, story)
