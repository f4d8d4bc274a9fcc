"""What looking through a tree gives, and its form in JSON: written in the sandbox, kept beside the artifact's digest.

Read back it is a stranger's word, since it comes from a process that parsed foreign bytes: every field is checked for
type, form and size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from app.domain.components import Component, Ecosystem
from app.domain.findings import Finding, Severity
from app.infrastructure.scanners.version import scanner_version
from app.infrastructure.scanners.wording import LONGEST_NAME, LONGEST_TEXT, clean

SCANNER_VERSION = scanner_version()

MOST_FINDINGS = 10_000
MOST_COMPONENTS = 20_000
LONGEST_VERSION = 128
_RULE = re.compile(r"[a-z][a-z0-9-]*\.[A-Za-z0-9._:/@-]{1,300}")
_MOST_NUMBER = 2**53

Word = TypeVar("Word", bound=StrEnum)


class ReportInvalid(ValueError):
    """A report that does not have the form it must have; the text says where."""


class Reason(StrEnum):
    """Why something was not looked at, or not wholly."""

    BINARY = "binary"
    LINK = "link"
    SPECIAL = "special"
    PACKED = "packed"
    OF_DEPENDENCY = "of-dependency"
    INEXACT = "inexact"
    UNKNOWN_LOCK = "unknown-lock"
    LARGE = "large"
    LONG_LINE = "long-line"
    UNREADABLE = "unreadable"
    UNPARSED = "unparsed"
    SLOW = "slow"
    BROKEN = "broken"
    DEEP = "deep"
    MANY_FILES = "many-files"
    MANY_COMPONENTS = "many-components"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`example` is the first one's name."""

    reason: Reason
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Report:
    """`files` and `size_bytes` are what was read. With a `failure`, a sentence, the tree was not looked through (then
    one of the findings says so too): such a report is of this attempt and not of the artifact, and is not to be kept.
    """

    findings: tuple[Finding, ...] = ()
    components: tuple[Component, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    files: int = 0
    size_bytes: int = 0
    failure: str | None = None
    version: str = SCANNER_VERSION


def report_json(report: Report) -> dict[str, Any]:
    """As it is stored and sent; `read_report` takes it back. The same report gives the same JSON."""
    return {
        "version": report.version,
        "files": report.files,
        "sizeBytes": report.size_bytes,
        "failure": report.failure,
        "findings": [finding_json(finding) for finding in report.findings],
        "components": [_component_json(component) for component in report.components],
        "leftOut": [
            {"reason": each.reason.value, "count": each.count, "example": each.example} for each in report.left_out
        ],
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity.value,
        "rule": finding.rule,
        "text": finding.text,
        "file": finding.file,
        "line": finding.line,
    }


def read_report(body: object) -> Report:
    """Raises ReportInvalid, for whatever kind of JSON value it is given."""
    fields = _mapping(body, "the report")
    return Report(
        findings=tuple(_finding(item) for item in _items(fields, "findings", MOST_FINDINGS)),
        components=tuple(_component(item) for item in _items(fields, "components", MOST_COMPONENTS)),
        left_out=tuple(_left_out(item) for item in _items(fields, "leftOut", len(Reason))),
        files=_number(fields, "files"),
        size_bytes=_number(fields, "sizeBytes"),
        failure=_maybe_text(fields, "failure", LONGEST_TEXT),
        version=_text(fields, "version", LONGEST_VERSION),
    )


def _finding(item: object) -> Finding:
    fields = _mapping(item, "a finding")
    rule = _text(fields, "rule", LONGEST_NAME)
    if not _RULE.fullmatch(rule):
        raise ReportInvalid(f"a finding has no rule, but {clean(rule, 80)!r}")
    return Finding(
        severity=_word(fields, "severity", Severity),
        rule=rule,
        text=_text(fields, "text", LONGEST_TEXT),
        file=_maybe_text(fields, "file", LONGEST_NAME),
        line=None if fields.get("line") is None else _number(fields, "line"),
    )


def _component_json(component: Component) -> dict[str, Any]:
    return {
        "ecosystem": component.ecosystem.value,
        "name": component.name,
        "version": component.version,
        "found": component.found,
        "licence": component.licence,
        "licenceWords": component.licence_words,
    }


def _component(item: object) -> Component:
    fields = _mapping(item, "a component")
    return Component(
        ecosystem=_word(fields, "ecosystem", Ecosystem),
        name=_text(fields, "name", LONGEST_VERSION * 2),
        version=_text(fields, "version", LONGEST_VERSION),
        found=_text(fields, "found", LONGEST_NAME),
        licence=_maybe_text(fields, "licence", LONGEST_TEXT),
        licence_words=_maybe_text(fields, "licenceWords", LONGEST_TEXT),
    )


def _left_out(item: object) -> LeftOut:
    fields = _mapping(item, "what was left out")
    example = _text(fields, "example", LONGEST_NAME)
    return LeftOut(_word(fields, "reason", Reason), _number(fields, "count"), example)


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ReportInvalid(f"{what} is not an object")
    return value


def _items(fields: Mapping[str, Any], key: str, most: int) -> Iterable[object]:
    value = fields.get(key)
    if not isinstance(value, list) or len(value) > most:
        raise ReportInvalid(f"{key} is not a list of at most {most}")
    return value


def _text(fields: Mapping[str, Any], key: str, most: int) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value or clean(value, most) != value:
        raise ReportInvalid(f"{key} is not a line of at most {most} printable characters")
    return value


def _maybe_text(fields: Mapping[str, Any], key: str, most: int) -> str | None:
    return None if fields.get(key) is None else _text(fields, key, most)


def _number(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_NUMBER:
        raise ReportInvalid(f"{key} is not a count")
    return value


def _word(fields: Mapping[str, Any], key: str, kind: type[Word]) -> Word:
    try:
        return kind(str(fields.get(key)))
    except ValueError:
        raise ReportInvalid(f"{key} is none of {', '.join(kind)}") from None
