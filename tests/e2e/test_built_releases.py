"""A release with build and tests from its source to every environment: built once, the same bytes everywhere; also when
the process that builds is killed or told to end in the middle of it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from agent import signatures
from agent.archive import pack_bytes
from tests.e2e.api import Api, Json, stage
from tests.e2e.conftest import NameMaker
from tests.e2e.probe_module import PYTHON, SERVER, ask, publish
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

BUILD = 'mkdir dist && cp server.py dist/ && echo \'{"manner": "good", "deferAccept": false}\' > dist/behaviour.json'
JUNIT = 'echo \'<testsuite><testcase name="a"/><testcase name="b"/></testsuite>\' > junit.xml'


class Source:
    """A module whose releases are built."""

    def __init__(self, stack: Stack, name: str, folder: Path) -> None:
        self.name = name
        self.api = stack.api()
        self._stack, self._folder = stack, folder

    def publish(self, version: str, build: str = BUILD, test: str = JUNIT) -> str:
        """Returns the source's digest."""
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
        }
        (folder / "hotswap.yaml").write_text(yaml.safe_dump(manifest))
        return str(publish(self.api, self._stack.signing_key, self.name, pack_bytes(folder))["digest"])

    def deployed(self, version: str, environment: str) -> Json:
        ended = self.api.finished(self.api.deploy(self.name, version, environment))
        assert ended["status"] == "Succeeded", ended
        return ended


@pytest.fixture
def source(stack: Stack, new_name: NameMaker, tmp_path: Path) -> Source:
    name = new_name("built")
    return Source(stack, name, tmp_path / name)


def log_of(api: Api, execution_id: str, name: str) -> str:
    answer = api.call("GET", f"/deployments/{execution_id}/stages/{name}/log")
    assert answer.status_code == 200
    return answer.text


def test_one_build_serves_every_environment(source: Source, api: Api) -> None:
    digest = source.publish("1.0.0", build=f"echo building; {BUILD}")
    first = source.deployed("1.0.0", "Development")
    assert [stage(first, name)["status"] for name in ("Build", "Security Scan", "Test")] == ["Succeeded"] * 3
    assert stage(first, "Test")["details"]["tests"]["passed"] == 2
    assert stage(first, "Build")["details"]["isolation"]["network"]
    assert "building" in log_of(api, first["executionId"], "Build")
    built = set()
    for environment in ("Development", "QA", "Staging"):
        if environment != "Development":
            ended = source.deployed("1.0.0", environment)
            for name in ("Build", "Test"):
                assert stage(ended, name)["status"] == "Skipped"
                assert stage(ended, name)["details"] == {"reusedFrom": first["executionId"]}
        running = api.active(environment, source.name)
        built |= {release["digest"] for release in running.values()}
        assert {ask(release["endpoint"]) for release in running.values()} == {"1.0.0"}
    assert len(built) == 1
    assert built != {digest}
    path = f"/modules/{source.name}/releases/1.0.0"
    shown = api.get(path)
    assert {shown["built"]["digest"]} == built
    assert shown["tested"]["tests"]["passed"] == 2
    assert {shown[name]["executionId"] for name in ("built", "tested")} == {first["executionId"]}
    content = api.call("GET", f"{path}/artifact", params={"built": "true"}).content
    assert {str(signatures.Digest.of_bytes(content))} == built
    envelope = api.call("GET", f"{path}/attestation")
    assert envelope.json()["payloadType"] == "application/vnd.in-toto+json"
    assert api.get(f"{path}/sbom")["metadata"]["component"]["version"] == "1.0.0"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_build_goes_on_elsewhere_when_its_worker_ends(
    source: Source, api: Api, stack: Stack, number: signal.Signals
) -> None:
    source.publish("1.0.0", build=f"echo begun; sleep 3; {BUILD}")
    execution_id = api.deploy(source.name, "1.0.0", "Development")
    until(lambda: "begun" in log_of(api, execution_id, "Build"), "the build has begun")
    os.kill(stack.service("build"), number)
    ended = api.finished(execution_id)
    assert ended["status"] == "Succeeded", ended
    assert stage(ended, "Build")["attempt"] == 2
    assert not list((stack.folder / "work").iterdir())


def test_a_cancelled_build_ends_at_once(source: Source, api: Api, stack: Stack) -> None:
    source.publish("1.0.0", build="echo begun; sleep 600")
    execution_id = api.deploy(source.name, "1.0.0", "Development")
    headers = {"Accept": "text/event-stream"}
    with api.following(f"/deployments/{execution_id}/stages/build/log", headers) as lines:
        text = next(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))["text"]
        assert text == "begun\n"
        api.post(f"/deployments/{execution_id}/cancel")
        assert not any("data:" in line for line in lines), "the stream ends with the stage"
    assert api.finished(execution_id)["status"] == "Cancelled"
    until(lambda: not list((stack.folder / "work").iterdir()), "nothing of it is left")


def test_tests_that_fail_touch_no_node(source: Source, api: Api) -> None:
    source.publish("1.0.0", test="echo 'expected 1, got 2'; exit 1")
    ended = api.finished(api.deploy(source.name, "1.0.0", "QA"))
    assert (ended["status"], stage(ended, "Test")["status"]) == ("Failed", "Failed")
    assert "expected 1, got 2" in stage(ended, "Test")["outputTail"]
    assert api.operations(ended["executionId"]) == []
