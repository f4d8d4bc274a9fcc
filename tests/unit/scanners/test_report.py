"""The report: bounded, the same for the same tree, and a stranger's word when it is read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.schema._res import BOM_JSON, JSF, SPDX_JSON
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.components import Component, Ecosystem
from app.domain.findings import Finding, Severity
from app.infrastructure.scanners import version
from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.left_out import left_out_findings
from app.infrastructure.scanners.report import (
    MOST_COMPONENTS,
    MOST_FINDINGS,
    SCANNER_VERSION,
    LeftOut,
    Reason,
    Report,
    ReportInvalid,
    read_report,
    report_json,
)
from app.infrastructure.scanners.sbom import cyclonedx
from app.infrastructure.scanners.wording import clean

# A busy machine is no failure.
AT_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FULL = Report(
    findings=(
        Finding(Severity.HIGH, "secret.aws-key", "AWS key in a file", "a.py", 3),
        Finding(Severity.LOW, "a.b", "x"),
    ),
    components=(
        Component(Ecosystem.NPM, "@scope/a", "1.0.0", "package-lock.json", "MIT OR ISC"),
        Component(Ecosystem.MAVEN, "org.x:y", "1.0", "pom.xml", None, "see the file"),
        Component(Ecosystem.PYPI, "Zope_Thing", "1", "requirements.txt"),
    ),
    left_out=(LeftOut(Reason.BINARY, 3, "a.png"),),
    files=10,
    size_bytes=1000,
)


def test_a_report_comes_back_as_it_was() -> None:
    assert read_report(json.loads(json.dumps(report_json(FULL)))) == FULL


def changed(path: str, value: object) -> Any:
    body: Any = report_json(FULL)
    *parents, last = path.split(".")
    at = body
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("findings", None),
        ("findings", {}),
        ("findings", [1]),
        ("findings", [{}] * (MOST_FINDINGS + 1)),
        ("findings.0.severity", "grave"),
        ("findings.0.severity", ["high"]),
        ("findings.0.rule", "no rule"),
        ("findings.0.rule", "x." + "y" * 2000),
        ("findings.0.text", "with \x1b[31m colour"),
        ("findings.0.text", "\ud800"),
        ("findings.0.text", "x" * 501),
        ("findings.0.file", "a\nb"),
        ("findings.0.line", -1),
        ("findings.0.line", True),
        ("findings.0.line", 10**40),
        ("components", [{}] * (MOST_COMPONENTS + 1)),
        ("components.0.ecosystem", "Debian"),
        ("components.0.name", ""),
        ("components.0.version", None),
        ("components.0.version", "1\0"),
        ("leftOut.0.reason", "boredom"),
        ("leftOut.0.count", 1.5),
        ("files", "10"),
        ("version", None),
        ("failure", {}),
    ],
)
def test_what_has_another_form_is_refused(path: str, value: object) -> None:
    with pytest.raises(ReportInvalid):
        read_report(changed(path, value))


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@AT_ANY_PACE
@given(st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v), max_leaves=6))
def test_any_json_value_is_refused_and_breaks_nothing(value: object) -> None:
    with pytest.raises(ReportInvalid):
        read_report(value)


@AT_ANY_PACE
@given(st.text(), st.integers(1, 50))
def test_clean_text_is_printable_bounded_and_stays_as_it_is(text: str, most: int) -> None:
    once = clean(text, most)
    assert len(once) <= most
    assert once.isprintable()
    assert clean(once, most) == once


def test_what_cannot_be_printed_is_shown() -> None:
    assert clean("a\x1b[1m\n\udcff\u202e") == "a\\x1b[1m \\xff\\u202e"


def test_of_many_findings_some_are_kept_and_the_others_counted() -> None:
    gathering = Gathering()
    for number in range(10_000):
        gathering.find(Severity.LOW, "bandit.B101", "an assertion", f"f{number:05}.py", 1)
        gathering.find(Severity.HIGH, "bandit.B602", "a shell", f"f{number:05}.py", 2)
    findings = gathering.report().findings
    assert len(findings) == 202
    assert findings[0] == Finding(Severity.HIGH, "bandit.B602", "findings of this rule that are not listed: 9900")
    assert findings[1] == Finding(Severity.HIGH, "bandit.B602", "a shell", "f00000.py", 2)


def test_rules_and_components_without_number_are_bounded_too() -> None:
    gathering = Gathering()
    for number in range(MOST_FINDINGS + 5_000):
        gathering.find(Severity.LOW, f"x.{number}", "text", "f.py")
    gathering.find(Severity.CRITICAL, "x.last", "text", "f.py")
    for number in range(MOST_COMPONENTS + 10):
        gathering.add(Ecosystem.NPM, f"p{number}", "1", "package-lock.json", (None, None))
    report = gathering.report()
    assert len(report.findings) <= MOST_FINDINGS
    assert report.findings[0].severity is Severity.CRITICAL
    assert report.left_out == (LeftOut(Reason.MANY_COMPONENTS, 10, f"p{MOST_COMPONENTS} 1"),)
    assert read_report(report_json(report)) == report


def test_what_leaves_a_doubt_is_a_finding() -> None:
    left = [LeftOut(Reason.LINK, 9, "x"), LeftOut(Reason.LARGE, 1, "big.json"), LeftOut(Reason.TIME, 12, "z.py")]
    assert left_out_findings(left) == (
        Finding(Severity.LOW, "scan.large", "files that are too large were not looked through: big.json"),
        Finding(Severity.HIGH, "scan.time", "files were not looked through: the time ran out: z.py and 11 more"),
    )


def schema(path: str | None) -> Any:
    assert path is not None
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_the_bill_of_materials_keeps_to_the_official_schema_and_is_the_same_each_time() -> None:
    validator = jsonschema_rs.Draft7Validator(
        schema(BOM_JSON[SchemaVersion.V1_6]),
        registry=jsonschema_rs.Registry(
            [
                ("http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json", schema(SPDX_JSON)),
                ("http://cyclonedx.org/schema/jsf-0.82.SNAPSHOT.schema.json", schema(JSF)),
            ]
        ),
    )
    bill = cyclonedx(FULL.components, "payment-processor", "2.1.0")
    validator.validate(bill)
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(bill | {"components": [{"name": "no type"}]})
    assert json.dumps(cyclonedx([*reversed(FULL.components)], "payment-processor", "2.1.0")) == json.dumps(bill)
    assert [(each.get("group"), each["name"], each["purl"]) for each in bill["components"]] == [
        ("org.x", "y", "pkg:maven/org.x/y@1.0"),
        ("@scope", "a", "pkg:npm/%40scope/a@1.0.0"),
        (None, "Zope_Thing", "pkg:pypi/zope-thing@1"),
    ]


def test_the_version_is_the_same_until_the_scanners_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.scanner_version() == SCANNER_VERSION
    copy = tmp_path / "scanners"
    shutil.copytree(Path(version.__file__).parent, copy)
    monkeypatch.setattr(version, "__file__", str(copy / "version.py"))
    assert version.scanner_version() == SCANNER_VERSION
    (copy / "inside" / "detectors.py").write_text("# another rule\n")
    assert version.scanner_version() != SCANNER_VERSION
