"""Security Scan on real artifacts: found once in the sandbox, judged anew by every deployment."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from uuid6 import uuid7

from agent import attestations
from agent.signatures import generate, key_id, private_pem, public_pem
from app.domain.deployment import DeploymentStatus
from app.domain.events import CancelRequested, ClaimEnded
from app.domain.policy import parse_policy
from app.infrastructure.osv.lookup import known_vulnerabilities
from app.infrastructure.scanners.report import Report
from app.orchestrator import scan_findings, scanning, stage_logs
from app.orchestrator.context import Orchestrator
from app.orchestrator.stage_watch import Abandoned
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, DEPLOY, SCAN, TEST, Works

# In two parts, so that no scanner of this repository takes it for one.
SECRET = "aws_secret_access_key = " + '"wJalrXUtnFEMI/K7MDENG/' + 'bPxRfiCYzKXQW9TESTKEY"\n'
KEY_ID = "AKIA" + "QYLPMN5HHHFPZAM2"
PLANTED = {"settings.py": f'AWS_KEY = "{KEY_ID}"\n{SECRET}'}
VULNERABLE = {
    "id": "GHSA-test-0001",
    "modified": "2026-11-01T00:00:00Z",
    "summary": "Requests lets you in",
    "database_specific": {"severity": "HIGH"},
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "requests"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.31.0"}]}],
        }
    ],
}


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 1)
    return Works(lab, tmp_path)


def policy(lab: Lab, **scan: Any) -> None:
    lab.sql("update environments set policy = %s::jsonb", json.dumps(parse_policy({"scan": scan}).to_json()))


def scanned(works: Works, version: str = "1.0.0", steps: int = 1) -> dict[str, Any]:
    deployment = works.lab.submit(version)
    if steps == 2:
        works.execute(deployment, BUILD)
    for _ in range(steps):
        works.execute(deployment, SCAN)
    return works.stage(deployment, SCAN) | {"deployment": deployment}


def test_a_clean_release_passes_and_says_what_was_looked_at(works: Works) -> None:
    works.publish(build=None)
    stage = scanned(works)
    assert stage["status"] == "Succeeded", stage["message"]
    assert "digest verified; no findings" in stage["message"]
    assert stage["details"]["source"]["files"] == 2
    assert works.left_behind() == []


def test_a_planted_secret_stops_it_before_any_node_and_is_not_repeated(works: Works) -> None:
    works.publish(build=None, files=PLANTED)
    stage = scanned(works)
    assert stage["status"] == "Failed"
    assert works.lab.status(stage["deployment"]) is DeploymentStatus.FAILED
    assert "settings.py:1" in stage["message"]
    first = stage["details"]["source"]["findings"][0]
    assert (first["file"], first["line"], first["stops"]) == ("settings.py", 1, True)
    everything = json.dumps(works.lab.sql("select report from scan_reports")[0][0]) + json.dumps(stage, default=str)
    assert KEY_ID not in everything
    assert "wJalrXUtnFEMI" not in everything


def test_what_was_found_once_is_judged_anew_by_every_deployment(works: Works) -> None:
    works.publish(build=None, files=PLANTED)
    assert scanned(works)["status"] == "Failed"
    made = works.lab.sql("select scanned_at from scan_reports")
    exception = {"name": "known", "rule": "*", "file": "settings.py", "reason": "a test's own", "until": "2999-01-01"}
    policy(works.lab, exceptions=[exception])
    stage = scanned(works)
    assert stage["status"] == "Succeeded"
    assert "by exception" in stage["message"]
    assert stage["details"]["source"]["findings"][0]["exception"] == "known"
    policy(works.lab, exceptions=[{**exception, "until": "2020-01-01"}])
    stage = scanned(works)
    assert (stage["status"], "the exception known has lapsed" in stage["message"]) == ("Failed", True)
    policy(works.lab, stopAt="never")
    assert scanned(works)["status"] == "Succeeded"
    assert works.lab.sql("select scanned_at from scan_reports") == made, "it was looked through once"


def test_what_only_the_build_puts_there_is_found_after_it(works: Works) -> None:
    encoded = (PLANTED["settings.py"]).encode().hex()
    works.publish(build=f"mkdir dist && python3 -c \"print(bytes.fromhex('{encoded}').decode())\" > dist/settings.py")
    stage = scanned(works, steps=2)
    assert stage["status"] == "Failed"
    assert stage["details"]["source"]["stopping"] == 0
    assert stage["details"]["built"]["stopping"] > 0


def test_what_stops_nothing_is_counted_over_both_steps_and_listed_in_the_log(works: Works) -> None:
    works.publish(build="mkdir dist && echo hello > dist/page.txt", files={"tool.py": "import subprocess\n"})
    stage = scanned(works, steps=2)
    assert stage["status"] == "Succeeded", stage["message"]
    assert "the source has 1 finding, none stops it; what was built has no findings" in stage["message"]
    log = stage_logs.find_log(works.lab.orchestrator, works.lab.requester, stage["deployment"], "Security Scan")
    first, *listed = stage_logs.whole(works.lab.orchestrator, log).splitlines()
    assert first == stage["message"]
    assert listed[0] == "the source: 1 finding"
    assert listed[1].startswith("  low bandit.B404 in tool.py:1: ") and len(listed) == 2


def test_an_exception_is_counted_and_named_too(works: Works) -> None:
    works.publish(build="mkdir dist && echo hello > dist/page.txt", files=PLANTED)
    exception = {"name": "known", "rule": "*", "file": "settings.py", "reason": "a test's own", "until": "2999-01-01"}
    policy(works.lab, exceptions=[exception])
    stage = scanned(works, steps=2)
    assert stage["status"] == "Succeeded", stage["message"]
    assert "none stops it, " in stage["message"] and "by exception; what was built has no findings" in stage["message"]
    log = stage_logs.find_log(works.lab.orchestrator, works.lab.requester, stage["deployment"], "Security Scan")
    assert "(exception known)" in log.said


def configured(works: Works, **settings: Any) -> None:
    """The same orchestrator with other settings."""
    ours = works.lab.orchestrator
    changed = ours.settings.model_copy(update=settings)
    works.lab.orchestrator = Orchestrator(ours.database, changed, ours.publisher)


def test_known_vulnerabilities_are_asked_for_anew_each_time(works: Works, tmp_path: Path) -> None:
    works.publish(build=None, files={"requirements.txt": "requests==2.30.0\n"})
    stage = scanned(works)
    assert stage["status"] == "Succeeded"
    assert "no vulnerability data is configured" in stage["message"]
    policy(works.lab, osvData="required")
    assert "which the policy requires" in scanned(works)["message"]
    folder = tmp_path / "osv"
    folder.mkdir()
    (folder / "GHSA-test-0001.json").write_text(json.dumps(VULNERABLE))
    (folder / "broken.json").write_text("{")
    configured(works, osv_data=folder)
    stage = scanned(works)
    assert stage["status"] == "Failed"
    assert "osv.GHSA-test-0001 in requirements.txt" in stage["message"]
    assert "fixed in 2.31.0" in stage["message"]
    assert "1 broken file: broken.json" in stage["message"]


def test_a_licence_that_the_policy_refuses_stops_it(works: Works) -> None:
    lock = {"lockfileVersion": 3, "packages": {"node_modules/left": {"version": "1.0.0", "license": "AGPL-3.0-only"}}}
    works.publish(build=None, files={"package-lock.json": json.dumps(lock)})
    assert scanned(works)["status"] == "Succeeded"
    policy(works.lab, licences={"refused": ["AGPL-*"]})
    assert "which the policy refuses" in scanned(works)["message"]


def test_what_cannot_be_looked_through_does_not_pass_whatever_the_policy_says(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Report(failure="the scanner ended after 300.0 s: its limit of wall time was reached")
    monkeypatch.setattr(scan_findings, "look_through", lambda *_, **__: failed)
    works.publish(build=None)
    policy(works.lab, stopAt="never")
    stage = scanned(works)
    assert stage["status"] == "Failed"
    assert stage["message"] == failed.failure
    assert works.lab.sql("select count(*) from scan_reports") == [(0,)], "it is of this attempt only"


def in_production(works: Works) -> None:
    """Which trusts no publisher unless it is told to, and has a node."""
    works.lab.nodes(works.lab.environment("Production"), 1, "production")
    works.lab.sql(
        "update publisher_keys set environment_id = (select id from environments where name = %s)", "QA"
    )


def trust(works: Works, environment: str) -> None:
    public = works.publisher.public_key()
    works.lab.sql(
        "insert into publisher_keys (id, tenant_id, key_id, name, public_key, environment_id, created_by)"
        " select %s, tenant_id, %s, 'publisher', %s, id, 'test' from environments where name = %s",
        uuid7(), key_id(public), public_pem(public).decode(), environment,
    )  # fmt: skip


def rolled_out(works: Works, environment: str) -> dict[str, Any]:
    """Through all that is to be done there; the scan's stage as it was when that had passed, or had not."""
    deployment = works.lab.submit("1.0.0", environment)
    for kind in (BUILD, TEST):
        if works.stage(deployment, kind)["status"] == "Pending":
            works.execute(deployment, kind)
    for _step in range(2):
        if works.stage(deployment, SCAN)["status"] not in ("Succeeded", "Failed"):
            works.execute(deployment, SCAN)
    stage = works.stage(deployment, SCAN) | {"deployment": deployment}
    if stage["status"] == "Succeeded":
        works.lab.pass_stage(deployment, DEPLOY)
        works.lab.finish(deployment)
        assert works.lab.status(deployment) is DeploymentStatus.SUCCEEDED
    return stage


