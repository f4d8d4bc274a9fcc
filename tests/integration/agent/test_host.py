"""Many agents forked from one process: start, one that dies, the host that dies, an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.signatures import public_pem
from tests.integration.agent.bench import CA, KEY, asynchronous
from tests.integration.agent.node import Node
from tests.integration.agent.orchestrator import Orchestrator
from tests.integration.agent.releases import service
from tests.integration.agent.test_process_modules import ask, port_of

ROOT = Path(__file__).parents[3]
NAMES = ("host-a", "host-b", "host-c")


def start_host(configs: Path) -> subprocess.Popen[bytes]:
    with (configs / "host.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "agent.host", "--configs", str(configs)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def pids_of(title: str) -> list[int]:
    """Processes whose command line begins with a title."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().rstrip(b"\0 ").decode()
            except OSError:
                continue
            if line.startswith(title):
                found.append(int(entry.name))
    return found


def agent_pid(configs: Path, host: subprocess.Popen[bytes], name: str) -> int | None:
    """The agent of a name that is a child of this host; other tests of this machine may use the same name."""
    for pid in pids_of(f"hotswap-agent {name}"):
        if f"PPid:\t{host.pid}\n" in (Path("/proc") / str(pid) / "status").read_text():
            return pid
    return None


@asynchronous
async def test_agents_of_one_host(tmp_path: Path) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    async with Orchestrator(tmp_path, CA) as orchestrator:
        nodes = [Node(tmp_path, CA, orchestrator, name) for name in NAMES]
        for node in nodes:
            (node.keys / "publisher.pem").write_bytes(public_pem(KEY.public_key()))
            node.absolute_config(configs / f"{node.name}.toml")
        one = service("1.0.0", KEY)
        orchestrator.serve(one)
        host = start_host(configs)
        try:
            await orchestrator.until(lambda: set(orchestrator.answered) == set(NAMES))
            results = await asyncio.gather(*(orchestrator.do(name, one, 1) for name in NAMES))
            ports = [port_of(result) for result in results]
            assert len(set(ports)) == len(NAMES)

            others = {name: agent_pid(configs, host, name) for name in NAMES[1:]}
            first = agent_pid(configs, host, NAMES[0])
            assert first is not None
            os.kill(first, signal.SIGKILL)
            beats = orchestrator.answered[NAMES[0]]
            await orchestrator.until(lambda: agent_pid(configs, host, NAMES[0]) not in (None, first))
            await orchestrator.until(lambda: orchestrator.answered[NAMES[0]] > beats)
            assert {name: agent_pid(configs, host, name) for name in NAMES[1:]} == others

            agents = [pid for name in NAMES if (pid := agent_pid(configs, host, name)) is not None]
            host.kill()
            host.wait()
            await orchestrator.until(lambda: not any((Path("/proc") / str(pid)).exists() for pid in agents))
            assert [await ask(port) for port in ports] == ["1.0.0"] * len(NAMES)

            host = start_host(configs)
            count = orchestrator.answered.copy()
            await orchestrator.until(lambda: all(orchestrator.answered[name] > count[name] for name in NAMES))
            assert {orchestrator.module(name, "web-service")["restarts"] for name in NAMES} == {0}
            assert [await ask(port) for port in ports] == ["1.0.0"] * len(NAMES)
        finally:
            host.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(host.wait, 60) == 0
        assert not pids_of(f"hotswap-holder --folder {tmp_path}")


def test_a_host_without_configurations_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.host", "--configs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "there is no *.toml" in done.stderr
    (tmp_path / "broken.toml").write_text('node_id = "a"\nnode_idd = "b"\n')
    done = subprocess.run(
        [sys.executable, "-m", "agent.main", "run", "--config", str(tmp_path / "broken.toml")],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
