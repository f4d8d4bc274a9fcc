"""A module whose releases are built and tested from their source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from agent.archive import pack_bytes
from tests.e2e.api import Json
from tests.e2e.probe_module import PYTHON, SERVER, publish
from tests.e2e.stack import Stack

BUILD = 'mkdir dist && cp server.py dist/ && echo \'{"manner": "good", "deferAccept": false}\' > dist/behaviour.json'
JUNIT = 'echo \'<testsuite><testcase name="a"/><testcase name="b"/></testsuite>\' > junit.xml'


class SourceModule:
    """`build` and `test` are lines for a shell."""

    def __init__(self, stack: Stack, name: str, folder: Path) -> None:
        self.name = name
        self.api = stack.api()
        self._stack, self._folder = stack, folder

    def folder(
        self, version: str, build: str = BUILD, test: str = JUNIT, files: Mapping[str, str] | None = None
    ) -> Path:
        """The folder of a release, not published."""
        folder = self._folder / version
        folder.mkdir(parents=True)
        (folder / "server.py").write_bytes(SERVER.read_bytes())
        manifest = {
            "name": self.name,
            "version": version,
            "kind": "process",
            "build": {"command": ["sh", "-ec", build], "output": "dist"},
            "test": {"command": ["sh", "-ec", test]},
            "run": {"command": [*PYTHON, "server.py"], "listen": "0.0.0.0:8080"},
            "health": {"path": "/healthz", "interval": 0.1},
            "validate": [{"path": "/", "status": 200}],
        }
        for name, text in {"hotswap.yaml": yaml.safe_dump(manifest), **(files or {})}.items():
            (folder / name).write_text(text)
        return folder

    def publish(
        self, version: str, build: str = BUILD, test: str = JUNIT, files: Mapping[str, str] | None = None
    ) -> str:
        """Returns the source's digest."""
        archive = pack_bytes(self.folder(version, build, test, files))
        return str(publish(self.api, self._stack.signing_key, self.name, archive)["digest"])

    def deployed(self, version: str, environment: str) -> Json:
        """Submit and wait; it must succeed."""
        ended = self.api.finished(self.api.deploy(self.name, version, environment))
        assert ended["status"] == "Succeeded", ended
        return ended
