"""A real agent process on a folder of its own, that a test can kill and start again."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from agent.certificates import CertificateAuthority, issue_node_certificate
from tests.integration.agent.forkserver import fork_agent
from tests.integration.agent.orchestrator import Orchestrator


class Node:
    """One node. `start` returns when its first heartbeat was answered."""

    def __init__(
        self, folder: Path, ca: CertificateAuthority, orchestrator: Orchestrator, name: str = "qa-1", more: str = ""
    ) -> None:
        self.name = name
        self.folder = folder / name
        self.data = self.folder / "data"
        self.keys = self.folder / "keys"
        self.keys.mkdir(parents=True, exist_ok=True)
        self.orchestrator = orchestrator
        self.config = self.folder / "agent.toml"
        (self.folder / "ca.pem").write_bytes(ca.certificate)
        issue_node_certificate(ca, name, "QA").write(self.folder / "node.pem", self.folder / "node.key")
        self.config.write_text(
            f'node_id = "{name}"\nenvironment = "QA"\ndata_dir = "data"\ntrusted_keys = "keys"\n'
            f'path = "{os.environ["PATH"]}"\n'
            f'orchestrator = {{urls = ["{orchestrator.url}"]}}\n'
            'tls = {ca = "ca.pem", certificate = "node.pem", key = "node.key"}\n'
            'labels = {role = "web"}\nlocal = {map_listen = true, map_destinations = true}\n' + more
        )
        self.pid = 0
        self._pidfd: int | None = None

    def absolute_config(self, file: Path) -> None:
        """The same configuration for a file in another folder."""
        text = self.config.read_text()
        for name in ("data", "keys", "ca.pem", "node.pem", "node.key"):
            text = text.replace(f'"{name}"', f'"{self.folder / name}"')
        file.write_text(text)

    def launch(self, crash_at: str = "") -> None:
        """Start the agent and return at once."""
        self._close()
        self.pid = fork_agent(self.config, self.folder / "agent.log", crash_at)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._pidfd = None

    def _close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._pidfd = None

    async def start(self, crash_at: str = "") -> None:
        """Start the agent and wait until it is ready for commands."""
        self.launch(crash_at)
        await self.ready()

    async def ready(self) -> None:
        """Wait for an answered heartbeat of the agent that runs now."""
        beats = self.orchestrator.answered
        count = beats[self.name]
        await self.orchestrator.until(lambda: beats[self.name] >= count + 1 or self.ended())
        assert not self.ended(), self.log()

    def ended(self) -> bool:
        """Whether the agent's process has ended."""
        return self._pidfd is None or bool(select.select([self._pidfd], [], [], 0)[0])

    async def died(self) -> None:
        """Wait for the end of the agent's process."""
        await self.orchestrator.until(self.ended, within=60)
        self._close()

    async def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        await self.died()

    async def stop(self, modules: bool = True) -> None:
        """SIGINT (modules, too) or SIGTERM."""
        if not self.ended():
            os.kill(self.pid, signal.SIGINT if modules else signal.SIGTERM)
            await self.died()

    def log(self) -> str:
        """What the agent said."""
        return (self.folder / "agent.log").read_text()
