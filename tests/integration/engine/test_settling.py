"""Work that ends in an exception gives its claim back, although its process lives on and renews."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from app.domain.deployment import StageKind
from app.orchestrator import claims
from app.orchestrator.settling import settled
from tests.integration.engine.conftest import Lab


def fails_under_claim(lab: Lab, deployment: UUID, stage: UUID, error: Exception) -> None:
    with pytest.raises(type(error)), settled(lab.orchestrator, lab.executor, deployment, stage):
        assert claims.claim_stage(lab.orchestrator, lab.executor, deployment, stage) is not None
        raise error


@pytest.fixture
def submitted(lab: Lab) -> tuple[UUID, UUID]:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    return deployment, lab.stage(deployment, StageKind.SCAN)


def test_trouble_with_the_database_never_counts_against_the_work(lab: Lab, submitted: tuple[UUID, UUID]) -> None:
    for _ in range(5):
        fails_under_claim(lab, *submitted, psycopg.OperationalError("server closed the connection unexpectedly"))
        fails_under_claim(lab, *submitted, psycopg.errors.IdleInTransactionSessionTimeout("we were stopped"))
    assert lab.stage_status(submitted[0], StageKind.SCAN) == "Pending"
    lab.pass_stage(submitted[0], StageKind.SCAN)


def test_what_always_fails_is_ended(lab: Lab, submitted: tuple[UUID, UUID]) -> None:
    for _ in range(3):
        lab.make_due(submitted[0])  # it is tried again after 2, then 4 seconds
        fails_under_claim(lab, *submitted, RuntimeError("a mistake of ours"))
    row = lab.sql("select status, message from stages where id = %s", submitted[1])[0]
    assert row[0] == "Failed" and "a mistake of ours" in row[1]


def test_somebody_elses_claim_is_left_alone(lab: Lab, submitted: tuple[UUID, UUID]) -> None:
    deployment, stage = submitted
    other = UUID(int=7)
    assert claims.claim_stage(lab.orchestrator, other, deployment, stage) is not None
    with pytest.raises(psycopg.OperationalError), settled(lab.orchestrator, lab.executor, deployment, stage):
        assert claims.claim_stage(lab.orchestrator, lab.executor, deployment, stage) is None
        raise psycopg.OperationalError("gone")
    assert lab.sql("select executor_id from stages where id = %s", stage)[0][0] == other
