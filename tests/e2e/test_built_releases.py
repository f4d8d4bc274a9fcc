"""A release with build and tests from its source to every environment: built once, the same bytes everywhere; also when
the process that builds is killed or told to end in the middle of it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from agent import signatures
from tests.e2e.api import Api, stage
from tests.e2e.probe_module import ask
from tests.e2e.source_module import BUILD, SourceModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until


def log_of(api: Api, execution_id: str, name: str) -> str:
    answer = api.call("GET", f"/deployments/{execution_id}/stages/{name}/log")
    assert answer.status_code == 200
    return answer.text


def test_one_build_serves_every_environment(source: SourceModule, api: Api, stack: Stack) -> None:
    """By the command line, as a team does it."""
    folder = source.folder("1.0.0", build=f"echo building; {BUILD}")
    digest = json.loads(stack.cli("--output", "json", "release", "publish", str(folder)).output)["digest"]
    told = stack.cli("--output", "json", "deploy", source.name, "1.0.0", "--to", "Development", "--wait").json
    first = api.deployment(told["executionId"])
    assert [stage(first, name)["status"] for name in ("Build", "Security Scan", "Test")] == ["Succeeded"] * 3
    assert stage(first, "Test")["details"]["tests"]["passed"] == 2
    assert stage(first, "Build")["details"]["isolation"]["network"]
    assert "building" in log_of(api, first["executionId"], "Build")
    # Each for itself; nothing stands in the way of having them all at once.
    others = {name: api.deploy(source.name, "1.0.0", name) for name in ("QA", "Staging", "Production")}
    for execution_id in others.values():
        ended = api.finished(execution_id)
        assert ended["status"] == "Succeeded", ended
        for name in ("Build", "Test"):
            assert stage(ended, name)["status"] == "Skipped"
            assert stage(ended, name)["details"] == {"reusedFrom": first["executionId"]}
    built = set()
    for environment, nodes in {"Development": 1, "QA": 5, "Staging": 4, "Production": 2}.items():
        running = api.active(environment, source.name)
        assert len(running) == nodes
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
    source: SourceModule, api: Api, stack: Stack, number: signal.Signals
) -> None:
    source.publish("1.0.0", build=f"echo begun; sleep 3; {BUILD}")
    execution_id = api.deploy(source.name, "1.0.0", "Development")
    until(lambda: "begun" in log_of(api, execution_id, "Build"), "the build has begun")
    os.kill(stack.service("build"), number)
    ended = api.finished(execution_id)
    assert ended["status"] == "Succeeded", ended
    assert stage(ended, "Build")["attempt"] == 2
    assert not list((stack.folder / "work").iterdir())


def test_a_cancelled_build_ends_at_once(source: SourceModule, api: Api, stack: Stack) -> None:
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


def test_tests_that_fail_touch_no_node(source: SourceModule, api: Api) -> None:
    source.publish("1.0.0", test="echo 'expected 1, got 2'; exit 1")
    ended = api.finished(api.deploy(source.name, "1.0.0", "QA"))
    assert (ended["status"], stage(ended, "Test")["status"]) == ("Failed", "Failed")
    assert "expected 1, got 2" in stage(ended, "Test")["outputTail"]
    assert api.operations(ended["executionId"]) == []
