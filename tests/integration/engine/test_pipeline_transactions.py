"""Claim and outcome: one winner, one order, nothing without its event and its outbox row (I1, I4)."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.events import CancelRequested, PauseRequested, StageReported
from app.domain.pipeline import decide
from app.infrastructure.db import deployment_store
from app.orchestrator import claims, outcomes, submitting
from app.orchestrator.deployments import Submission, draft_of
from tests.integration.engine.conftest import Lab


def test_a_submission_is_whole_and_wakes_its_first_stage(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    assert lab.status(deployment) is DeploymentStatus.QUEUED
    stages = lab.sql(
        "select kind, status, claimable from stages where deployment_id = %s order by position", deployment
    )
    assert stages == [
        ("Build", "Skipped", False),
        ("Security Scan", "Pending", True),
        ("Test", "Skipped", False),
        ("Approval", "Skipped", False),
        ("Deploy", "Pending", False),
        ("Validation", "Pending", False),
    ]
    (wake,) = lab.published.take()
    assert (wake.task, wake.queue, wake.deployment_id) == ("pipeline.scan", "scan", deployment)
    assert lab.sql("select work_id, task from outbox") == [(wake.work_id, "pipeline.scan")]
    assert lab.events(deployment) == ["deployment.submitted"]


def test_only_one_of_many_claims_wins_and_takes_the_outbox_row(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    stage = lab.stage(deployment, StageKind.SCAN)
    won: list[object] = []
    threads = [
        threading.Thread(target=lambda: won.append(claims.claim_stage(lab.orchestrator, uuid4(), deployment, stage)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([each for each in won if each is not None]) == 1
    assert lab.sql("select * from outbox") == []
    assert lab.status(deployment) is DeploymentStatus.RUNNING
    assert lab.events(deployment) == ["deployment.submitted", "stage.running"]


def test_two_stages_that_end_together_open_the_gate_once(lab: Lab) -> None:
    """Without the deployment's lock as the first statement each would see the other still running (DESIGN 3.4)."""
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    for _ in range(10):
        with lab.orchestrator.database.raw() as connection:
            draft = draft_of(connection, lab.requester, Submission("greeter", "1.0.0", "QA"), "t")
            draft = replace(draft, tests=True)
            deployment = submitting.insert(connection, lab.orchestrator, draft).state.id
        claimed = [
            claims.claim_stage(lab.orchestrator, lab.executor, deployment, lab.stage(deployment, kind))
            for kind in (StageKind.TEST, StageKind.SCAN)
        ]
        together = threading.Barrier(2)

        def report(claim: claims.ClaimedStage | None, together: threading.Barrier = together) -> None:
            assert claim is not None
            event = StageReported(claim.stage_id, claim.attempt, succeeded=True)
            together.wait()
            outcomes.apply(lab.orchestrator, claim.deployment_id, event)

        threads = [threading.Thread(target=report, args=(claim,)) for claim in claimed]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deploy = lab.sql("select claimable from stages where deployment_id = %s and kind = 'Deploy'", deployment)
        assert deploy == [(True,)]
        assert len(lab.sql("select 1 from outbox where deployment_id = %s", deployment)) == 1


