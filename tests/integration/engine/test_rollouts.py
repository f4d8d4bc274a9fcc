"""Rollouts through the tables: waves, failures, going back, desired state at the end (I5)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

from app.api import deployment_views
from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import CancelRequested, Outcome, PauseRequested, ResumeRequested, StageReported
from app.infrastructure.db.deployment_store import SQL
from app.orchestrator import claims, deployment_queries, deployments, repairing, status, succession
from app.orchestrator.context import Orchestrator
from tests.integration.engine.conftest import Lab


def test_rolling_goes_wave_by_wave_and_records_what_is_desired(lab: Lab) -> None:
    lab.nodes(lab.environment(), 5)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    sizes = []
    while operations := lab.claimable_operations(deployment):
        sizes.append(len(operations))
        for operation in operations:
            lab.operate(deployment, operation)
    assert sizes == [2, 2, 1]  # 25 % of five, rounded up
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED
    assert lab.desired() == {f"qa-{number}": "1.0.0" for number in range(5)}
    assert lab.sql("select holder from lanes") == [(None,)]


def test_the_window_holds_and_each_end_lets_in_the_next(lab: Lab) -> None:
    lab.nodes(lab.environment(strategy="direct", maxConcurrentNodes=3), 8)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    for _ in range(8):
        operations = lab.claimable_operations(deployment)
        assert len(operations) <= 3
        lab.operate(deployment, operations[0])
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED


def test_a_failed_node_stops_it_and_brings_back_what_was_changed(lab: Lab) -> None:
    lab.nodes(lab.environment(), 4)
    lab.release("1.0.0")
    lab.release("1.1.0")
    lab.roll_out("1.0.0")
    deployment = lab.submit("1.1.0")
    lab.enter(deployment)
    lab.operate(deployment, lab.claimable_operations(deployment)[0])
    lab.operate(deployment, lab.claimable_operations(deployment)[0], Outcome.FAILED, "never_healthy: 503")
    assert lab.status(deployment) is DeploymentStatus.ROLLING_BACK
    lab.run_operations(deployment)
    assert lab.status(deployment) is DeploymentStatus.ROLLED_BACK
    assert [row[:3] for row in lab.operations(deployment)] == [
        ("qa-0", "forward", "Succeeded"),
        ("qa-1", "forward", "Failed"),
        ("qa-2", "forward", "Cancelled"),
        ("qa-3", "forward", "Cancelled"),
        ("qa-0", "back", "Succeeded"),
    ]
    assert lab.desired() == {f"qa-{number}": "1.0.0" for number in range(4)}
    assert lab.stage_status(deployment, StageKind.DEPLOY) == "RolledBack"
    assert lab.stage_status(deployment, StageKind.VALIDATION) == "Skipped"


def test_an_unknown_outcome_is_resolved_before_the_node_goes_back(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    lab.release("1.1.0")
    lab.roll_out("1.0.0")
    deployment = lab.submit("1.1.0")
    lab.enter(deployment)
    operation = lab.claimable_operations(deployment)[0]
    lab.operate(deployment, operation, Outcome.UNKNOWN, "no answer")
    lab.published.take()
    lab.happen(deployment, CancelRequested(rollback=True, by="x"))
    assert lab.status(deployment) is DeploymentStatus.CANCELLING
    assert [row[1:3] for row in lab.operations(deployment)] == [("forward", "Resolving")]
    lab.make_due(deployment)
    lab.operate(deployment, operation, Outcome.UNKNOWN, "no answer")
    assert lab.claimable_operations(deployment) == [operation], "asked again, until the node answers"
    lab.make_due(deployment)
    lab.operate(deployment, operation, Outcome.SUCCEEDED)
    assert [row[1:3] for row in lab.operations(deployment)] == [("forward", "Succeeded"), ("back", "Dispatched")]
    lab.run_operations(deployment)
    assert lab.status(deployment) is DeploymentStatus.CANCELLED
    assert lab.desired() == {"qa-0": "1.0.0"}


def test_validation_that_fails_brings_everything_back(lab: Lab) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    lab.release("1.1.0")
    lab.roll_out("1.0.0")
    deployment = lab.submit("1.1.0")
    lab.enter(deployment)
    lab.run_operations(deployment)
    stage = lab.stage(deployment, StageKind.VALIDATION)
    claimed = claims.claim_stage(lab.orchestrator, lab.executor, deployment, stage)
    assert claimed is not None
    lab.happen(deployment, StageReported(stage, claimed.attempt, succeeded=False, message="500", output_tail="trace"))
    lab.run_operations(deployment)
    assert lab.status(deployment) is DeploymentStatus.ROLLED_BACK
    assert lab.desired() == {"qa-0": "1.0.0", "qa-1": "1.0.0"}


def test_what_is_unavailable_is_skipped_named_and_still_desired(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 5)
    lab.nodes(environment, 1, "down", silent=60)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED
    skipped = [row for row in lab.operations(deployment) if row[2] == "Skipped"]
    assert [row[0] for row in skipped] == ["down-0"]
    assert re.search(r"not heard from for \d+ s", skipped[0][5])
    assert lab.desired()["down-0"] == "1.0.0"


def test_too_many_unavailable_and_nothing_starts(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 3)
    lab.nodes(environment, 2, "down", silent=60)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    assert lab.status(deployment) is DeploymentStatus.FAILED
    assert lab.operations(deployment) == []
    assert lab.sql("select holder, fencing_token from lanes") == [(None, None)]
    assert lab.desired() == {}


def test_nodes_that_nobody_could_hear_are_not_unavailable(lab: Lab) -> None:
    """After a restart of ours every node seems silent; they get their time to be heard before anything is decided."""
    environment = lab.environment()
    nodes = lab.nodes(environment, 3, silent=60)
    lab.release("1.0.0")
    lab.listen(since=2)
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    assert lab.stage_status(deployment, StageKind.DEPLOY) == "Waiting"
    lab.hear(*nodes)
    lab.make_due(deployment)
    lab.pass_stage(deployment, StageKind.DEPLOY)
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED


def test_wait_for_nodes_waits_without_the_lane(lab: Lab) -> None:
    environment = lab.environment(unavailableNodes="wait")
    lab.nodes(environment, 4)
    (down,) = lab.nodes(environment, 1, "down", silent=60)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    assert lab.stage_status(deployment, StageKind.DEPLOY) == "Waiting"
    assert lab.sql("select holder from lanes") == [(None,)]
    lab.hear(down)
    lab.make_due(deployment)
    lab.pass_stage(deployment, StageKind.DEPLOY)
    lab.finish(deployment)
    assert len(lab.desired()) == 5


def test_nothing_to_change_says_so(lab: Lab) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED
    reason = lab.sql("select reason from deployments where id = %s", deployment)[0][0]
    assert "nothing to change" in str(reason)


def test_no_node_fails_with_a_reason(lab: Lab) -> None:
    lab.environment()
    lab.release("1.0.0", placement={"role": "web"})
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    assert lab.status(deployment) is DeploymentStatus.FAILED
    reason = str(lab.sql("select reason from deployments where id = %s", deployment)[0][0])
    assert "QA has no nodes, or none that matches" in reason


def test_pause_lets_nothing_in_and_resume_goes_on(lab: Lab) -> None:
    lab.nodes(lab.environment(strategy="direct", maxConcurrentNodes=1), 3)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    lab.happen(deployment, PauseRequested("x"))
    lab.operate(deployment, lab.claimable_operations(deployment)[0])
    assert lab.claimable_operations(deployment) == []
    assert lab.status(deployment) is DeploymentStatus.PAUSED
    lab.happen(deployment, ResumeRequested("x"))
    assert len(lab.claimable_operations(deployment)) == 1
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED


def test_retry_of_an_ended_one_is_a_new_one(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    lab.operate(deployment, lab.claimable_operations(deployment)[0], Outcome.FAILED, "disk_full")
    assert lab.status(deployment) is DeploymentStatus.ROLLED_BACK
    again = succession.retry(lab.orchestrator, lab.requester, deployment, trace_id="t").execution_id
    assert again != deployment
    assert lab.sql("select retry_of from deployments where id = %s", again) == [(deployment,)]
    lab.enter(again)
    lab.finish(again)
    assert lab.status(again) is DeploymentStatus.SUCCEEDED


def test_rollback_of_the_first_release_leaves_no_release(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    first = lab.roll_out("1.0.0")
    accepted = succession.rollback(lab.orchestrator, lab.requester, first, preempt=False, trace_id="t")
    lab.make_due(accepted.rollback_id)
    lab.pass_stage(accepted.rollback_id, StageKind.DEPLOY)
    lab.finish(accepted.rollback_id)
    assert lab.status(accepted.rollback_id) is DeploymentStatus.SUCCEEDED
    assert lab.desired() == {"qa-0": None}


def test_where_no_release_was_decided_a_failure_goes_back_to_none(lab: Lab) -> None:
    """What a node happens to run is not what was decided for it (I5)."""
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    lab.release("1.1.0")
    lab.roll_out("1.0.0")
    lab.sql("update desired_releases set digest = null, version = null")
    deployment = lab.submit("1.1.0")
    lab.enter(deployment)
    lab.operate(deployment, lab.claimable_operations(deployment)[0], Outcome.FAILED, "disk_full")
    lab.run_operations(deployment)
    assert lab.desired() == {"qa-0": None}


def test_what_runs_where_names_who_brought_it_and_not_who_found_it_there(lab: Lab) -> None:
    """`hotswap rollback` takes back what `/status` names: a catch-up or a repeated deployment changed nothing."""
    environment = lab.environment()
    lab.nodes(environment, 5)
    lab.release("1.0.0")
    lab.release("1.1.0")
    lab.roll_out("1.0.0")
    (down,) = lab.nodes(environment, 1, "down", silent=60)
    brought = lab.roll_out("1.1.0")
    lab.hear(down)
    repairing.repair(lab.orchestrator)
    repair = lab.sql("select id from deployments where kind = 'system'")[0][0]
    lab.make_due(repair)
    lab.pass_stage(repair, StageKind.DEPLOY)
    lab.finish(repair)
    lab.roll_out("1.1.0")
    (placement,) = status.placements(lab.orchestrator, lab.requester)
    assert (placement.execution_id, placement.deployed_by) == (brought, "dora")
    assert placement.previous_version == "1.0.0"


def test_taking_back_what_changed_nothing_changes_nothing(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.happen(deployment, CancelRequested(rollback=True, by="x"))
    accepted = succession.rollback(lab.orchestrator, lab.requester, deployment, preempt=False, trace_id="t")
    assert accepted.nodes_affected == 0
    lab.make_due(accepted.rollback_id)
    lab.pass_stage(accepted.rollback_id, StageKind.DEPLOY)
    lab.finish(accepted.rollback_id)
    assert lab.status(accepted.rollback_id) is DeploymentStatus.SUCCEEDED


def test_a_dry_run_names_waves_and_changes_nothing(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 4)
    lab.nodes(environment, 1, "down", silent=60)
    lab.release("1.0.0", run={"command": ["x"], "handover": "none", "listen": {"http": "127.0.0.1:1"}})
    plan = deployments.dry_run(lab.orchestrator, lab.requester, deployments.Submission("greeter", "1.0.0", "qa"))
    assert [stage["name"] for stage in plan["stages"]][4] == "Deploy to QA"
    assert [[node["hostname"] for node in wave["nodes"]] for wave in plan["waves"]] == [
        ["qa-0"], ["qa-1"], ["qa-2"], ["qa-3"],
    ]  # fmt: skip
    assert [each["hostname"] for each in plan["skipped"]] == ["down-0"]
    assert plan["refusal"] is None
    assert lab.sql("select * from deployments") == []


def test_a_rollout_that_waits_for_a_silent_node_names_it(lab: Lab) -> None:
    nodes = lab.nodes(lab.environment(strategy="direct", nodeLostAfter="2m"), 2)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    assert deployment_queries.view(lab.orchestrator, lab.requester, deployment).waiting_for == []
    lab.sql("update nodes set last_heartbeat = hotswap_now() - interval '30 seconds' where id = %s", nodes[0])
    (waiting,) = deployment_queries.view(lab.orchestrator, lab.requester, deployment).waiting_for
    assert (waiting.kind, waiting.text.split(";")[0]) == ("node", "qa-0 is silent")
    assert waiting.since is not None and waiting.until == waiting.since + timedelta(minutes=2)


def test_the_cap_of_an_environment_holds_over_deployments_that_claim_at_once(lab: Lab) -> None:
    lab.nodes(lab.environment(strategy="direct"), 1)
    settings = lab.orchestrator.settings.model_copy(update={"concurrent_node_operations": 1})
    capped = Orchestrator(lab.orchestrator.database, settings, lab.orchestrator.publisher)
    work = []
    for module in ("one", "two"):
        lab.release("1.0.0", module)
        deployment = lab.submit("1.0.0", module=module)
        lab.enter(deployment)
        work.append((deployment, lab.claimable_operations(deployment)[0]))
    values = {"deployment_id": work[0][0], "work_id": work[0][1], "executor_id": lab.executor, "budget": 60, "cap": 1}
    with ThreadPoolExecutor(1) as pool:
        with capped.database.raw() as connection:
            for query in ("lock_for_claim", "claim_operation"):
                taken = connection.execute(SQL[query], values).fetchone()
            other = pool.submit(claims.claim_operation, capped, lab.executor, *work[1])
            wait([other], 1)
        assert taken is not None
        assert other.result(30) is None, "it has seen what was committed meanwhile"


def test_going_back_to_no_release_has_no_version(lab: Lab) -> None:
    lab.nodes(lab.environment(strategy="direct"), 1)
    lab.release("1.0.0")
    first = lab.roll_out("1.0.0")
    gone = succession.rollback(lab.orchestrator, lab.requester, first, preempt=False, trace_id="t").rollback_id
    view = deployment_queries.view(lab.orchestrator, lab.requester, gone)
    assert deployment_views.summary(view.row, view.now)["version"] is None
