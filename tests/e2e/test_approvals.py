"""Deployments that wait for a person: nobody works meanwhile, so every worker may be killed in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.api import Api, stage
from tests.e2e.conftest import ModuleMaker
from tests.e2e.probe_module import ProbeModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

WORKERS = ("pipeline", "build", "scan", "deploy", "urgent", "control")


@contextmanager
def short_patience(stack: Stack) -> Iterator[None]:
    """What begins meanwhile in Development is waited for 6 seconds."""
    admin = stack.api("admin")

    def change(timeout: str) -> None:
        current = admin.call("GET", "/environments/Development")
        body = current.json() | {"approvals": current.json()["approvals"] | {"timeout": timeout}, "reason": "a test"}
        answer = admin.call(
            "PUT", "/environments/Development", json=body, headers={"If-Match": current.headers["ETag"]}
        )
        assert answer.status_code == 200, answer.text

    change("6s")
    try:
        yield
    finally:
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


def test_each_answer_after_every_worker_was_killed(new_module: ModuleMaker, api: Api, stack: Stack) -> None:
    """Approved, refused, cancelled, and not answered at all; each by a module of its own, and killed for once."""
    approved, refused, cancelled = (waiting(new_module(), api) for _ in range(3))
    with short_patience(stack):
        expired = waiting(new_module(), api)
    assert stage(api.deployment(approved), "Approval")["attempt"] == 0, "nobody has claimed it"
    kill_workers(stack)
    approver = stack.api("approver")
    approver.post(f"/approvals/deployments/{approved}/approve", {"reason": "fine"})
    approver.post(f"/approvals/deployments/{refused}/reject", {"reason": "no"})
    api.post(f"/deployments/{cancelled}/cancel")
    assert api.finished(approved)["status"] == "Succeeded"
    assert api.finished(refused)["status"] == "Rejected"
    assert api.operations(refused) == []
    assert api.finished(cancelled)["status"] == "Cancelled"
    assert api.finished(expired)["status"] == "Expired"
    answer = approver.call("POST", f"/approvals/deployments/{expired}/approve", json={})
    assert answer.status_code == 410
