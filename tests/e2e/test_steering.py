"""What people may ask of a rollout under way, and of one that has ended."""

from __future__ import annotations

import pytest

from tests.e2e.api import Api, Json, Refused, stage
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.waiting import until


def first_wave_switched(module: ProbeModule, api: Api, execution_id: str, version: str) -> list[str]:
    """Let the two nodes of the first wave get healthy, and wait until they are switched; their names."""
    operations = until(lambda: api.operations(execution_id), "the rollout is planned")
    names = [each["hostname"] for each in operations if each["wave"] == 0]
    module.open_gates(version, *names)
    until(lambda: stage(api.deployment(execution_id), "Deploy")["nodesDeployed"] == len(names), "wave 0 wave is done")
    return names


def in_second_wave(module: ProbeModule, api: Api) -> tuple[str, str, str, list[str]]:
    """The version before, one whose first wave is switched, its deployment, and the nodes of that wave."""
    before = module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")
    names = first_wave_switched(module, api, execution_id, version)
    until(
        lambda: any(each["wave"] == 1 and each["status"] == "Running" for each in api.operations(execution_id)),
        "the second wave runs",
    )
    return before, version, execution_id, names


def test_cancel_in_mid_rollout_goes_back(module: ProbeModule, api: Api) -> None:
    before, version, execution_id, _ = in_second_wave(module, api)
    assert api.post(f"/deployments/{execution_id}/cancel")["status"] in ("Cancelling", "Cancelled")
    ended = api.finished(execution_id)
    assert ended["status"] == "Cancelled" and "cancelled by deployer" in ended["reason"]
    nodes = list(api.nodes("QA"))
    assert module.recorded("QA") == dict.fromkeys(nodes, before)
    assert module.answers("QA") == dict.fromkeys(nodes, before)
    with pytest.raises(Refused, match="409"):
        api.post(f"/deployments/{execution_id}/cancel")
    # Its lane is free again, and what was given up does not stand in the way.
    module.open_gates(version, *nodes)
    module.deployed(version, "QA")


def test_cancel_without_going_back_keeps_what_was_switched(module: ProbeModule, api: Api) -> None:
    before, version, execution_id, switched = in_second_wave(module, api)
    api.post(f"/deployments/{execution_id}/cancel", {"rollback": False})
    assert api.finished(execution_id)["status"] == "Cancelled"
    expected = {name: version if name in switched else before for name in api.nodes("QA")}
    assert module.recorded("QA") == expected
    assert module.answers("QA") == expected
    (row,) = [row for row in api.get(f"/modules/{module.name}/environments") if row["environment"] == "QA"]
    assert row["drift"] == []


def test_pause_lets_nothing_more_start_and_resume_goes_on(module: ProbeModule, api: Api) -> None:
    module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")
    until(lambda: api.operations(execution_id), "the rollout is planned")
    api.post(f"/deployments/{execution_id}/pause")
    switched = first_wave_switched(module, api, execution_id, version)
    # The next would have been let in by the transaction that ended the last one.
    states = {each["hostname"]: each["status"] for each in api.operations(execution_id)}
    assert states == {name: "Succeeded" if name in switched else "Pending" for name in api.nodes("QA")}
    paused = api.deployment(execution_id)
    assert paused["status"] == "Paused"
    assert [each["kind"] for each in paused["waitingFor"]] == ["paused"]
    module.open_gates(version, *api.nodes("QA"))
    api.post(f"/deployments/{execution_id}/resume")
    assert api.finished(execution_id)["status"] == "Succeeded"
    assert set(module.answers("QA").values()) == {version}


def test_a_finished_deployment_is_rolled_back(module: ProbeModule, api: Api) -> None:
    first = module.served("QA")
    second = module.release()
    deployed = module.deployed(second, "QA")["executionId"]
    answer = api.post(f"/deployments/{deployed}/rollback")
    assert answer["nodesAffected"] == 5
    back = api.finished(answer["rollbackId"])
    assert (back["status"], back["rollbackOf"], back["version"]) == ("Succeeded", deployed, first)
    assert [each["status"] for each in back["stages"][:4]] == ["Skipped"] * 4
    assert set(module.answers("QA").values()) == {first}


def test_a_rollback_goes_first_and_may_preempt(module: ProbeModule, api: Api) -> None:
    first = module.served("QA")
    deployed = module.deployed(module.release(), "QA")["executionId"]
    held = module.release(Manner.GATED)
    holder = module.deploy(held, "QA")
    until(lambda: api.operations(holder), "it holds the lane")
    waiting = api.post(f"/deployments/{deployed}/rollback")["rollbackId"]

    def waits_for_holder() -> bool:
        return any(each["blockedBy"] == holder for each in api.deployment(waiting)["waitingFor"])

    until(waits_for_holder, "the rollback names who holds the lane")
    preempting = api.post(f"/deployments/{deployed}/rollback", {"preempt": True})["rollbackId"]
    assert api.finished(holder)["status"] == "Cancelled"
    assert api.finished(waiting)["status"] == "Succeeded"
    assert api.finished(preempting)["status"] == "Succeeded"
    assert set(module.answers("QA").values()) == {first}


def test_a_failed_one_is_retried(module: ProbeModule, api: Api) -> None:
    before = module.served("QA")
    version = module.release(Manner.GATED, health_limit=4)
    failed = module.deploy(version, "QA")
    assert api.finished(failed)["status"] == "RolledBack"
    assert set(module.answers("QA").values()) == {before}
    module.open_gates(version, *api.nodes("QA"))
    again = api.post(f"/deployments/{failed}/retry")["executionId"]
    ended = api.finished(again)
    assert again != failed
    assert (ended["status"], ended["retryOf"]) == ("Succeeded", failed)
    assert set(module.answers("QA").values()) == {version}


def test_a_dry_run_tells_and_changes_nothing(module: ProbeModule, api: Api) -> None:
    before = module.served("QA")
    version = module.release()
    body = {"moduleName": module.name, "version": version, "targetEnvironment": "QA"}
    plan: Json = api.post("/deployments?dryRun=true", body)
    changes = [node for wave in plan["waves"] for node in wave["nodes"]]
    assert [len(wave["nodes"]) for wave in plan["waves"]] == [2, 2, 1]
    assert {(node["fromVersion"], node["toVersion"]) for node in changes} == {(before, version)}
    assert {node["hostname"] for node in changes} == set(api.nodes("QA"))
    assert [each["version"] for each in api.get("/deployments", module=module.name)] == [before]
    assert set(module.recorded("QA").values()) == {before}


def test_the_same_idempotency_key_is_the_same_deployment(module: ProbeModule, api: Api) -> None:
    body = {"moduleName": module.name, "version": module.release(), "targetEnvironment": "Development"}
    key = {"Idempotency-Key": f"merge-{module.name}"}
    first = api.post("/deployments", body, headers=key)["executionId"]
    assert api.post("/deployments", body, headers=key)["executionId"] == first
    assert api.finished(first)["status"] == "Succeeded"
    assert api.post("/deployments", body, headers=key)["executionId"] == first
    with pytest.raises(Refused, match="409"):
        api.post("/deployments", {**body, "targetEnvironment": "QA"}, headers=key)
    assert len(api.get("/deployments", module=module.name)) == 1