def test_what_is_used_again_is_judged_by_another_environments_keys_and_policy(works: Works) -> None:
    works.publish(test="test -f dist/server.py", files={"legacy.py": "import hashlib\nhashlib.md5(b'').hexdigest()\n"})
    in_production(works)
    first = rolled_out(works, "QA")
    assert first["status"] == "Succeeded"
    assert (first["details"]["source"]["counts"]["medium"], first["details"]["source"]["stopping"]) == (1, 0)
    built, reports = works.digest(first["deployment"]), works.lab.sql("select digest, scanned_at from scan_reports")
    assert len(reports) == 2

    stage = rolled_out(works, "Production")
    assert works.stage(stage["deployment"], BUILD)["status"] == "Skipped"
    assert works.stage(stage["deployment"], TEST)["status"] == "Skipped"
    assert stage["status"] == "Failed"
    assert "Production does not trust the publisher's key" in stage["message"]

    trust(works, "Production")
    strict = json.dumps(parse_policy({"scan": {"stopAt": "medium"}}).to_json())
    works.lab.sql("update environments set policy = %s::jsonb where name = 'Production'", strict)
    stage = rolled_out(works, "Production")
    assert (stage["status"], "legacy.py:2" in stage["message"]) == ("Failed", True)
    assert stage["details"]["source"]["stopping"] == 1
    assert works.lab.operations(stage["deployment"]) == []

    exception = {"name": "legacy", "rule": "bandit.*", "reason": "going soon", "until": "2999-01-01"}
    excepting = json.dumps(parse_policy({"scan": {"stopAt": "medium", "exceptions": [exception]}}).to_json())
    works.lab.sql("update environments set policy = %s::jsonb where name = 'Production'", excepting)
    stage = rolled_out(works, "Production")
    assert stage["status"] == "Succeeded"
    assert stage["details"]["source"]["findings"][0]["exception"] == "legacy"
    assert works.digest(stage["deployment"]) == built
    assert works.lab.sql("select digest, scanned_at from scan_reports") == reports, "it was looked through once"


