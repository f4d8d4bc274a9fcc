"""Findings in the light of a policy: thresholds, exceptions, and the day on which those lapse."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.domain.field_reader import FieldReader
from app.domain.findings import (
    Finding,
    OsvData,
    ScanException,
    ScanPolicy,
    Severity,
    StopAt,
    judge,
    read_scan_policy,
    scan_policy_json,
    summary,
)

TODAY = date(2026, 11, 24)
SHELL = Finding(Severity.HIGH, "bandit.B602", "a shell runs what it is given", "app/run.py", 12)


def excepted(**changes: Any) -> ScanException:
    given: dict[str, Any] = {"name": "known", "rule": "bandit.B602", "reason": "only in tests", "until": TODAY}
    return ScanException(**given | changes)


def read(body: object) -> ScanPolicy:
    reader = FieldReader(body, "scan.")
    policy = read_scan_policy(reader)
    reader.finish()
    return policy


@pytest.mark.parametrize(
    ("stop_at", "stopped"),
    [("low", 4), ("medium", 3), ("high", 2), ("critical", 1), ("never", 0)],
)
def test_what_is_as_grave_as_the_threshold_stops(stop_at: str, stopped: int) -> None:
    findings = [Finding(severity, "rule", "text") for severity in Severity]
    judged = judge(findings, ScanPolicy(StopAt(stop_at)), TODAY)
    assert sum(each.stops for each in judged) == stopped


def test_an_exception_covers_until_its_last_day() -> None:
    (covered,) = judge([SHELL], ScanPolicy(exceptions=(excepted(),)), TODAY)
    assert (covered.stops, covered.exception, covered.lapsed) == (False, "known", None)
    (lapsed,) = judge([SHELL], ScanPolicy(exceptions=(excepted(),)), TODAY + timedelta(days=1))
    assert (lapsed.stops, lapsed.exception, lapsed.lapsed) == (True, None, "known")
    assert "the exception known has lapsed" in summary([lapsed])


@pytest.mark.parametrize(
    ("changes", "covers"),
    [
        ({}, True),
        ({"rule": "bandit.*"}, True),
        ({"rule": "bandit.B60"}, False),
        ({"rule": "Bandit.B602"}, False),
        ({"file": "app/*.py"}, True),
        ({"file": "tests/*"}, False),
        ({"rule": "*", "file": "*"}, True),
    ],
)
def test_what_an_exception_is_of(changes: dict[str, str], covers: bool) -> None:
    assert excepted(**changes).covers(SHELL) is covers


def test_one_of_a_file_covers_nothing_that_has_none() -> None:
    assert not excepted(rule="*", file="*").covers(Finding(Severity.LOW, "licence", "unknown"))


def test_the_summary_names_the_gravest() -> None:
    assert summary(()) == "no findings"
    findings = [Finding(Severity.LOW, "a", "x"), SHELL, Finding(Severity.CRITICAL, "osv.GHSA-1", "remote code")]
    judged = judge(findings, ScanPolicy(), TODAY)
    assert summary(judged) == (
        "2 of 3 findings stop it: osv.GHSA-1 in the archive (critical: remote code);"
        " bandit.B602 in app/run.py:12 (high: a shell runs what it is given)"
    )
    assert summary(judge([SHELL], ScanPolicy(exceptions=(excepted(),)), TODAY)) == (
        "1 finding, none stops it, 1 by exception"
    )
    many = judge([SHELL] * 5, ScanPolicy(), TODAY)
    assert summary(many).startswith("5 of 5 findings stop it: ") and summary(many).endswith("; and 2 more")


def test_a_policy_is_read_and_shown_again() -> None:
    body = {
        "stopAt": "medium",
        "osvData": "required",
        "exceptions": [
            {"name": "known", "rule": "bandit.*", "file": None, "reason": "tests", "until": "2027-01-31"},
        ],
        "licences": {"refused": []},
    }
    policy = read(body)
    assert policy == ScanPolicy(
        StopAt.MEDIUM, OsvData.REQUIRED, (ScanException("known", "bandit.*", "tests", date(2027, 1, 31)),)
    )
    assert scan_policy_json(policy) == body
    assert read({}) == ScanPolicy()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"stopAt": "hihg"}, {"scan.stopAt"}),
        ({"stopAt": 3, "osvData": "maybe", "more": 1}, {"scan.stopAt", "scan.osvData", "scan.more"}),
        ({"exceptions": "all"}, {"scan.exceptions"}),
        ({"exceptions": [7]}, {f"scan.exceptions.0.{name}" for name in ("name", "rule", "reason", "until")}
         | {"scan.exceptions.0"}),
        ({"exceptions": [{"name": "a", "rule": "b", "reason": "c", "until": "soon"}]}, {"scan.exceptions.0.until"}),
        ({"exceptions": [{"name": "", "rule": "x" * 2000, "reason": "\0", "until": "2027-01-01", "fiel": "x"}]},
         {f"scan.exceptions.0.{name}" for name in ("name", "rule", "reason", "fiel")}),
        ({"exceptions": [{"name": "a", "rule": "b", "reason": "c", "until": "2027-01-01"}] * 2}, {"scan.exceptions"}),
    ],
)  # fmt: skip
def test_every_bad_field_is_named(body: object, fields: set[str]) -> None:
    with pytest.raises(Invalid) as refusal:
        read(body)
    assert refusal.value.errors.keys() == fields


FINDINGS = st.builds(
    Finding, st.sampled_from(Severity), st.sampled_from(["a.1", "a.2", "b.1"]), st.just("text"),
    st.sampled_from([None, "x.py", "y.py"]), st.none(),
)  # fmt: skip
EXCEPTIONS = st.builds(
    ScanException, st.text(max_size=3), st.sampled_from(["a.*", "a.1", "*"]), st.just("why"),
    st.dates(TODAY - timedelta(days=2), TODAY + timedelta(days=2)), st.sampled_from([None, "x.*"]),
)  # fmt: skip


@given(st.lists(FINDINGS, max_size=8), st.sampled_from(StopAt), st.lists(EXCEPTIONS, max_size=4))
def test_nothing_is_lost_and_one_more_exception_never_stops_more(
    findings: list[Finding], stop_at: StopAt, exceptions: list[ScanException]
) -> None:
    judged = judge(findings, ScanPolicy(stop_at, exceptions=tuple(exceptions)), TODAY)
    assert sorted(map(id, findings)) == sorted(id(each.finding) for each in judged)
    bare = judge(findings, ScanPolicy(stop_at), TODAY)
    assert sum(each.stops for each in judged) <= sum(each.stops for each in bare)
    for each in judged:
        assert not (each.stops and each.exception)
        if each.exception is None and each.lapsed is None:
            assert each.stops is stop_at.stops(each.finding.severity)