def test_an_older_attempts_report_changes_nothing_and_is_told(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    stage = lab.stage(deployment, StageKind.SCAN)
    first = claims.claim_stage(lab.orchestrator, lab.executor, deployment, stage)
    assert first is not None
    claims.hand_back(lab.orchestrator, lab.executor)
    second = claims.claim_stage(lab.orchestrator, uuid4(), deployment, stage)
    assert second is not None
    assert second.attempt == first.attempt + 1
    lab.happen(deployment, StageReported(stage, first.attempt, succeeded=False, message="late"))
    assert lab.stage_status(deployment, StageKind.SCAN) == "Running"
    assert "report.refused" in lab.events(deployment)
    lab.happen(deployment, StageReported(stage, second.attempt, succeeded=True))
    assert lab.stage_status(deployment, StageKind.SCAN) == "Succeeded"


def test_a_rolled_back_outcome_leaves_no_trace(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    before = lab.sql("select status, event_seq from deployments where id = %s", deployment)
    with pytest.raises(Conflict, match="cannot be paused"):
        outcomes.apply(lab.orchestrator, deployment, PauseRequested("x"))
    assert lab.sql("select status, event_seq from deployments where id = %s", deployment) == before


def test_what_cannot_be_done_yet_is_refused_by_name(lab: Lab) -> None:
    lab.environment()
    lab.environment("Blue", strategy="blueGreen")
    lab.release("1.0.0")
    for arguments, words in (
        ({"version": "1.0.0", "strategy": "canary"}, "canary is not built yet"),
        ({"version": "1.0.0", "environment": "Blue"}, "blueGreen is not built yet"),
        ({"version": "1.0.0", "environment": "Nowhere"}, "no environment Nowhere"),
    ):
        with pytest.raises(Invalid, match=words):
            lab.submit(**arguments)
    with pytest.raises(NotFound, match=r"no release greeter 9\.9\.9"):
        lab.submit("9.9.9")
    assert lab.sql("select * from deployments") == []


def test_one_idempotency_key_makes_one_deployment(lab: Lab) -> None:
    lab.environment()
    lab.release("1.0.0")
    lab.release("1.1.0")
    accepted: list[object] = []
    threads = [
        threading.Thread(target=lambda: accepted.append(lab.accept("1.0.0", key="k").execution_id)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 6
    assert len(set(accepted)) == 1
    assert lab.sql("select count(*) from deployments") == [(1,)]
    with pytest.raises(Conflict, match="another body"):
        lab.accept("1.1.0", key="k")


def test_a_claim_that_waited_for_a_cancel_claims_nothing(lab: Lab) -> None:
    """The claim's own snapshot is older than what it waited for: PostgreSQL has to look again at what it updates."""
    lab.environment()
    lab.release("1.0.0")
    for _ in range(10):
        deployment = lab.submit("1.0.0")
        stage = lab.stage(deployment, StageKind.SCAN)
        with lab.orchestrator.database.raw() as connection:
            loaded = deployment_store.load(connection, deployment)
            assert loaded is not None
            claimers = claiming(lab, deployment, stage, 1)
            decision = decide(loaded.state, CancelRequested(True, "dora"), loaded.now, uuid4)
            outcomes.write(connection, lab.orchestrator, loaded, decision, None)
        assert joined(claimers) == [None]
        assert lab.status(deployment) is DeploymentStatus.CANCELLED
        assert lab.sql("select attempt, claimable from stages where id = %s", stage) == [(0, False)]
        numbers = lab.sql("select seq from deployment_events where deployment_id = %s order by seq", deployment)
        assert [seq for (seq,) in numbers] == list(range(1, len(numbers) + 1))


def test_claims_at_once_claim_once_and_number_their_events_without_a_gap(lab: Lab) -> None:
    lab.environment()
    lab.release("1.0.0")
    for _ in range(10):
        deployment = lab.submit("1.0.0")
        stage = lab.stage(deployment, StageKind.SCAN)
        with lab.orchestrator.database.raw() as connection:
            assert deployment_store.load(connection, deployment) is not None
            claimers = claiming(lab, deployment, stage, 3)
            connection.execute("update deployments set event_seq = event_seq + 5 where id = %s", (deployment,))
        assert sorted(claim is None for claim in joined(claimers)) == [False, True, True]
        (last, highest) = lab.sql(
            "select d.event_seq, (select max(seq) from deployment_events e where e.deployment_id = d.id)"
            " from deployments d where id = %s", deployment,
        )[0]  # fmt: skip
        assert last == highest


Claimers = list[Future[claims.ClaimedStage | None]]


def claiming(lab: Lab, deployment: UUID, stage: UUID, count: int) -> Claimers:
    """So many workers that try to claim a stage whose deployment is locked, all of them waiting for it."""
    pool = ThreadPoolExecutor(count)
    claimers = [
        pool.submit(claims.claim_stage, lab.orchestrator, uuid4(), deployment, stage) for _ in range(count)
    ]
    pool.shutdown(wait=False)
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    deadline = time.monotonic() + 30
    while lab.sql(waiting)[0][0] < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return claimers


def joined(claimers: Claimers) -> list[claims.ClaimedStage | None]:
    return [claimer.result(30) for claimer in claimers]


def test_a_scan_of_two_steps_is_claimed_once_for_each(lab: Lab) -> None:
    lab.environment()
    lab.release("1.0.0")
    deployment = with_a_build(lab)
    scan = lab.stage(deployment, StageKind.SCAN)
    first = claims.claim_stage(lab.orchestrator, lab.executor, deployment, scan)
    assert first is not None and (first.attempt, first.step) == (1, 1)
    lab.happen(deployment, StageReported(scan, 1, succeeded=True, message="the source is fine"))
    assert claims.claim_stage(lab.orchestrator, lab.executor, deployment, scan) is None
    waits = lab.sql("select status, waiting, step, steps from stages where id = %s", scan)
    assert waits == [("Waiting", "build", 2, 2)]
    lab.pass_stage(deployment, StageKind.BUILD)
    second = claims.claim_stage(lab.orchestrator, lab.executor, deployment, scan)
    assert second is not None and (second.attempt, second.step) == (2, 2)
    lab.happen(deployment, StageReported(scan, 1, succeeded=False))  # of the first step, told again
    lab.happen(deployment, StageReported(scan, 2, succeeded=True))
    assert lab.stage_status(deployment, StageKind.SCAN) == "Succeeded"
    assert lab.sql("select count(*) from outbox where work_id = %s", scan) == [(0,)]


def with_a_build(lab: Lab) -> UUID:
    """A deployment of a release that has a build."""
    with lab.orchestrator.database.raw() as connection:
        draft = draft_of(connection, lab.requester, Submission("greeter", "1.0.0", "QA"), "t")
        return submitting.insert(connection, lab.orchestrator, replace(draft, builds=True)).state.id