# --- whose attestations are believed


def another_builder(works: Works) -> str:
    """A key in the place of ours, as after a rotation; the id of the former."""
    former, works.builder = works.builder, generate()
    key = works.lab.orchestrator.settings.attestation_key
    assert key is not None
    key.write_bytes(private_pem(works.builder))
    return key_id(former.public_key())


def test_what_was_built_with_a_key_of_before_is_deployable_while_that_is_believed(
    works: Works, tmp_path: Path
) -> None:
    works.publish()
    assert rolled_out(works, "QA")["status"] == "Succeeded"
    builders = tmp_path / "builders"
    builders.mkdir()
    (builders / "builder.pub").write_bytes(public_pem(works.builder.public_key()))
    former = another_builder(works)
    works.lab.nodes(works.lab.environment("Staging"), 1, "staging")

    stage = rolled_out(works, "Staging")
    assert stage["status"] == "Failed"
    assert stage["message"] == (
        f"what was built is attested by {former}, which this orchestrator does not trust: "
        "put that builder's public key into the folder of HOTSWAP_TRUSTED_BUILDERS_DIR"
    )
    configured(works, trusted_builders_dir=builders)
    stage = rolled_out(works, "Staging")
    assert stage["status"] == "Succeeded", stage["message"]
    assert f"attested by urn:hotswap:builder:{former}" in stage["message"]
    attestation = works.lab.sql("select attestation from built_artifacts")[0][0]
    with pytest.raises(attestations.BuilderUnknown):
        attestations.opened(attestation, {key_id(works.builder.public_key()): works.builder.public_key()})

    (builders / "builder.pub").unlink()
    assert "which this orchestrator does not trust" in rolled_out(works, "Staging")["message"]


