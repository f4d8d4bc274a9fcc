"""`hotswap up` as a process of its own, with a data folder of its own."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import signatures
from deploy.local.ledger import Ledger
from tests.e2e.api import Api
from tests.e2e.node import Node
from tests.e2e.processes import all_of, command_of
from tests.e2e.waiting import GENEROUS, until

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 300.0
_libc = ctypes.CDLL(None)


def _end_with_tests() -> None:
    """In the child: SIGTERM when the test session dies, however it dies (PR_SET_PDEATHSIG is 1)."""
    _libc.prctl(1, signal.SIGTERM)


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """The last line of the output."""
        return json.loads(self.output.splitlines()[-1])


class Stack:
    """`nodes` as in `hotswap up --nodes`; `settings` are variables of its environment."""

    def __init__(self, folder: Path, nodes: str, settings: Mapping[str, str] | None = None) -> None:
        self._settings = dict(settings or {})
        self.folder = folder / "data"
        self._nodes = nodes
        self._output = folder / "output"
        self._home = folder / "home"
        self._home.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._apis: dict[str, Api] = {}

    # --- its life

    def start(self) -> None:
        """Start it and wait until it is ready. Raises AssertionError, with what it said."""
        command = [sys.executable, "-m", "app.cli.main", "up", "--data-dir", str(self.folder), "--nodes", self._nodes]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--port", "0"],
                cwd=ROOT,
                # Nodes tell of themselves every second, so that no test waits long for the history of it.
                env={**self._environment(), "HOTSWAP_METRICS_SAMPLE_INTERVAL": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_tests,
            )
        until(self._is_ready, "the stack is ready", START_LIMIT)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said
        return self._running().get("pid") == self._process.pid

    def _running(self) -> dict[str, Any]:
        try:
            running: dict[str, Any] = json.loads((self.folder / "run" / "stack.json").read_text())
        except FileNotFoundError:
            return {}
        return running

    def kill(self) -> None:
        """SIGKILL to the supervisor; all else runs on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._forget_logins()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._forget_logins()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(GENEROUS)

    def survivors(self) -> list[str]:
        """The command lines of all that still runs of it."""
        return [command_of(pid) for pid in all_of(str(self.folder))]

    def clear_away(self) -> None:
        """Kill whatever is left of it, so that a test that failed leaves nothing running."""
        self._forget_logins()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

        def gone() -> bool:
            left = list(all_of(str(self.folder)))
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return not left

        until(gone, "nothing of the stack is left")

    @property
    def said(self) -> str:
        """What the supervisors have said so far."""
        return self._output.read_text()

    # --- its parts

    @property
    def url(self) -> str:
        return str(self._running()["urls"]["api"])

    def node(self, name: str) -> Node:
        return Node(self.folder, name)

    def service(self, name: str) -> int:
        """The pid of a service's first process, once it has one."""

        def found() -> int | None:
            records = Ledger(self.folder / "run" / "processes").records()
            return next((record.key.pid for record in records if record.name == name and record.key.is_alive()), None)

        return until(found, f"{name} runs")

    @property
    def signing_key(self) -> signatures.PrivateKey:
        return signatures.load_private((self.folder / "keys" / "development.key").read_bytes())

    # --- its users

    def password(self, user: str) -> str:
        return str(json.loads((self.folder / "credentials.json").read_text())[user])

    def api(self, user: str = "deployer") -> Api:
        """The API, logged in as this user."""
        if user not in self._apis:
            self._apis[user] = Api(self.url, user, self.password(user))
        return self._apis[user]

    def _forget_logins(self) -> None:
        while self._apis:
            self._apis.popitem()[1].close()

    def cli(
        self, *arguments: str, user: str = "deployer", code: int = 0, login: bool = False, typed: str | None = None
    ) -> Said:
        """Run `hotswap`; its exit code must be `code`. With `login` it uses what `hotswap login` has kept."""
        with self.cli_running(*arguments, user=user, login=login) as process:
            output, errors = process.communicate(typed, timeout=GENEROUS)
        said = Said(process.returncode, output, errors)
        assert said.code == code, said
        return said

    @contextmanager
    def cli_running(
        self, *arguments: str, user: str = "deployer", login: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """`hotswap` under way; it does not outlive the context."""
        named = {} if login else {"HOTSWAP_USERNAME": user, "HOTSWAP_PASSWORD": self.password(user)}
        with subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", *arguments],
            cwd=ROOT,
            env={**self._environment(), **named, "HOTSWAP_URL": self.url, "HOTSWAP_DATA_DIR": str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _environment(self) -> Mapping[str, str]:
        """Ours without any setting of HotSwap that somebody has exported."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HOTSWAP_")}
        home = {"HOME": str(self._home), "XDG_CONFIG_HOME": str(self._home)}
        return {**kept, **self._settings, **home, "PYTHONPATH": str(ROOT)}
