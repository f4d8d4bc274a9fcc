"""A site: one isolation that this machine can give, and a way to run attacks in it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.sandbox.capabilities import Capabilities
from tests.integration.sandbox.driver import run_request

REPOSITORY = Path(__file__).resolve().parents[3]
NOBODY = 65534
# Without namespaces a command sees only what anybody may read: an interpreter of the system, where there is one.
SYSTEM_PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
PYTHON = SYSTEM_PYTHON or sys.executable
READABLE = () if SYSTEM_PYTHON else (sys.base_prefix, sys.prefix)
MIB = 1024 * 1024

SMALL: dict[str, float] = {
    "wall_seconds": 20.0,
    "cpu_seconds": 20.0,
    "memory_bytes": 192 * MIB,
    "processes": 32,
    "file_bytes": 48 * MIB,
    "disk_bytes": 32 * MIB,
    "files": 500,
    "scratch_bytes": 8 * MIB,
    "grace_seconds": 0.1,
}


class Driver:
    """The other end of `driver`: a process as another user."""

    def __init__(self, user: int, base: Path) -> None:
        paths = {os.fspath(base), os.fspath(REPOSITORY), sys.base_prefix, sys.prefix}
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.integration.sandbox.driver", str(user), *sorted(paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
            env={**os.environ, "HOTSWAP_SECRET": "canary-in-the-environment"},
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the driver has died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(30)


@dataclass
class Site:
    """`driver` None: as the user that runs the tests, in this process."""

    name: str
    capabilities: Capabilities
    base: Path
    driver: Driver | None = None

    def poorer(self, **changes: Any) -> Site:
        return replace(self, capabilities=replace(self.capabilities, **changes))

    def workspace(self) -> Path:
        """A new folder that belongs to who runs the sandbox."""
        folder = self.base / f"{self.name}-{secrets.token_hex(4)}"
        if self.driver is None:
            folder.mkdir()
            folder.chmod(0o755)
        else:
            self.driver.ask(do="make", path=os.fspath(folder))
        return folder

    def run(
        self,
        *command: str,
        workspace: Path | None = None,
        limits: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
        network: str = "none",
        require: Sequence[str] = (),
        cancel_after: float | None = None,
    ) -> dict[str, Any]:
        """The answer of `driver.run_request`."""
        folder = workspace or self.workspace()
        request = {
            "command": command,
            "workspace": os.fspath(folder),
            "readable": READABLE,
            "environment": dict(environment or {}),
            "limits": {**SMALL, **(limits or {})},
            "network": network,
            "require": list(require),
            "cancel_after": cancel_after,
            "capabilities": self.capabilities.as_json(),
            "log": os.fspath(folder.with_name(f"{folder.name}.log")),
        }
        return run_request(request) if self.driver is None else self.driver.ask(do="run", **request)

    def python(self, program: str, *arguments: str, **options: Any) -> dict[str, Any]:
        return self.run(PYTHON, "-c", program, *arguments, **options)

    def remove(self, folder: Path) -> bool:
        """Whether it is gone."""
        if self.driver is not None:
            return not self.driver.ask(do="remove", path=os.fspath(folder))["left"]
        from app.infrastructure.sandbox.removal import remove_tree

        remove_tree(folder)
        return not os.path.lexists(folder)


class Sites(dict[str, Site]):
    """Asked for one that the machine does not give, it skips the test, which so says that it has shown nothing."""

    def __missing__(self, name: str) -> Site:
        pytest.skip(f"this machine does not give the isolation {name!r}")
