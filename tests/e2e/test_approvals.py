"""Deployments that wait for a person: nobody works meanwhile, so every worker may be killed in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.api import Api, Json, stage
from tests.e2e.probe_module import ProbeModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

WORKERS = ("pipeline", "build", "scan", "deploy", "urgent", "control")


@pytest.fixture
def short_patience(stack: Stack) -> Iterator[None]:
    """In Development an approval is waited for 6 seconds."""
    admin = stack.api("admin")

    def change(timeout: str) -> None:
        current = admin.call("GET", "/environments/Development")
        body = current.json() | {"approvals": current.json()["approvals"] | {"timeout": timeout}, "reason": "a test"}
        answer = admin.call(
            "PUT", "/environments/Development", json=body, headers={"If-Match": current.headers["ETag"]}
        )
        assert answer.status_code == 200, answer.text

    change("6s")
    yield
    change("24h")


def waiting(module: ProbeModule, api: Api) -> str:
    execution_id = module.deploy(module.release(), "Development", requireApproval=True)
    found = api.until(execution_id, "PendingApproval")
    assert found["waitingFor"][0]["kind"] == "approval"
    return execution_id


def kill_workers(stack: Stack) -> None:
    """All of them; none has anything to do with what waits."""
    killed = {name: stack.service(name) for name in WORKERS}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(stack.service(name) != pid for name, pid in killed.items()), "the workers are back")


def claims_of(api: Api, execution_id: str) -> Json:
    approval: Json = stage(api.deployment(execution_id), "Approval")
    return approval


def test_approved_after_every_worker_was_killed(module: ProbeModule, api: Api, stack: Stack) -> None:
    execution_id = waiting(module, api)
    assert claims_of(api, execution_id)["attempt"] == 0, "nobody has claimed it"
    kill_workers(stack)
    stack.api("approver").post(f"/approvals/deployments/{execution_id}/approve", {"reason": "fine"})
    assert api.finished(execution_id)["status"] == "Succeeded"


def test_refused_after_every_worker_was_killed(module: ProbeModule, api: Api, stack: Stack) -> None:
    execution_id = waiting(module, api)
    kill_workers(stack)
    stack.api("approver").post(f"/approvals/deployments/{execution_id}/reject", {"reason": "no"})
    ended = api.finished(execution_id)
    assert ended["status"] == "Rejected"
    assert api.operations(execution_id) == []


def test_cancelled_after_every_worker_was_killed(module: ProbeModule, api: Api, stack: Stack) -> None:
    execution_id = waiting(module, api)
    kill_workers(stack)
    api.post(f"/deployments/{execution_id}/cancel")
    assert api.finished(execution_id)["status"] == "Cancelled"


@pytest.mark.usefixtures("short_patience")
def test_expired_after_every_worker_was_killed(module: ProbeModule, api: Api, stack: Stack) -> None:
    execution_id = waiting(module, api)
    kill_workers(stack)
    ended = api.finished(execution_id)
    assert ended["status"] == "Expired"
    answer = stack.api("approver").call("POST", f"/approvals/deployments/{execution_id}/approve", json={})
    assert answer.status_code == 410
