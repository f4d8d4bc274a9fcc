"""Whether a version is affected: the OSV schema's rules."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.components import Component, Ecosystem
from app.domain.findings import Severity
from app.infrastructure.osv.entries import Entry, EntryInvalid, read_entry
from app.infrastructure.osv.matching import ComponentVersion, Matcher, Passed
from app.infrastructure.osv.severity import of_score, severity_of

V3_CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
V3_MEDIUM = "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:L/A:N"
V2_HIGH = "AV:N/AC:L/Au:N/C:P/I:P/A:P"
V4_CRITICAL = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


def entry(affected: dict[str, Any], **fields: Any) -> Entry:
    package = {"ecosystem": "PyPI", "name": "thing"}
    return read_entry({"id": "GHSA-1", "affected": [{"package": package} | affected]} | fields)


def affects(version: str, *events: dict[str, str], kind: str = "ECOSYSTEM", passed: Passed | None = None) -> bool:
    [affected] = entry({"ranges": [{"type": kind, "events": list(events)}]}).affected
    component = Component(Ecosystem.PYPI, "thing", version, "x")
    return Matcher(affected).affects(ComponentVersion(component), passed if passed is not None else Passed())


def pypi(version: str) -> ComponentVersion:
    return ComponentVersion(Component(Ecosystem.PYPI, "thing", version, "x"))


INTRODUCED_0 = {"introduced": "0"}


@pytest.mark.parametrize(
    ("version", "events", "affected"),
    [
        ("1.0", [INTRODUCED_0], True),
        ("1.9", [INTRODUCED_0, {"fixed": "2.0"}], True),
        ("2.0", [INTRODUCED_0, {"fixed": "2.0"}], False),
        ("2.0rc1", [INTRODUCED_0, {"fixed": "2.0"}], True),
        ("2.0", [INTRODUCED_0, {"last_affected": "2.0"}], True),
        ("2.0.1", [INTRODUCED_0, {"last_affected": "2.0"}], False),
        ("0.9", [{"introduced": "1.0"}], False),
        ("1.0", [{"introduced": "1.0"}, {"last_affected": "1.0"}], True),
        ("1.1", [{"introduced": "1.0"}, {"last_affected": "1.0"}], False),
        # in no order, and two times over
        ("3.5", [{"fixed": "4.0"}, {"introduced": "3.0"}, {"fixed": "1.0"}, INTRODUCED_0], True),
        ("2.0", [{"fixed": "4.0"}, {"introduced": "3.0"}, {"fixed": "1.0"}, INTRODUCED_0], False),
        ("1.5", [INTRODUCED_0, {"fixed": "1.0"}, {"introduced": "1.0"}, {"fixed": "2.0"}], True),
        ("1.5", [INTRODUCED_0, {"limit": "1.5"}], False),
        ("1.4", [INTRODUCED_0, {"limit": "1.5"}], True),
        ("9.0", [INTRODUCED_0, {"limit": "*"}], True),
        ("1.0", [{"fixed": "2.0"}], False),
        ("1.0", [], False),
    ],
)
def test_ranges(version: str, events: list[dict[str, str]], affected: bool) -> None:
    assert affects(version, *events) is affected


def test_listed_versions_count_however_they_are_written() -> None:
    [affected] = entry({"versions": ["1.0", "odd"]}).affected
    found = {
        version: Matcher(affected).affects(pypi(version), Passed())
        for version in ("1.0", "1.0.0", "odd", "1.1", "odder")
    }
    assert found == {"1.0": True, "1.0.0": True, "odd": True, "1.1": False, "odder": False}


def test_commits_and_what_is_no_version_are_counted_and_passed_over() -> None:
    passed = Passed()
    assert not affects("1.0", INTRODUCED_0, kind="GIT", passed=passed)
    assert not affects("1.0", {"introduced": "today"}, passed=passed)
    assert not affects("main", INTRODUCED_0, {"fixed": "1.0"}, passed=passed)
    assert passed == Passed(git_ranges=1, incomparable=2)


def test_the_lowest_fix_above_the_version_is_named() -> None:
    [affected] = entry(
        {
            "ranges": [
                {"type": "GIT", "events": [{"fixed": "abc"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "2.0"}, {"fixed": "2.0.5"}]},
                {"type": "ECOSYSTEM", "events": [INTRODUCED_0, {"fixed": "1.10"}, {"fixed": "odd"}]},
            ]
        }
    ).affected
    assert Matcher(affected).fixed_in(pypi("1.9")) == "1.10"
    assert Matcher(affected).fixed_in(pypi("3.0")) is None


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"database_specific": {"severity": "MODERATE"}}, Severity.MEDIUM),
        (
            {"database_specific": {"severity": "LOW"}, "severity": [{"type": "CVSS_V3", "score": V3_CRITICAL}]},
            Severity.LOW,
        ),
        ({"severity": [{"type": "CVSS_V3", "score": V3_CRITICAL}]}, Severity.CRITICAL),
        ({"severity": [{"type": "CVSS_V3", "score": V3_MEDIUM}]}, Severity.MEDIUM),
        ({"severity": [{"type": "CVSS_V2", "score": V2_HIGH}]}, Severity.HIGH),
        (
            {"severity": [{"type": "CVSS_V3", "score": V3_MEDIUM}, {"type": "CVSS_V4", "score": V4_CRITICAL}]},
            Severity.CRITICAL,
        ),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:?"}, {"type": "x"}, 7]}, None),
        ({"severity": "high"}, None),
        ({"database_specific": {"severity": ["HIGH"]}}, None),
        ({"id": "MAL-2024-1"}, Severity.CRITICAL),
        ({}, None),
    ],
)
def test_severity(fields: dict[str, Any], severity: Severity | None) -> None:
    assert severity_of(fields) is severity


def test_the_scale() -> None:
    assert [of_score(score) for score in (0.0, 3.9, 4.0, 6.9, 7.0, 8.9, 9.0)] == [
        *(Severity.LOW, Severity.LOW, Severity.MEDIUM, Severity.MEDIUM),
        *(Severity.HIGH, Severity.HIGH, Severity.CRITICAL),
    ]


@pytest.mark.parametrize("value", [None, [], {}, {"id": 1}, {"id": ""}, "x", 7])
def test_what_is_no_entry_is_said_to_be_none(value: object) -> None:
    with pytest.raises(EntryInvalid):
        read_entry(value)


@pytest.mark.parametrize(
    "affected",
    [
        None,
        [None],
        [{"package": None}],
        [{"package": {"name": 1, "ecosystem": "npm"}}],
        [{"package": {"name": "a", "ecosystem": "Debian:12"}}],
        {},
    ],
)
def test_what_is_not_of_our_packages_is_passed_over(affected: object) -> None:
    assert read_entry({"id": "X-1", "affected": affected}).affected == ()


def test_what_is_malformed_within_a_package_costs_no_more_than_that() -> None:
    ranges = [None, {"type": "OTHER"}, {"type": ["SEMVER"]}, {"type": "SEMVER", "events": [None, {"fixed": 1}]}]
    [affected] = entry({"versions": [1, "2"], "ranges": ranges}, modified="yesterday").affected
    assert affected.versions == {"2"}
    assert [each.events for each in affected.ranges] == [()]


def test_the_ecosystem_may_name_a_repository() -> None:
    read = read_entry(
        {"id": "X", "affected": [{"package": {"name": "a:b", "ecosystem": "Maven:https://repo.example"}}]}
    )
    assert [(each.ecosystem, each.name) for each in read.affected] == [(Ecosystem.MAVEN, "a:b")]