# --- an end before its time


class Endless:
    """A scanner, or a lookup, that comes to no end by itself. How it is called is as it really is."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()

    def look_through(self, _tree: Path, _work: Path, *, cancelled: threading.Event) -> Report:
        self.began.set()
        assert cancelled.wait(60)
        self.ended.set()
        return Report(failure="the scanner cancelled after 0.5 s")


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    made = Endless()
    monkeypatch.setattr(scan_findings, "look_through", made.look_through)
    return made


def under_way(works: Works, endless: Endless) -> tuple[Any, threading.Thread]:
    works.publish(build=None)
    deployment = works.lab.submit("1.0.0")
    thread = threading.Thread(target=works.execute, args=(deployment, SCAN))
    thread.start()
    assert endless.began.wait(60)
    return deployment, thread


def test_a_cancelled_scan_ends_at_once_and_reports_nothing(works: Works, endless: Endless) -> None:
    deployment, thread = under_way(works, endless)
    works.lab.happen(deployment, CancelRequested(rollback=True, by="dora"))
    thread.join(60)
    assert endless.ended.is_set()
    assert works.lab.status(deployment) is DeploymentStatus.CANCELLED
    assert works.stage(deployment, SCAN)["status"] == "Cancelled"
    assert "report.refused" not in works.lab.events(deployment)
    assert works.left_behind() == []


def test_a_worker_that_is_told_to_stop_hands_its_scan_back(works: Works, endless: Endless) -> None:
    deployment, thread = under_way(works, endless)
    works.lab.orchestrator.stopping.set()
    thread.join(60)
    assert endless.ended.is_set()
    stage = works.stage(deployment, SCAN)
    assert (stage["claimable"], stage["losses"]) == (True, 0)
    assert works.lab.sql("select count(*) from scan_reports") == [(0,)]
    assert works.left_behind() == []


def test_a_scan_that_was_taken_over_meanwhile_reports_nothing(works: Works, endless: Endless) -> None:
    works.publish(build=None)
    deployment = works.lab.submit("1.0.0")
    older = works.claim(deployment, SCAN)
    works.lab.happen(deployment, ClaimEnded(older.stage_id, older.attempt, poison=False, why="it was stopped"))
    with pytest.raises(Abandoned):
        scanning.scan(works.lab.orchestrator, older)
    assert works.stage(deployment, SCAN)["claimable"]
    assert "report.refused" not in works.lab.events(deployment)


def test_a_scan_has_a_time_limit_of_its_own(
    works: Works, endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "LONGEST", 1.0)
    works.publish(build=None)
    stage = scanned(works)
    assert (stage["status"], stage["message"]) == ("Failed", "the scan was broken off: the stage's 1 s are used up")


def test_a_lookup_of_vulnerabilities_can_be_broken_off(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def slow(components: Any, folder: Path, cancelled: threading.Event, **more: Any) -> Any:
        began.set()
        assert cancelled.wait(60)
        return known_vulnerabilities(components, folder, cancelled, **more)

    monkeypatch.setattr(scan_findings, "known_vulnerabilities", slow)
    works.publish(build=None, files={"requirements.txt": "requests==2.30.0\n"})
    folder = tmp_path / "osv"
    folder.mkdir()
    (folder / "GHSA-test-0001.json").write_text(json.dumps(VULNERABLE))
    configured(works, osv_data=folder)
    deployment = works.lab.submit("1.0.0")
    thread = threading.Thread(target=works.execute, args=(deployment, SCAN))
    thread.start()
    assert began.wait(60)
    works.lab.orchestrator.stopping.set()
    thread.join(60)
    assert works.stage(deployment, SCAN)["claimable"]
