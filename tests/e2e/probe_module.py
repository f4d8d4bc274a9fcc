"""A module made of the probe server: its releases, and what its users see."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from agent import signatures
from agent.archive import pack_bytes
from tests.e2e.api import Api, Json, Refused
from tests.e2e.stack import Stack

SERVER = Path(__file__).parent / "probe" / "server.py"
# A module does not get our virtual environment; without site packages the interpreter starts in a few milliseconds.
PYTHON = [str(Path(sys.executable).resolve()), "-S", "-E"]


class Manner(StrEnum):
    """How a release behaves."""

    GOOD = "good"
    UNWELL = "unwell"  # starts, and never gets healthy
    EXITS = "exits"  # at once, with code 3
    STUBBORN = "stubborn"  # ignores SIGTERM
    SLOW = "slow"  # gets healthy after a while
    GATED = "gated"  # gets healthy on a node once its gate is open there


def publish(api: Api, key: signatures.PrivateKey, module: str, archive: bytes) -> Json:
    """Sign and publish. Raises Refused."""
    digest = signatures.Digest.of_bytes(archive)
    fields = {"signature": signatures.sign(key, digest), "keyId": signatures.key_id(key.public_key())}
    files = {"artifact": ("module.tar.gz", archive, "application/gzip")}
    answer = api.call("POST", f"/modules/{module}/releases", data=fields, files=files)
    if answer.status_code not in (200, 201):
        raise Refused(answer)
    body: Json = answer.json()
    return body


def ask(url: str, path: str = "/") -> str:
    """The body of one answer of status 200. Raises OSError, AssertionError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (answer.status, body)
        return body
    finally:
        connection.close()


class ProbeModule:
    """`handover` is for all its releases. Versions count up: 1.0.0, 1.1.0, ..."""

    def __init__(
        self, stack: Stack, name: str, folder: Path, *, handover: str = "socket", defer_accept: bool = False
    ) -> None:
        folder.mkdir()
        self.name = name
        self._stack, self._folder = stack, folder
        self._handover, self._defer_accept = handover, defer_accept
        self._next = 0

    @property
    def api(self) -> Api:
        return self._stack.api()

    def folder(self, manner: Manner = Manner.GOOD, *, drain: float = 30, health_limit: float = 60) -> tuple[str, Path]:
        """The next version and the folder of its release, not published."""
        version = f"1.{self._next}.0"
        self._next += 1
        folder = self._folder / version
        folder.mkdir()
        shutil.copyfile(SERVER, folder / "server.py")
        (folder / "behaviour.json").write_text(json.dumps({"manner": manner.value, "deferAccept": self._defer_accept}))
        (folder / "hotswap.yaml").write_text(f"""\
name: {self.name}
version: {version}
kind: process
run:
  command: {json.dumps([*PYTHON, "server.py"])}
  listen: "0.0.0.0:8080"
  handover: {self._handover}
health: {{path: /healthz, timeout: 10, interval: 0.1, successes: 2, startTimeout: {health_limit}}}
drain: {{timeout: {drain}}}
validate: [{{path: /, status: 200}}]
""")
        return version, folder

    def release(self, manner: Manner = Manner.GOOD, *, drain: float = 30, health_limit: float = 60) -> str:
        """Publish the next version; its number. `health_limit`: seconds in which it has to get healthy."""
        version, folder = self.folder(manner, drain=drain, health_limit=health_limit)
        publish(self.api, self._stack.signing_key, self.name, pack_bytes(folder))
        return version

    def deploy(self, version: str, environment: str, **more: object) -> str:
        """Submit; the id."""
        return self.api.deploy(self.name, version, environment, **more)

    def deployed(self, version: str, environment: str, **more: object) -> Json:
        """Submit and wait; it must succeed."""
        ended = self.api.finished(self.deploy(version, environment, **more))
        assert ended["status"] == "Succeeded", (ended, self.api.operations(ended["executionId"]))
        return ended

    def served(self, environment: str) -> str:
        """Bring a good release there; its version."""
        version = self.release()
        self.deployed(version, environment)
        return version

    def endpoints(self, environment: str) -> dict[str, str]:
        """Host name -> URL."""
        return {name: str(each["endpoint"]) for name, each in self.api.active(environment, self.name).items()}

    def recorded(self, environment: str) -> dict[str, str]:
        """Host name -> the version that the API says is active."""
        return {name: str(each["version"]) for name, each in self.api.active(environment, self.name).items()}

    def answers(self, environment: str) -> dict[str, str]:
        """Host name -> the version that answers there."""
        return {name: ask(url) for name, url in self.endpoints(environment).items()}

    def open_gates(self, version: str, *names: str) -> None:
        """Let a gated release get healthy on these nodes."""
        for name in names:
            self._stack.node(name).open_gate(self.name, version)
