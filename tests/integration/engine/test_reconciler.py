"""The reconciler: what lost its claim, is due or was never picked up goes on, by the database alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import Outcome, PauseRequested
from app.orchestrator import claims, outcomes, repairing
from app.orchestrator.context import Orchestrator
from app.orchestrator.reconciling import Reconciler
from tests.integration.engine.conftest import Lab

HOLD = """
import sys, time
from uuid import UUID
from app.infrastructure.presence import Presence
from config.settings import settings
Presence(settings(), UUID(sys.argv[1]), "test").start()
print("held", flush=True)
sys.stdin.read()
"""


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def _executor(lab: Lab) -> Iterator[tuple[UUID, subprocess.Popen[str]]]:
    """A real process that holds presence."""
    executor = uuid4()
    settings = lab.orchestrator.settings
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path) or ".",
        "HOTSWAP_DATABASE_URL": settings.database_url,
        "HOTSWAP_BROKER_URL": settings.broker_url,
        "HOTSWAP_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "HOTSWAP_TLS_CA": str(settings.tls_ca),
        "HOTSWAP_TLS_CERTIFICATE": str(settings.tls_certificate),
        "HOTSWAP_TLS_KEY": str(settings.tls_key),
        "HOTSWAP_ARTIFACTS_DIR": str(settings.artifacts_dir),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(executor)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield executor, process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()
        process.communicate()


def _claimed_by(lab: Lab, executor: UUID) -> UUID:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    assert claims.claim_stage(lab.orchestrator, executor, deployment, lab.stage(deployment, StageKind.SCAN))
    lab.published.take()
    return deployment


def _attempts(lab: Lab, deployment: UUID) -> tuple[int, bool, int]:
    row = lab.sql("select attempt, claimable, losses from stages where deployment_id = %s and kind = 'Security Scan'",
                  deployment)[0]  # fmt: skip
    return row[0], row[1], row[2]


def _until(condition: Callable[[], bool], tick: Callable[[], None], limit: float = 30) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit, "it did not happen"
        tick()
        time.sleep(0.1)
    return time.monotonic() - begun


def test_the_claim_of_a_killed_process_is_open_again_within_seconds(lab: Lab) -> None:
    with _executor(lab) as (executor, process):
        deployment = _claimed_by(lab, executor)
        reconciler = Reconciler(lab.orchestrator, lambda _queue: 0)
        reconciler.tick()
        process.kill()
        process.wait()
        took = _until(lambda: _attempts(lab, deployment)[1], reconciler.tick)
        assert took < 10
        assert _attempts(lab, deployment) == (1, True, 1)
        assert [wake.task for wake in lab.published.take()] == ["pipeline.scan"]


def test_a_stopped_process_keeps_its_claim_until_its_lease_ends(lab: Lab) -> None:
    with _executor(lab) as (executor, process):
        deployment = _claimed_by(lab, executor)
        clock = Clock()
        reconciler = Reconciler(lab.orchestrator, lambda _queue: 0, clock)
        os.kill(process.pid, signal.SIGSTOP)
        reconciler.tick()
        lease = lab.orchestrator.settings.lease
        while clock.now < 1000 + lease - 4:
            clock.now += 3
            reconciler.tick()
        assert not _attempts(lab, deployment)[1], "its lock is held: the lease counts"
        for _ in range(3):
            clock.now += 3
            reconciler.tick()
        assert _attempts(lab, deployment) == (1, True, 0), "no poison: the process did not die"


def test_a_gap_in_the_reconcilers_own_time_expires_nothing(lab: Lab) -> None:
    deployment = _claimed_by(lab, uuid4())  # an executor that nobody has ever seen
    clock = Clock()
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0, clock)
    for _ in range(5):
        clock.now += 60  # as after an outage: every span is counted afresh
        reconciler.tick()
    assert not _attempts(lab, deployment)[1]
    clock.now += 1
    reconciler.tick()
    clock.now += 1.5
    reconciler.tick()
    assert _attempts(lab, deployment)[1]


def test_three_deaths_are_poison(lab: Lab) -> None:
    deployment = _claimed_by(lab, uuid4())
    clock = Clock()
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0, clock)
    for _ in range(3):
        for _ in range(3):
            clock.now += 1.2
            reconciler.tick()
        stage = lab.stage(deployment, StageKind.SCAN)
        claims.claim_stage(lab.orchestrator, uuid4(), deployment, stage)
    assert lab.status(deployment) is DeploymentStatus.FAILED
    assert "died 3 times" in str(lab.sql("select reason from deployments where id = %s", deployment)[0][0])


def test_what_was_never_picked_up_is_published_again(lab: Lab) -> None:
    lab.environment()
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.published.take()  # Redis lost it
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0)
    reconciler.tick()
    assert lab.published.take() == [], "not before its back-off"
    lab.sql("update outbox set publish_at = hotswap_now()")
    reconciler.tick()
    assert [wake.deployment_id for wake in lab.published.take()] == [deployment]
    reconciler.tick()
    assert lab.published.take() == []


@pytest.mark.parametrize("depth", [None, 100_000])
def test_nothing_is_published_into_a_broker_that_is_away_or_full(lab: Lab, depth: int | None) -> None:
    lab.environment()
    lab.release("1.0.0")
    lab.submit("1.0.0")
    lab.published.take()
    lab.sql("update outbox set publish_at = hotswap_now()")
    Reconciler(lab.orchestrator, lambda _queue: depth).tick()
    assert lab.published.take() == []


def test_a_budget_that_is_spent_ends_the_stage(lab: Lab) -> None:
    deployment = _claimed_by(lab, uuid4())
    lab.sql("update stages set deadline_at = hotswap_now() - interval '1 second' where executor_id is not null")
    Reconciler(lab.orchestrator, lambda _queue: 0).tick()
    assert lab.status(deployment) is DeploymentStatus.FAILED


def test_a_pause_that_lasts_too_long_goes_back(lab: Lab) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    lab.happen(deployment, PauseRequested("x"))
    lab.sql("update deployments set paused_until = hotswap_now() - interval '1 second'")
    Reconciler(lab.orchestrator, lambda _queue: 0).tick()
    assert lab.status(deployment) is DeploymentStatus.ROLLED_BACK


def test_a_silent_node_is_lost_only_when_we_have_seen_it_silent(lab: Lab) -> None:
    environment = lab.environment(nodeLostAfter="20s", onNodeLost="continue", strategy="direct")
    first, second = lab.nodes(environment, 2)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    operations = lab.claimable_operations(deployment)
    lab.operate(deployment, operations[0])
    claims.claim_operation(lab.orchestrator, lab.executor, deployment, operations[1])
    lab.sql("update nodes set last_heartbeat = hotswap_now() - interval '1 hour' where id = %s", second)
    clock = Clock()
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0, clock)
    reconciler.tick()
    assert lab.operations(deployment)[1][2] == "Running", "perhaps it was us who were away"
    for _ in range(6):
        clock.now += 3
        lab.sql("update executors set renewals = renewals + 1")
        reconciler.tick()
        lab.sql("update node_operations set executor_id = null")  # the claim's own loss is another test
    assert lab.operations(deployment)[1][2] == "Lost"
    lab.hear(second)
    reconciler.tick()
    assert lab.operations(deployment)[1][2] == "Resolving", "the first thing done when it comes back"
    lab.hear(first)


def test_a_node_that_never_ends_a_resolve_is_lost_although_it_is_heard_from(lab: Lab) -> None:
    """Otherwise one broken agent would hold the deployment and its lane for ever (I1)."""
    (node,) = lab.nodes(lab.environment(nodeLostAfter="20s"), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    lab.operate(deployment, lab.claimable_operations(deployment)[0], Outcome.UNKNOWN, "no answer")
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0)
    lab.hear(node)
    reconciler.tick()
    assert lab.operations(deployment)[0][2] == "Resolving"
    lab.sql("update node_operations set resolving_since = hotswap_now() - interval '21 seconds'")
    reconciler.tick()
    assert lab.status(deployment) is DeploymentStatus.FAILED
    assert "qa-0" in str(lab.sql("select reason from deployments where id = %s", deployment)[0][0])


def test_no_node_is_lost_while_nobody_listens_to_agents(lab: Lab) -> None:
    environment = lab.environment(nodeLostAfter="20s")
    lab.nodes(environment, 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    claims.claim_operation(lab.orchestrator, lab.executor, deployment, lab.claimable_operations(deployment)[0])
    lab.sql("update nodes set last_heartbeat = hotswap_now() - interval '1 hour'")
    lab.sql("delete from executors where role = 'agent-listener'")
    clock = Clock()
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0, clock)
    for _ in range(12):
        clock.now += 3
        reconciler.tick()
        lab.sql("update node_operations set executor_id = null")
    assert lab.operations(deployment)[0][2] == "Running"


def test_a_returned_node_is_repaired_whatever_share_must_stay_in_service(lab: Lab) -> None:
    environment = lab.environment(rolling={"batch": "25%", "minInService": "50%"})
    lab.nodes(environment, 4)
    (down,) = lab.nodes(environment, 1, "down", silent=60)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    lab.hear(down)
    assert repairing.repair(lab.orchestrator) == 1
    repair = lab.sql("select id from deployments where kind = 'system'")[0][0]
    lab.make_due(repair)
    lab.pass_stage(repair, StageKind.DEPLOY)
    lab.finish(repair)
    assert lab.status(repair) is DeploymentStatus.SUCCEEDED


def test_one_that_waits_for_a_date_keeps_nobody_from_being_repaired(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 1)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    scheduled = lab.submit("1.0.0", force=True, not_before=datetime.now(UTC) + timedelta(days=7))
    lab.enter(scheduled)
    lab.nodes(environment, 1, "new")
    assert repairing.repair(lab.orchestrator) == 1
    repair = lab.sql("select id from deployments where kind = 'system'")[0][0]
    lab.make_due(repair)
    lab.pass_stage(repair, StageKind.DEPLOY)
    assert lab.stage_status(repair, StageKind.DEPLOY) == "Running"


def test_one_deployment_that_cannot_be_decided_keeps_no_other_waiting(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.nodes(lab.environment(), 1)
    lab.environment("Other")
    lab.release("1.0.0")
    submitted = [lab.submit("1.0.0"), lab.submit("1.0.0", environment="Other")]
    for deployment in submitted:
        assert claims.claim_stage(lab.orchestrator, uuid4(), deployment, lab.stage(deployment, StageKind.SCAN))
    real = outcomes.apply

    def stumbles(orchestrator: Orchestrator, deployment: UUID, *rest: Any, **more: Any) -> Any:
        if deployment == submitted[0]:
            raise RuntimeError("a mistake of ours")
        return real(orchestrator, deployment, *rest, **more)

    monkeypatch.setattr(outcomes, "apply", stumbles)
    clock = Clock()
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0, clock)
    for _ in range(3):
        clock.now += 1.5
        reconciler.tick()
    assert [_attempts(lab, deployment)[1] for deployment in submitted] == [False, True]


def test_a_node_that_returns_in_mid_rollout_joins_it(lab: Lab) -> None:
    environment = lab.environment(maxConcurrentNodes=1)
    lab.nodes(environment, 5)
    (down,) = lab.nodes(environment, 1, "down", silent=60)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    reconciler = Reconciler(lab.orchestrator, lambda _queue: 0)
    reconciler.tick()
    assert len(lab.operations(deployment)) == 6
    lab.hear(down)
    reconciler.tick()
    joined = [row for row in lab.operations(deployment) if row[0] == "down-0"]
    assert [row[2] for row in joined] == ["Skipped", "Pending"]
    reconciler.tick()
    assert len(lab.operations(deployment)) == 7, "once"
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED


def test_a_node_that_returns_later_is_brought_up_to_date_by_the_system(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 5)
    (down,) = lab.nodes(environment, 1, "down", silent=60)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    assert repairing.repair(lab.orchestrator) == 0
    lab.hear(down)
    assert repairing.repair(lab.orchestrator) == 1
    assert repairing.repair(lab.orchestrator) == 0, "one at a time"
    rows = lab.sql("select id, requested_by from deployments where kind = 'system'")
    assert rows[0][1] == "system"
    lab.make_due(rows[0][0])
    lab.pass_stage(rows[0][0], StageKind.DEPLOY)
    assert [row[0] for row in lab.operations(rows[0][0])] == ["down-0"]
    lab.finish(rows[0][0])
    assert lab.status(rows[0][0]) is DeploymentStatus.SUCCEEDED
    assert repairing.repair(lab.orchestrator) == 0


def test_a_new_node_gets_what_its_environment_runs(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 1)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    lab.nodes(environment, 1, "new")
    assert repairing.repair(lab.orchestrator) == 1
    assert lab.desired()["new-0"] == "1.0.0"


def test_the_systems_repair_gives_way_to_people(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 1)
    lab.release("1.0.0")
    lab.release("1.1.0")
    lab.roll_out("1.0.0")
    lab.nodes(environment, 1, "new")
    repairing.repair(lab.orchestrator)
    repair = lab.sql("select id from deployments where kind = 'system'")[0][0]
    person = lab.submit("1.1.0")
    lab.make_due(repair)
    lab.pass_stage(repair, StageKind.DEPLOY)
    assert lab.status(repair) is DeploymentStatus.SUPERSEDED
    lab.enter(person)
    lab.finish(person)
    assert lab.desired() == {"qa-0": "1.1.0", "new-0": "1.1.0"}
