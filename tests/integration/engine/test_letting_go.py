"""A task that fails unexpectedly gives its claim up at once, although its process lives on and renews."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest

from app.domain.deployment import DeploymentStatus, StageKind
from app.orchestrator import claims
from tests.integration.engine.conftest import Lab
from workers import process
from workers.process import WorkerProcess


def _losses(lab: Lab, work: UUID) -> int:
    rows = lab.sql("select losses from stages where id = %s union all select losses from node_operations where id = %s",
                   work, work)  # fmt: skip
    return int(rows[0][0])


def test_a_stage_is_claimable_again_and_poison_is_bounded(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    scan = lab.stage(deployment, StageKind.SCAN)
    for _ in range(3):
        assert claims.claim_stage(lab.orchestrator, lab.executor, deployment, scan) is not None
        claims.let_go(lab.orchestrator, lab.executor, scan, poison=True, why="its task failed")
    assert lab.status(deployment) is DeploymentStatus.FAILED


def test_a_node_operation_is_sent_again_under_its_id(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    operation = lab.claimable_operations(deployment)[0]
    assert claims.claim_operation(lab.orchestrator, lab.executor, deployment, operation) is not None
    claims.let_go(lab.orchestrator, lab.executor, operation, poison=False, why="the database was away")
    assert lab.claimable_operations(deployment) == [operation]
    assert _losses(lab, operation) == 0


def test_what_another_claims_stays_with_it(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    scan = lab.stage(deployment, StageKind.SCAN)
    assert claims.claim_stage(lab.orchestrator, lab.executor, deployment, scan) is not None
    claims.let_go(lab.orchestrator, uuid4(), scan, poison=True, why="not mine")
    assert claims.claim_stage(lab.orchestrator, lab.executor, deployment, scan) is None


@dataclass
class _Calls:
    """In place of `claims.let_go`: fails so often, then works."""

    failures: int
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, _orchestrator: object, _executor: object, _work: UUID, **how: Any) -> None:
        self.seen.append(how)
        if len(self.seen) <= self.failures:
            raise psycopg.OperationalError("the database is away")


@dataclass
class _Presence:
    executor_id: UUID = field(default_factory=uuid4)


@pytest.mark.parametrize(
    ("error", "poison"), [(psycopg.OperationalError("away"), False), (TypeError("a fault of ours"), True)]
)
def test_a_database_that_is_away_is_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception, poison: bool
) -> None:
    calls = _Calls(failures=2)
    monkeypatch.setattr(claims, "let_go", calls)
    monkeypatch.setattr(process, "LET_GO_AGAIN", 0.01)
    nothing = cast(Any, None)
    here = WorkerProcess(1, lab.orchestrator, nothing, cast(Any, _Presence()), nothing)
    here.let_go(uuid4(), error)
    assert len(calls.seen) == 3
    assert {how["poison"] for how in calls.seen} == {poison}
