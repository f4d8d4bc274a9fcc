"""The table says what differs."""

from __future__ import annotations

from examples.demo.findings import Findings


def test_what_is_as_expected_stands_side_by_side() -> None:
    findings = Findings()
    findings.equal("requests failed", 0, 0)
    findings.at_least("requests answered", 250, 12345)
    findings.equal("versions", {"1.1.0", "1.0.0"}, {"1.0.0", "1.1.0"})
    assert not findings.wrong
    assert list(findings.table()) == [
        "                   expected      measured",
        "requests failed    0             0",
        "requests answered  at least 250  12,345",
        "versions           1.0.0, 1.1.0  1.0.0, 1.1.0",
    ]


def test_what_differs_is_marked() -> None:
    findings = Findings()
    findings.equal("requests failed", 0, 3)
    findings.at_least("requests answered", 250, 249)
    findings.equal("versions", {"1.1.0"}, set())
    assert [finding.what for finding in findings.wrong] == ["requests failed", "requests answered", "versions"]
    assert all(line.endswith("<- DIFFERS") for line in list(findings.table())[1:])
    assert "none" in list(findings.table())[3]
