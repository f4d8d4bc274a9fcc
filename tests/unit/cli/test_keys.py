"""`hotswap keys trust`: the server's trust is one thing, the nodes' another, and it says so."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from agent.signatures import generate, key_id, load_public, public_pem
from tests.unit.cli.harness import URL, Api, answer, hotswap


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "team's key.pub"
    file.write_bytes(public_pem(generate().public_key()))
    return file


@pytest.fixture
def api() -> Api:
    api = Api()
    api.on("POST", "/keys", answer({"keyId": "k", "environment": "QA"}, 201))
    return api


def test_it_says_what_nodes_need(tmp_path: Path, capsys: pytest.CaptureFixture[str], key: Path, api: Api) -> None:
    assert hotswap("keys", "trust", str(key), "-e", "QA", home=tmp_path, api=api) == 0
    out, err = capsys.readouterr()
    assert out == "The server trusts the key k in QA.\n"
    assert f"put {key} into `trusted_keys` of each node's agent" in err
    assert hotswap("keys", "trust", str(key), "-o", "json", home=tmp_path, api=api) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["keyId"], err) == ("k", "")


def test_of_a_stack_on_this_machine_it_names_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: Path, api: Api
) -> None:
    data = tmp_path / "the stack"
    trusted = data / "keys" / "trusted"
    trusted.mkdir(parents=True)
    (trusted / "notes.txt").write_text("no key")
    (data / "run").mkdir()
    (data / "run" / "stack.json").write_text(json.dumps({"urls": {"api": f"{URL}/api/v1"}}))
    stack = {"HOTSWAP_DATA_DIR": str(data)}
    assert hotswap("keys", "trust", str(key), home=tmp_path, api=api, environment=stack) == 0
    command = shlex.split(capsys.readouterr().err.partition("one folder: ")[2])
    identity = key_id(load_public(key.read_bytes()))
    assert command == ["cp", str(key), str(trusted / f"{identity}.pem")]
    shutil.copy(*command[1:])
    assert hotswap("keys", "trust", str(key), home=tmp_path, api=api, environment=stack) == 0
    assert capsys.readouterr().err == ""  # they trust it by now
    (data / "run" / "stack.json").write_text(json.dumps({"urls": {"api": "http://127.0.0.1:2/api/v1"}}))
    assert hotswap("keys", "trust", str(key), home=tmp_path, api=api, environment=stack) == 0
    assert "trusted_keys" in capsys.readouterr().err  # it is another server that was asked
