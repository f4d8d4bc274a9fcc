"""The same through the `hotswap` command, as a person and as a build server use it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.api import Api, stage
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until


def test_a_person_logs_in(stack: Stack) -> None:
    password = stack.password("viewer")
    stack.cli("login", "--username", "viewer", "--password-stdin", login=True, typed=password)
    assert "viewer" in stack.cli("whoami", login=True).output
    assert "QA" in stack.cli("cluster", "show", "QA", login=True).output
    stack.cli("deploy", "no-such-module", "1.0.0", "--to", "QA", login=True, code=4)
    stack.cli("logout", login=True)
    stack.cli("whoami", login=True, code=3)


def test_publish_deploy_watch_status_and_roll_back(module: ProbeModule, stack: Stack) -> None:
    first, folder = module.folder()
    assert first in stack.cli("release", "publish", str(folder)).output
    watched = stack.cli("deploy", module.name, first, "--to", "qa", "--watch").output
    assert "Succeeded" in watched and all(f"qa-{number}" in watched for number in range(1, 6))
    second, folder = module.folder()
    stack.cli("release", "publish", str(folder))
    plan = stack.cli("deploy", module.name, second, "--to", "QA", "--dry-run").output
    assert "qa-1" in plan and second in plan
    told = stack.cli("--output", "json", "deploy", module.name, second, "--to", "QA", "--wait")
    assert told.json["status"] == "Succeeded"
    assert second in stack.cli("status", module.name).output
    assert second in stack.cli("deployment", "show", told.json["executionId"], "--nodes").output
    stack.cli("rollback", module.name, "--in", "QA", "--wait")
    assert set(module.answers("QA").values()) == {first}
    node = next(iter(stack.api().nodes("QA")))
    assert f"{first} starts" in stack.cli("node", "log", node, module.name).output
    assert first in stack.cli("release", "list", module.name).output


def test_exit_codes_tell_how_it_went(module: ProbeModule, api: Api, stack: Stack) -> None:
    before = module.served("QA")
    bad = module.release(Manner.UNWELL, health_limit=3)
    failed = stack.cli("deploy", module.name, bad, "--to", "QA", "--wait", code=1)
    assert "RolledBack" in failed.output and "the orders database does not answer" in failed.output
    stack.cli("deploy", module.name, "9.9.9", "--to", "QA", code=5)
    stack.cli("deploy", module.name, "9.9.9", code=2)
    gated = module.release(Manner.GATED)
    stack.cli("deploy", module.name, gated, "--to", "QA", "--wait", "--timeout", "1s", code=6)
    (running,) = [each for each in api.get("/deployments", module=module.name) if each["version"] == gated]
    stack.cli("deployment", "cancel", running["executionId"], "--wait", code=1)
    assert set(module.answers("QA").values()) == {before}


def test_pause_resume_and_watch_from_another_terminal(module: ProbeModule, api: Api, stack: Stack) -> None:
    module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")
    with stack.cli_running("deployment", "watch", execution_id) as watch:
        until(lambda: api.operations(execution_id), "the rollout is planned")
        stack.cli("deployment", "pause", execution_id)
        module.open_gates(version, *api.nodes("QA"))
        until(lambda: stage(api.deployment(execution_id), "Deploy")["nodesDeployed"] == 2, "the first wave is done")
        assert api.deployment(execution_id)["status"] == "Paused"
        stack.cli("deployment", "resume", execution_id)
        output, _ = watch.communicate(timeout=180)
    assert watch.returncode == 0
    assert "Paused" in output or "paused" in output
    assert "Succeeded" in output


@pytest.mark.parametrize("action", ["drain", "undrain"])
def test_only_an_admin_drains(stack: Stack, action: str) -> None:
    stack.cli("node", action, "staging-1", user="deployer", code=4)
    stack.cli("node", action, "staging-1", user="admin")
    shown = json.loads(stack.cli("--output", "json", "node", "show", "staging-1").output)
    assert shown["drained"] is (action == "drain")
