"""`lint` says what the API says, word for word. All faults there are, without HTTP: unit/cli/test_lint.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent import signatures
from agent.signatures import Digest, load_private
from tests.integration.cli.conftest import ADMIN, Hotswap, Server
from tests.unit.archive.tarball import archive
from tests.unit.archive.test_refused import REFUSED

SEVERAL = b"name: UPPER\nversion: one\nkind: process\nrunn: 1\nshared: 7\n"
BAD = {
    **{name: content.getvalue() for name, (content, _) in list(REFUSED.items())[::12]},
    "several faults in a manifest": archive(manifest=SEVERAL).getvalue(),
    "no YAML": archive(manifest=b"name: 'abc\n").getvalue(),
}


@pytest.fixture
def publisher(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=30, trust_env=False) as client:
        login = client.post("/authentication/login", json={"username": "admin", "password": ADMIN})
        client.headers["Authorization"] = f"Bearer {login.json()['token']}"
        yield client


def said_by_server(publisher: httpx.Client, server: Server, content: bytes) -> str:
    key = load_private(server.key.read_bytes())
    signature = signatures.sign(key, Digest.of_bytes(content))
    fields = {"signature": signature, "keyId": signatures.key_id(key.public_key())}
    answer = publisher.post("/modules/abc/releases", data=fields, files={"artifact": ("a.tar.gz", content)})
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"])


def test_the_same_faults_in_the_same_words(
    hotswap: Hotswap, server: Server, publisher: httpx.Client, tmp_path: Path
) -> None:
    told = {}
    for name, content in BAD.items():
        file = tmp_path / "module.tar.gz"
        file.write_bytes(content)
        result = hotswap("lint", str(file), "-o", "json")
        assert (result.code, result.err) == (2, ""), name
        told[name] = json.loads(result.out)["error"]
    assert told == {name: said_by_server(publisher, server, content) for name, content in BAD.items()}
