"""kill -9 of each process of the orchestrator in the middle of a rollout: it goes on by itself, within seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest

from deploy.local.processes import key_of, session_members
from tests.e2e.api import Api, stage
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.processes import command_of
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

SERVICES = [
    # What builds and what scans have no part in a rollout, so they die together.
    *("pipeline", "build scan", "deploy", "urgent", "control", "beat"),
    *("api", "agent-listener", "agents", "valkey", "postgres"),
]


@pytest.fixture
def back(stack: Stack) -> Iterator[Callable[[], None]]:
    """Waits until whatever was killed is back; also after the test, for the sake of those that follow."""

    def wait() -> None:
        until(partial(_is_whole, stack), "everything is back")

    yield wait
    wait()


def _is_whole(stack: Stack) -> bool:
    try:
        answer = httpx.get(f"{stack.url}/health/ready", timeout=30)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["status"] == "ok"


def in_mid_rollout(module: ProbeModule, api: Api) -> tuple[str, str]:
    """A gated release under way to QA whose first wave has been started, and its deployment."""
    module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")
    until(
        lambda: [each["status"] for each in api.operations(execution_id)].count("Running") == 2, "the first wave runs"
    )
    return version, execution_id


@pytest.mark.parametrize("services", SERVICES)
def test_a_rollout_goes_on_when_a_service_is_killed(
    module: ProbeModule, api: Api, stack: Stack, services: str, back: Callable[[], None]
) -> None:
    version, execution_id = in_mid_rollout(module, api)
    killed = {service: stack.service(service) for service in services.split()}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    module.open_gates(version, *api_nodes(stack))
    ended = api.finished(execution_id)
    assert ended["status"] == "Succeeded", (ended, api.operations(execution_id))
    assert stage(ended, "Deploy")["nodesDeployed"] == 5
    assert all(stack.service(service) != pid for service, pid in killed.items())
    back()
    assert set(module.answers("QA").values()) == {version}


def api_nodes(stack: Stack) -> list[str]:
    """The names of the QA nodes, without asking a server that may just be dead."""
    return sorted(path.stem for path in (stack.folder / "agents").glob("qa-*.toml"))


def test_a_rollout_goes_on_when_a_pool_process_is_killed(
    module: ProbeModule, stack: Stack, back: Callable[[], None]
) -> None:
    """A child of the prefork pool, and the helper that keeps its claims in order."""
    leader = key_of(stack.service("pipeline"))
    assert leader is not None
    children = [key.pid for key in session_members(leader) if key != leader]
    assert any("workers.reconciler" in command_of(pid) for pid in children) and len(children) >= 2
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    version = module.served("QA")
    back()
    assert set(module.answers("QA").values()) == {version}
