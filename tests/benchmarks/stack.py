"""A whole local stack for a benchmark, driven as a user would: `hotswap up`, the HTTP API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agent.archive import pack_bytes
from agent.signatures import Digest, key_id, load_private, sign
from deploy.local.ports import free_ports

READY_WITHIN = 180.0
ENDED = {"Succeeded", "Failed", "RolledBack", "Rejected", "Expired", "Cancelled", "Superseded"}


@dataclass
class Stack:
    url: str
    folder: Path
    pid: int
    client: httpx.Client
    ready_seconds: float

    def publish(self, module: Path) -> dict[str, Any]:
        """Pack, sign with the stack's own key, upload."""
        archive = pack_bytes(module)
        key = load_private((self.folder / "keys" / "development.key").read_bytes())
        name = next(
            line.partition(":")[2].strip()
            for line in (module / "hotswap.yaml").read_text().splitlines()
            if line.startswith("name:")
        )
        answer = self.client.post(
            f"/api/v1/modules/{name}/releases",
            files={"artifact": ("module.tar.gz", archive)},
            data={"signature": sign(key, Digest.of_bytes(archive)), "keyId": key_id(key.public_key())},
        )
        answer.raise_for_status()
        return dict(answer.json())

    def submit(self, module: str, version: str, environment: str, **more: Any) -> str:
        answer = self.client.post(
            "/api/v1/deployments",
            json={"moduleName": module, "version": version, "targetEnvironment": environment, **more},
        )
        answer.raise_for_status()
        return str(answer.json()["executionId"])

    def ended(self, execution: str, limit: float = 300) -> dict[str, Any]:
        """Wait for the end of a deployment."""
        deadline = time.monotonic() + limit
        while True:
            shown = dict(self.client.get(f"/api/v1/deployments/{execution}").json())
            if shown["status"] in ENDED:
                return shown
            if time.monotonic() > deadline:
                raise TimeoutError(f"{execution} is still {shown['status']}")
            time.sleep(0.1)

    def endpoints(self, environment: str, module: str) -> list[str]:
        nodes = self.client.get(f"/api/v1/clusters/{environment}").json()["nodes"]
        found = [
            release["endpoint"] for node in nodes for release in node["releases"] if release["moduleName"] == module
        ]
        return [endpoint for endpoint in found if endpoint]


def _environment() -> dict[str, str]:
    """Ours, without the settings of another installation (or of the benchmark before)."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HOTSWAP_")}
    return {**own, "PYTHONPATH": str(Path.cwd())}


@contextmanager
def stack(folder: Path, nodes: str) -> Iterator[Stack]:
    """A ready stack with a logged-in administrator, stopped at the end."""
    port = free_ports(1)[0]
    command = [
        sys.executable,
        "-m",
        "app.cli.main",
        "up",
        "--data-dir",
        str(folder),
        "--port",
        str(port),
        "--nodes",
        nodes,
    ]
    begun = time.monotonic()
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
    try:
        _wait_until_ready(client, process, begun)
        ready = time.monotonic() - begun
        password = json.loads((folder / "credentials.json").read_text())["admin"]
        login = client.post("/api/v1/authentication/login", json={"username": "admin", "password": password})
        login.raise_for_status()
        client.headers["Authorization"] = f"Bearer {login.json()['token']}"
        yield Stack(str(client.base_url), folder, process.pid, client, ready)
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], begun: float) -> None:
    while True:
        try:
            if client.get("/health/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() - begun > READY_WITHIN:
            raise RuntimeError("the stack did not become ready; see its log beside its folder")
        time.sleep(0.2)
