"""Logs and reports go when they are old or superseded, a few at a time, and nothing that is still looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from uuid6 import uuid7

from app.infrastructure.db.models import DEFAULT_TENANT
from app.orchestrator import old_records
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, DEPLOY, SCAN, TEST, Works

DAYS = 86_400_000


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 1)
    return Works(lab, tmp_path)


def forget(lab: Lab) -> int:
    return sum(old_records.forget(lab.orchestrator, shelf) for shelf in range(256))


def made_days_ago(days: float) -> str:
    """An id as it was given out then."""
    number = uuid7().int
    return str(type(uuid7())(int=number - (int(days * DAYS) << 80)))


def printed(lab: Lab, days: float, *, ended: float | None, pieces: int = 3) -> Any:
    """A deployment that was submitted so many days ago, with a log; `ended` so many days ago."""
    deployment = lab.submit("1.0.0", force=True)
    stage = made_days_ago(days)
    lab.sql(
        "update stages set id = %s where deployment_id = %s and kind = %s", stage, deployment, BUILD.value
    )  # fmt: skip
    for seq in range(pieces):
        lab.sql(
            "insert into stage_log_pieces (stage_id, attempt, seq, content, tenant_id) values (%s, 1, %s, 'x', %s)",
            stage, seq, DEFAULT_TENANT,
        )  # fmt: skip
    if ended is not None:
        lab.sql(
            "update deployments set status = 'Failed', ended_at = hotswap_now() - %s * interval '1 day' where id = %s",
            ended, deployment,
        )  # fmt: skip
    return stage


def logs(lab: Lab) -> set[Any]:
    return {str(row[0]) for row in lab.sql("select stage_id from stage_log_pieces")}


def test_logs_go_some_time_after_their_deployment_has_ended(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_records, "_PIECES", 2)
    works.publish()
    lab = works.lab
    printed(lab, 200, ended=100, pieces=7)
    kept = {
        printed(lab, 200, ended=80),
        printed(lab, 200, ended=None),
        printed(lab, 1, ended=0.5),
    }
    assert old_records.forget(lab.orchestrator, 0) == 7
    assert logs(lab) == kept


def test_a_tick_ends_after_some_batches(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_records, "_PIECES", 1)
    monkeypatch.setattr(old_records, "_MOST_BATCHES", 4)
    works.publish()
    printed(works.lab, 200, ended=100, pieces=5)
    assert old_records.forget(works.lab.orchestrator, 0) == 4
    assert old_records.forget(works.lab.orchestrator, 0) == 1


def report(lab: Lab, digest: str, scanner: str, days: float) -> None:
    lab.sql(
        "insert into scan_reports (tenant_id, digest, scanner, report, scanned_at)"
        " values (%s, %s, %s, '{}', hotswap_now() - %s * interval '1 day')",
        DEFAULT_TENANT, digest, scanner, days,
    )  # fmt: skip


def reports(lab: Lab) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in lab.sql("select digest, scanner from scan_reports")}


def test_of_reports_the_newest_stays_until_its_release_is_retired(works: Works) -> None:
    source = works.publish(test="true")
    lab = works.lab
    deployment = lab.submit("1.0.0")
    for kind in (SCAN, BUILD, TEST, SCAN):
        works.execute(deployment, kind)
    built = works.digest(deployment)
    lab.pass_stage(deployment, DEPLOY)
    assert {digest for digest, _ in reports(lab)} == {source, built}
    lab.sql("delete from scan_reports")
    other = f"sha256:{'f' * 64}"
    report(lab, source, "1", 9)
    report(lab, source, "2", 5)
    report(lab, source, "3", 3)
    report(lab, built, "1", 9)
    report(lab, built, "2", 0.5)
    report(lab, other, "1", 9)
    report(lab, other, "2", 0.5)
    assert forget(lab) == 4
    assert reports(lab) == {(source, "3"), (built, "2"), (other, "2")}, "what is of the last day stays"
    lab.sql("update scan_reports set scanned_at = scanned_at - interval '2 days'")
    assert forget(lab) == 1
    assert reports(lab) == {(source, "3"), (built, "2")}
    lab.sql("update releases set retired_at = hotswap_now()")
    assert forget(lab) == 2
    assert reports(lab) == set()


def test_one_shelf_is_looked_at_and_no_other(works: Works) -> None:
    for shelf in ("00", "0f", "10", "ff"):
        report(works.lab, f"sha256:{shelf}{'9' * 62}", "1", 9)
    assert old_records.forget(works.lab.orchestrator, 0x0F) == 1
    assert old_records.forget(works.lab.orchestrator, 0xFF) == 1
    assert {digest[7:9] for digest, _ in reports(works.lab)} == {"00", "10"}
