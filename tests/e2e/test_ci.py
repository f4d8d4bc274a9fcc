"""deploy/ci/curl.sh from the beginning to the end, on real nodes. Its errors: integration/cli/test_ci_snippets.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.archive import pack_bytes
from tests.e2e.api import Api
from tests.e2e.conftest import NameMaker
from tests.e2e.stack import Stack
from tests.e2e.waiting import GENEROUS

CURL = Path(__file__).resolve().parents[2] / "deploy" / "ci" / "curl.sh"
SITE = """\
name: {name}
version: {version}
kind: files
hooks: {{validateService: {{command: [{hook}], timeout: 10}}}}
"""


def curl(stack: Stack, module: Path, environment: str) -> subprocess.CompletedProcess[str]:
    login = {"username": "deployer", "password": stack.password("deployer")}
    token = stack.api().call("POST", "/authentication/login", json=login).json()["token"]
    given = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(module.parent),
        "HOTSWAP_URL": stack.url,
        "HOTSWAP_TOKEN": token,
        "HOTSWAP_SIGNING_KEY": str(stack.folder / "keys" / "development.key"),
        "TIMEOUT": str(int(GENEROUS)),
        "POLL": "0.2",
    }
    command = ["sh", str(CURL), str(module), environment]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=2 * GENEROUS)


@pytest.mark.parametrize("tools", ["curl openssl tar gzip"] if shutil.which("curl") and shutil.which("openssl") else [])
def test_curl_alone_publishes_deploys_and_tells_how_it_ended(
    stack: Stack, api: Api, new_name: NameMaker, tmp_path: Path, tools: str
) -> None:
    """On a machine without curl or openssl there is nothing to run; its text is looked at in tests/integration."""
    assert all(shutil.which(tool) for tool in tools.split())
    folder = tmp_path / new_name("curl")
    folder.mkdir()
    for version, hook, code in (("1.0.0", '"true"', 0), ("1.1.0", '"sh", "-c", "echo ::error::no >&2; exit 3"', 1)):
        (folder / "hotswap.yaml").write_text(SITE.format(name=folder.name, version=version, hook=hook))
        done = curl(stack, folder, "Development")
        assert done.returncode == code, done.stdout + done.stderr
        assert f"published: {folder.name} {version} (sha256:" in done.stdout
    assert "\n| Deploy to Development: " in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert {each["version"] for each in api.active("Development", folder.name).values()} == {"1.0.0"}

    policy = tmp_path / "gated.yaml"
    policy.write_text("name: Gated\norder: 9\nstrategy: direct\napprovals: {required: 1}\n")
    stack.cli("environment", "apply", str(policy), user="admin")
    (folder / "hotswap.yaml").write_text(SITE.format(name=folder.name, version="1.2.0", hook='"true"'))
    archive = tmp_path / "module.tar.gz"
    archive.write_bytes(pack_bytes(folder))
    waits = curl(stack, archive, "Gated")
    assert waits.returncode == 7, waits.stdout + waits.stderr
    (left,) = api.get("/deployments", environment="Gated")
    api.post(f"/deployments/{left['executionId']}/cancel")
    api.finished(left["executionId"])
