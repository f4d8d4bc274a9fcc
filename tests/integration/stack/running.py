"""A supervisor in a process of its own, and the end of everything that it started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.holder import wire
from agent.holder.protocol import SOCKET_NAME
from deploy.local.ledger import Ledger
from deploy.local.processes import ProcessKey, key_of, session_members

ROOT = Path(__file__).resolve().parents[3]
GENEROUS = 120.0  # seconds; a slow machine may need them
COMMAND = "from app.cli.main import main; main()"  # what the console script does


def until(condition: Callable[[], object], what: str, limit: float = GENEROUS) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.02)


class RunningStack:
    """The small stack over `folder`, or with `nodes` the whole one. As a context it leaves no process behind."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        port: int = 0,
        nodes: str | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._output = folder.with_name(folder.name + ".output")
        self._seen: set[ProcessKey] = set()
        small = ["-m", "tests.integration.stack.small_stack", str(folder), str(port), *flags]
        whole = ["-c", COMMAND, "up", "--data-dir", str(folder), "--port", str(port), "--nodes", str(nodes), *flags]
        command = [*prefix, sys.executable, *(small if nodes is None else whole)]
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "HOTSWAP_API_PROCESSES": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "RunningStack":
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.update(self.processes())
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._seen.update(self.processes(), self.holders())
        for key in self._seen:
            if key.is_alive():
                os.kill(key.pid, signal.SIGKILL)
        until(lambda: not any(key.is_alive() for key in self._seen), "everything has ended")

    @property
    def output(self) -> str:
        """What the supervisors over this folder have said."""
        return self._output.read_text()

    def until_ready(self) -> dict[str, str]:
        """Wait for it; its URLs."""
        until(lambda: self._running() or self.process.poll() is not None, "it is ready")
        running = self._running()
        assert running is not None, self.output
        self._seen.update(self.processes())
        return running

    def _running(self) -> dict[str, str] | None:
        try:
            said = json.loads((self.folder / "run" / "stack.json").read_text())
        except FileNotFoundError:
            return None
        return dict(said["urls"]) if said["pid"] == self.process.pid else None

    def key(self, service: str) -> ProcessKey:
        """The process that the ledger has for a service."""
        records = Ledger(self.folder / "run" / "processes").records()
        return next(record.key for record in records if record.name == service)

    def processes(self) -> set[ProcessKey]:
        """All that the ledger leads to."""
        if not (self.folder / "run").exists():
            return set()
        records = Ledger(self.folder / "run" / "processes").records()
        return {member for record in records for member in session_members(record.key)}

    def holders(self) -> set[ProcessKey]:
        """The holders of its nodes, as their sockets tell."""
        found = set()
        for path in self.folder.glob(f"nodes/*/{SOCKET_NAME}"):
            with wire.new_socket() as connection:
                try:
                    wire.connect(connection, path.parent)
                except OSError:
                    continue
                key = key_of(wire.peer(connection)[0])
            if key is not None:
                found.add(key)
        return found

    def kill(self, service: str) -> None:
        """SIGKILL to a service's process."""
        os.kill(self.key(service).pid, signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the supervisor to stop; its exit code."""
        self._seen.update(self.processes(), self.holders())
        self.process.send_signal(number)
        return self.process.wait(GENEROUS)

    def survivors(self) -> list[ProcessKey]:
        """What still runs of everything that was seen."""
        return [key for key in self._seen if key.is_alive()]
