"""What tests leave as their reports, from hostile hands: Test ends in time, and says what it did not read."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import CancelRequested
from app.infrastructure.junit import reading
from app.infrastructure.sandbox.spec import Limits
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import TEST, Works

CHAIN = "for n in $(seq 150); do mkdir d && cd d; done"
CASE = '<testcase name="a"><failure/></testcase>'
SOUND = "mkdir -p reports; echo '<testsuite><testcase name=\"a\"/></testsuite>' > reports/a.xml"


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 2)
    return Works(lab, tmp_path)


def outcome_of(works: Works, test: str, **asked: Any) -> dict[str, Any]:
    works.publish(build=None, test=test, **asked)
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, TEST)
    assert works.left_behind() == []
    return works.stage(deployment, TEST)


def test_a_pattern_that_fits_in_countless_ways_costs_one_walk(works: Works) -> None:
    stage = outcome_of(works, CHAIN, report="**/" * 7 + "*.xml")
    assert stage["status"] == "Succeeded"
    assert [each.rpartition(" is ")[2] for each in stage["details"]["unreadableReports"]] == [
        "more than 100 folders deep"
    ]


def test_what_cannot_be_read_costs_itself_alone(works: Works) -> None:
    odd = '<?xml version="1.0" encoding="utf-7-x"?><testsuite/>'
    stage = outcome_of(
        works,
        f"{SOUND}; echo '{odd}' > junit.xml; mkdir test-results; cp reports/* test-results; chmod 444 test-results",
    )
    assert stage["status"] == "Succeeded"
    assert stage["details"]["tests"]["total"] == 1
    assert stage["details"]["unreadableReports"] == [
        "junit.xml is no XML: unknown encoding: utf-7-x",
        "test-results/a.xml cannot be read: Permission denied",
    ]


def test_many_large_reports_are_bounded_together(works: Works) -> None:
    """Six of 200,000 failed cases each: the third brings them over what is counted."""
    made = (
        f"mkdir reports; cd reports; (echo '<testsuite>'; yes '{CASE}' | head -n 200000; echo '</testsuite>') > 1.xml;"
        "for n in 2 3 4 5 6; do cp 1.xml $n.xml; done; exit 1"
    )
    stage = outcome_of(works, made)
    assert "the tests ended with exit code 1" in stage["message"]
    assert stage["details"]["tests"]["failed"] == 400_000
    assert stage["details"]["unreadableReports"][0] == "reports/3.xml brings more test cases than are counted"


@pytest.mark.parametrize(
    "limits",
    [replace(reading.REPORT_LIMITS, wall_seconds=0.001), replace(reading.REPORT_LIMITS, log_head_bytes=10)],
    ids=["it does not end in time", "its answer is cut off"],
)
def test_without_a_reader_the_exit_code_decides(works: Works, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> None:
    monkeypatch.setattr(reading.Reports.__init__, "__defaults__", (limits,))
    stage = outcome_of(works, SOUND)
    assert stage["status"] == "Succeeded"
    assert stage["details"]["tests"] is None
    assert len(stage["details"]["unreadableReports"]) == 1


def test_a_cancelled_stage_reads_no_further(works: Works, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reader is one that does not end."""
    monkeypatch.setattr(reading, "own_program", lambda _, arguments: ("sh", "-c", _hanging(arguments)))
    works.publish(build=None, test=SOUND)
    deployment = works.lab.submit("1.0.0")
    thread = threading.Thread(target=works.execute, args=(deployment, TEST))
    thread.start()
    deadline = time.monotonic() + 60
    while not list(works.lab.orchestrator.settings.workspaces.glob("*/tree/reading")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    works.lab.happen(deployment, CancelRequested(rollback=True, by="dora"))
    thread.join(30)
    assert not thread.is_alive()
    assert works.stage(deployment, TEST)["status"] == "Cancelled"
    assert works.left_behind() == []


def _hanging(arguments: tuple[str, ...]) -> str:
    if arguments[0] == "read":
        return "touch reading; sleep 600"
    return """echo '{"counts": null, "complaints": []}'"""
