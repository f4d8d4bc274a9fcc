"""Security Scan on real artifacts: found once in the sandbox, judged anew by every deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.domain.deployment import DeploymentStatus
from app.domain.policy import parse_policy
from app.infrastructure.scanners.report import Report
from app.orchestrator import scan_findings
from app.orchestrator.context import Orchestrator
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, SCAN, Works

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


def osv(works: Works, folder: Path | None) -> None:
    ours = works.lab.orchestrator
    settings = ours.settings.model_copy(update={"osv_data": folder})
    works.lab.orchestrator = Orchestrator(ours.database, settings, ours.publisher)


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
    osv(works, folder)
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
    monkeypatch.setattr(scan_findings, "look_through", lambda *_: failed)
    works.publish(build=None)
    policy(works.lab, stopAt="never")
    stage = scanned(works)
    assert stage["status"] == "Failed"
    assert stage["message"] == failed.failure
    assert works.lab.sql("select count(*) from scan_reports") == [(0,)], "it is of this attempt only"
