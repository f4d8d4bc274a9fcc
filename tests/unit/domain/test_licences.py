"""Licences against a policy's list, and that list in the policy."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.components import Component, Ecosystem
from app.domain.errors import Invalid
from app.domain.field_reader import FieldReader
from app.domain.findings import LicencePolicy, ScanPolicy, Severity, read_scan_policy, scan_policy_json
from app.domain.licences import ExpressionInvalid, licence_findings, refusing

# A busy machine is no failure.
AT_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
COPYLEFT = LicencePolicy(("AGPL-*", "GPL-3.0-only", "Our own, v2"))


def component(name: str, licence: str | None = None, words: str | None = None) -> Component:
    return Component(Ecosystem.PYPI, name, "1.0", "requirements.txt", licence, words)


@pytest.mark.parametrize(
    ("expression", "pattern"),
    [
        ("MIT", None),
        ("agpl-3.0-or-later", "AGPL-*"),
        ("MIT OR AGPL-3.0-only", None),
        ("MIT AND AGPL-3.0-only", "AGPL-*"),
        ("MIT AND (Apache-2.0 OR GPL-3.0-only)", None),
        ("GPL-3.0-only OR AGPL-1.0-only AND MIT", "GPL-3.0-only"),
        ("GPL-3.0-only WITH Classpath-exception-2.0", None),
        ("AGPL-3.0-only WITH Classpath-exception-2.0", "AGPL-*"),
        ("((MIT))", None),
    ],
)
def test_an_expression_is_refused_when_it_leaves_no_choice(expression: str, pattern: str | None) -> None:
    assert refusing(expression, COPYLEFT.refused) == pattern


@pytest.mark.parametrize("expression", ["", "MIT OR", "(MIT", "MIT)", "AND", "MIT MIT", "MIT WITH", "(" * 200 + "MIT"])
def test_what_is_no_expression_is_said_to_be_none(expression: str) -> None:
    with pytest.raises(ExpressionInvalid):
        refusing(expression, COPYLEFT.refused)


@AT_ANY_PACE
@given(st.text(alphabet="ABC ()-ORNDWITH.", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ExpressionInvalid):
        refusing(text, COPYLEFT.refused)


def test_findings_name_the_package_and_the_rule_is_of_that_package() -> None:
    findings = licence_findings([component("Ghost_Script", "AGPL-3.0-only"), component("fine", "MIT")], COPYLEFT)
    assert [(each.rule, each.severity) for each in findings] == [("licence.pypi/ghost-script", Severity.HIGH)]
    assert findings[0].text == "Ghost_Script 1.0 is under AGPL-3.0-only, which the policy refuses (AGPL-*)"
    assert findings[0].file == "requirements.txt"


def test_a_licence_in_words_can_be_refused_by_these_words() -> None:
    [finding] = licence_findings([component("own", words="our own, V2")], COPYLEFT)
    assert finding.text == "own 1.0 is under our own, V2, which the policy refuses"


def test_licences_that_are_not_known_are_one_finding_of_low_severity() -> None:
    unknown = [component(f"p{number:02}", words="see LICENSE" if number % 2 else None) for number in range(14)]
    [finding] = licence_findings(unknown, COPYLEFT)
    assert (finding.severity, finding.rule, finding.file) == (Severity.LOW, "licence.unknown", None)
    assert finding.text.startswith("14 components state no licence that can be understood: p00 1.0, p01 1.0")
    assert finding.text.endswith("p09 1.0 and 4 more")


def test_a_policy_that_refuses_nothing_finds_nothing() -> None:
    assert licence_findings([component("a"), component("b", "AGPL-3.0-only")], LicencePolicy()) == ()


def read(body: object) -> ScanPolicy:
    reader = FieldReader(body, "scan.")
    policy = read_scan_policy(reader)
    reader.finish()
    return policy


def test_the_policy_comes_back_as_it_was_given() -> None:
    policy = read({"licences": {"refused": ["AGPL-*", "SSPL-1.0"]}})
    assert policy.licences.refused == ("AGPL-*", "SSPL-1.0")
    assert read(scan_policy_json(policy)) == policy


@pytest.mark.parametrize(
    ("licences", "field"),
    [
        ({"refused": "AGPL-*"}, "scan.licences.refused"),
        ({"refused": [1]}, "scan.licences.refused"),
        ({"refused": [" "]}, "scan.licences.refused"),
        ({"refused": ["MIT"] * 501}, "scan.licences.refused"),
        ({"refuse": []}, "scan.licences.refuse"),
        ([], "scan.licences"),
    ],
)
def test_a_list_that_is_none_is_refused_by_its_field(licences: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        read({"licences": licences})
    assert field in refused.value.errors


@pytest.mark.parametrize(
    ("ecosystem", "name", "version", "purl"),
    [
        (Ecosystem.PYPI, "Flask_SQLAlchemy", "3.0+local", "pkg:pypi/flask-sqlalchemy@3.0%2Blocal"),
        (Ecosystem.NPM, "@babel/core", "7.0.0", "pkg:npm/%40babel/core@7.0.0"),
        (Ecosystem.MAVEN, "org.slf4j:slf4j-api", "2.0.1", "pkg:maven/org.slf4j/slf4j-api@2.0.1"),
    ],
)
def test_package_urls(ecosystem: Ecosystem, name: str, version: str, purl: str) -> None:
    assert Component(ecosystem, name, version, "x").purl == purl
