"""What the scanners say, kept within bounds: of each rule the first ones, and of the rest how many there were.

Nothing is dropped in silence: what is over the bound becomes one finding of the same rule and of the gravest severity
among them. So an exception for the rule covers it, and one for a single file does not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from app.domain.components import Component, Ecosystem
from app.domain.findings import Finding, Severity
from app.infrastructure.scanners.report import (
    LONGEST_VERSION,
    MOST_COMPONENTS,
    MOST_FINDINGS,
    LeftOut,
    Reason,
    Report,
)
from app.infrastructure.scanners.wording import LONGEST_NAME, LONGEST_TEXT, clean

# Of each rule and severity.
_MOST_OF_ONE = 100
_MOST_RULES = 200


@dataclass(slots=True)
class _Left:
    count: int
    example: str


@dataclass(slots=True)
class _Rest:
    count: int
    severity: Severity


class Gathering:
    """The report while it is being made."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._counts: dict[tuple[str, Severity], int] = defaultdict(int)
        self._rest: dict[str, _Rest] = {}
        self._left: dict[Reason, _Left] = {}
        self._components: dict[tuple[Ecosystem, str, str], Component] = {}
        self.files = 0
        self.size_bytes = 0

    def find(self, severity: Severity, rule: str, text: str, file: str, line: int | None = None) -> None:
        key = (rule, severity)
        self._counts[key] += 1
        if self._counts[key] <= _MOST_OF_ONE and len(self._findings) < MOST_FINDINGS - _MOST_RULES - 1:
            self._findings.append(Finding(severity, rule, clean(text, LONGEST_TEXT), clean(file, LONGEST_NAME), line))
            return
        rest = self._rest.setdefault(rule if len(self._rest) < _MOST_RULES else "scan.more", _Rest(0, severity))
        rest.count += 1
        rest.severity = max(rest.severity, severity, key=lambda each: each.rank)

    def leave_out(self, reason: Reason, example: str, count: int = 1) -> None:
        self._left.setdefault(reason, _Left(0, clean(example, LONGEST_NAME) or ".")).count += count

    def add(
        self, ecosystem: Ecosystem, name: object, version: object, found: str, licence: tuple[str | None, str | None]
    ) -> None:
        """A component, if it has a name and version of a sensible form. `licence`: SPDX expression, own words."""
        if not (_is_word(name, 2 * LONGEST_VERSION) and _is_word(version, LONGEST_VERSION)):
            self.leave_out(Reason.INEXACT, found)
            return
        component = Component(ecosystem, str(name), str(version), clean(found, LONGEST_NAME), *licence)
        key = (*component.key, component.version)
        known = self._components.get(key)
        if known is None and len(self._components) >= MOST_COMPONENTS:
            self.leave_out(Reason.MANY_COMPONENTS, f"{name} {version}")
        elif known is None:
            self._components[key] = component
        elif known.licence is None and (component.licence or not known.licence_words):
            self._components[key] = Component(known.ecosystem, known.name, known.version, known.found, *licence)

    def report(self) -> Report:
        """In an order that depends on the content only."""
        rest = [
            Finding(each.severity, rule, f"findings of this rule that are not listed: {each.count}")
            for rule, each in self._rest.items()
        ]
        findings = sorted([*self._findings, *rest], key=_order)
        components = sorted(self._components.values(), key=lambda each: (each.package, each.version))
        left_out = [LeftOut(reason, left.count, left.example) for reason, left in self._left.items()]
        left_out.sort(key=lambda each: list(Reason).index(each.reason))
        return Report(tuple(findings), tuple(components), tuple(left_out), self.files, self.size_bytes)


def _order(finding: Finding) -> tuple[int, str, int, str, str]:
    return -finding.severity.rank, finding.file or "", finding.line or 0, finding.rule, finding.text


def _is_word(value: object, most: int) -> bool:
    """Whether it can be a name or a version: printable, without a space, neither empty nor endless."""
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable() and " " not in value
