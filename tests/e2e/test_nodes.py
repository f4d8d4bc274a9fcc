"""Nodes that are down, drained, or die on the way: named, left out, and brought up to date by the system itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.api import Api, Json, stage
from tests.e2e.node import Node
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

AWAY, DRAINED = "staging-2", "staging-3"


@contextmanager
def policy(admin: Api, environment: str, **changes: object) -> Iterator[None]:
    """Another policy for a while."""
    path = f"/environments/{environment}"
    before = admin.get(path)
    put_policy(admin, path, {**before, **changes})
    try:
        yield
    finally:
        put_policy(admin, path, before)


def put_policy(admin: Api, path: str, body: Json) -> None:
    tag = admin.call("GET", path).headers["ETag"]
    answer = admin.call("PUT", path, json={**body, "reason": "a test"}, headers={"If-Match": tag})
    assert answer.status_code == 200, answer.text


@contextmanager
def drained(admin: Api, node_id: str) -> Iterator[None]:
    """A node that is left out for a while."""
    admin.post(f"/nodes/{node_id}/drain")
    try:
        yield
    finally:
        admin.post(f"/nodes/{node_id}/undrain")


def repaired(api: Api, module: ProbeModule, environment: str, version: str) -> Json:
    """Wait for the system's own deployment that brings this version; it must have succeeded."""

    def found() -> Json | None:
        listed: list[Json] = api.get("/deployments", module=module.name, environment=environment, requester="system")
        return next((each for each in listed if each["version"] == version and each["status"] == "Succeeded"), None)

    return until(found, f"the system brings {version} to {environment}")


def test_a_node_that_is_down_is_skipped_and_brought_up_to_date(module: ProbeModule, api: Api, stack: Stack) -> None:
    before = module.served("Staging")
    with drained(stack.api("admin"), api.nodes("Staging")[DRAINED]["nodeId"]):
        with stack.node(AWAY).without_agent():
            until(lambda: api.nodes("Staging")[AWAY]["status"] == "Unavailable", f"{AWAY} is missed")
            (cluster,) = [each for each in api.get("/clusters") if each["environment"] == "Staging"]
            assert (cluster["totalNodes"], cluster["healthyNodes"], cluster["isHealthy"]) == (4, 3, False)
            version = module.release()
            ended = module.deployed(version, "Staging")
            assert AWAY in ended["reason"] and "not heard from" in ended["reason"]
            assert f"{DRAINED}: drained" in ended["reason"]
            deploy = stage(ended, "Deploy")
            assert (deploy["nodesDeployed"], deploy["nodesSkipped"], deploy["nodesFailed"]) == (2, 2, 0)
            expected = {name: before if name in (AWAY, DRAINED) else version for name in api.nodes("Staging")}
            assert module.answers("Staging") == expected
            (row,) = [row for row in api.get(f"/modules/{module.name}/environments") if row["environment"] == "Staging"]
            assert row["version"] == version and {each["hostname"] for each in row["drift"]} == {AWAY, DRAINED}
        until(lambda: module.recorded("Staging")[AWAY] == version, f"{AWAY} is brought up to date")
        assert module.recorded("Staging")[DRAINED] == before
    until(lambda: module.recorded("Staging")[DRAINED] == version, f"{DRAINED} is brought up to date")
    assert set(module.answers("Staging").values()) == {version}
    assert repaired(api, module, "Staging", version)["requestedBy"] == "system"
    assert [stack.node(name).starts(module.name) for name in api.nodes("Staging")] == [[before, version]] * 4


@pytest.fixture(params=["killed", "stopped"])
def interrupted(request: pytest.FixtureRequest) -> object:
    """How a node's agent is disturbed in the middle of an operation, for a moment."""

    @contextmanager
    def disturb(node: Node) -> Iterator[None]:
        if request.param == "stopped":
            with node.stopped_agent():
                yield
        else:
            node.kill_agent()
            yield

    return disturb


def test_an_agent_that_is_disturbed_in_mid_rollout_takes_part_in_it(
    module: ProbeModule, api: Api, stack: Stack, interrupted: object
) -> None:
    assert callable(interrupted)
    module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")

    def first_running() -> str | None:
        running = [each["hostname"] for each in api.operations(execution_id) if each["status"] == "Running"]
        return next((name for name in running if version in stack.node(name).starts(module.name)), None)

    name = until(first_running, "a node has started the new release")
    with interrupted(stack.node(name)):
        others = [each for each in api.nodes("QA") if each != name]
        module.open_gates(version, *others)
        until(lambda: stage(api.deployment(execution_id), "Deploy")["nodesDeployed"] >= 1, "the other one goes on")
    module.open_gates(version, name)
    ended = api.finished(execution_id)
    assert ended["status"] == "Succeeded", (ended, api.operations(execution_id))
    assert set(module.answers("QA").values()) == {version}


def test_a_node_that_is_lost_in_mid_rollout_is_named_and_the_rollout_goes_on(
    module: ProbeModule, api: Api, stack: Stack
) -> None:
    admin = stack.api("admin")
    before = module.served("Staging")
    version = module.release(Manner.GATED)
    with policy(admin, "Staging", onNodeLost="continue", nodeLostAfter="10s"):
        execution_id = module.deploy(version, "Staging")
        operations = until(
            lambda: [each for each in api.operations(execution_id) if each["status"] == "Running"], "it is under way"
        )
        name = operations[0]["hostname"]
        with stack.node(name).without_agent():
            module.open_gates(version, *[each for each in api.nodes("Staging") if each != name])
            ended = api.finished(execution_id)
            assert ended["status"] == "Succeeded" and name in ended["reason"], ended
            expected = {each: before if each == name else version for each in api.nodes("Staging")}
            assert module.answers("Staging") == expected
        module.open_gates(version, name)
        until(lambda: module.recorded("Staging")[name] == version, f"{name} is brought up to date")
    assert set(module.answers("Staging").values()) == {version}


def test_modules_are_watched(module: ProbeModule, stack: Stack) -> None:
    """One that dies is started again, with the same endpoint."""
    version = module.served("Development")
    endpoints, node = module.endpoints("Development"), stack.node("development-1")
    starts = node.module(module.name) / "data" / "starts"
    os.kill(int(starts.read_text().split()[1]), signal.SIGKILL)
    until(lambda: node.starts(module.name) == [version, version], "it is started again")
    assert module.endpoints("Development") == endpoints
    assert module.answers("Development") == {"development-1": version}
