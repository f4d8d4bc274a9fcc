"""kill -9 of each process of the orchestrator in the middle of a rollout: it goes on by itself, within seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from deploy.local.processes import key_of, session_members
from tests.e2e.api import Api, stage
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.processes import command_of
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

SERVICES = ["pipeline", "deploy", "urgent", "control", "beat", "api", "agent-listener", "agents", "valkey", "postgres"]


@pytest.fixture
def whole_again(stack: Stack) -> Iterator[None]:
    """After the test: wait until whatever was killed is back, for the sake of those that follow."""
    yield

    def ready() -> bool:
        try:
            answer = httpx.get(f"{stack.url}/health/ready", timeout=30)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["status"] == "ok"

    until(ready, "everything is back")


def in_mid_rollout(module: ProbeModule, api: Api) -> tuple[str, str]:
    """A gated release under way to QA whose first wave has been started, and its deployment."""
    module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")
    until(
        lambda: [each["status"] for each in api.operations(execution_id)].count("Running") == 2, "the first wave runs"
    )
    return version, execution_id


@pytest.mark.usefixtures("whole_again")
@pytest.mark.parametrize("service", SERVICES)
def test_a_rollout_goes_on_when_a_service_is_killed(module: ProbeModule, api: Api, stack: Stack, service: str) -> None:
    version, execution_id = in_mid_rollout(module, api)
    killed = stack.service(service)
    os.kill(killed, signal.SIGKILL)
    module.open_gates(version, *api_nodes(stack))
    ended = api.finished(execution_id)
    assert ended["status"] == "Succeeded", (ended, api.operations(execution_id))
    assert stage(ended, "Deploy")["nodesDeployed"] == 5
    assert set(module.answers("QA").values()) == {version}
    assert stack.service(service) != killed


def api_nodes(stack: Stack) -> list[str]:
    """The names of the QA nodes, without asking a server that may just be dead."""
    return sorted(path.stem for path in (stack.folder / "agents").glob("qa-*.toml"))


@pytest.mark.usefixtures("whole_again")
def test_a_rollout_goes_on_when_a_pool_process_is_killed(module: ProbeModule, api: Api, stack: Stack) -> None:
    """A child of the prefork pool, and the helper that keeps its claims in order."""
    leader = key_of(stack.service("pipeline"))
    assert leader is not None
    children = [key.pid for key in session_members(leader) if key != leader]
    assert any("workers.reconciler" in command_of(pid) for pid in children) and len(children) >= 2
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    version = module.release()
    module.deployed(version, "QA")
    assert time.monotonic() - started < 60
    assert set(module.answers("QA").values()) == {version}
