"""What a scan found, and what an environment makes of it. Pure: judged anew for each environment, and each time.

A finding stops a deployment when it is as grave as the policy's `stopAt`, and no exception of that policy covers it.
An exception has a name, a reason and a last day; after that day it covers nothing, and what it covered says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from app.domain.field_reader import FieldReader, shortened

_MOST_EXCEPTIONS = 500
_MOST_LICENCES = 500
_LONGEST = 1000


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class StopAt(StrEnum):
    """The least severity that stops a deployment."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
    NEVER = "never"

    def stops(self, severity: Severity) -> bool:
        return self is not StopAt.NEVER and severity.rank >= Severity(self.value).rank


class OsvData(StrEnum):
    """What it means when there is no vulnerability data: REQUIRED fails the scan, OPTIONAL is reported."""

    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a scanner says. `file` is within the archive, `line` counts from 1; `text` helps whoever reads
    it; `rule` is the scanner's own name for it, e.g. `bandit.B602` or `osv.GHSA-...`."""

    severity: Severity
    rule: str
    text: str
    file: str | None = None
    line: int | None = None

    def where(self) -> str:
        """`app.py:12`, as far as it is known."""
        place = self.file or "the archive"
        return f"{place}:{self.line}" if self.file and self.line else place


@dataclass(frozen=True, slots=True)
class ScanException:
    """A finding that is known and borne with: `rule` and `file` may hold `*`; `until` is the last day that counts."""

    name: str
    rule: str
    reason: str
    until: date
    file: str | None = None

    def covers(self, finding: Finding) -> bool:
        """Whether it is of this finding, whatever the day."""
        return fnmatchcase(finding.rule, self.rule) and (
            self.file is None or (finding.file is not None and fnmatchcase(finding.file, self.file))
        )


@dataclass(frozen=True, slots=True)
class LicencePolicy:
    """`refused`: SPDX ids, which may hold `*` (`AGPL-*`); case does not matter."""

    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScanPolicy:
    stop_at: StopAt = StopAt.HIGH
    osv_data: OsvData = OsvData.OPTIONAL
    exceptions: tuple[ScanException, ...] = ()
    licences: LicencePolicy = LicencePolicy()


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding in the light of a policy. `exception` names what covers it; `lapsed` what covered it until its day."""

    finding: Finding
    stops: bool
    exception: str | None = None
    lapsed: str | None = None


def judge(findings: Iterable[Finding], policy: ScanPolicy, today: date) -> tuple[Judged, ...]:
    """Every finding with what follows from it, gravest first, otherwise in their order."""
    judged = [_judged(finding, policy, today) for finding in findings]
    return tuple(sorted(judged, key=lambda each: (not each.stops, -each.finding.severity.rank)))


def _judged(finding: Finding, policy: ScanPolicy, today: date) -> Judged:
    covering = [exception for exception in policy.exceptions if exception.covers(finding)]
    valid = next((exception.name for exception in covering if exception.until >= today), None)
    lapsed = None if valid or not covering else max(covering, key=lambda exception: exception.until).name
    return Judged(finding, valid is None and policy.stop_at.stops(finding.severity), valid, lapsed)


def summary(judged: Sequence[Judged]) -> str:
    """One sentence: `2 of 14 findings stop it: bandit.B602 in app.py:3 (high: ...); ...`."""
    stopping = [each for each in judged if each.stops]
    if not stopping:
        return passed_summary(len(judged), sum(each.exception is not None for each in judged))
    count = count_of(len(judged))
    named = "; ".join(_named(each) for each in stopping[:3])
    more = f"; and {len(stopping) - 3} more" if len(stopping) > 3 else ""
    return f"{len(stopping)} of {count} stop{'s' if len(stopping) == 1 else ''} it: {named}{more}"


def passed_summary(total: int, excepted: int) -> str:
    """The same where none stops it: `14 findings, none stops it, 2 by exception`."""
    if not total:
        return "no findings"
    return f"{count_of(total)}, none stops it" + (f", {excepted} by exception" if excepted else "")


def count_of(total: int) -> str:
    return f"{total} finding{'' if total == 1 else 's'}"


def _named(judged: Judged) -> str:
    finding = judged.finding
    lapsed = f", the exception {judged.lapsed} has lapsed" if judged.lapsed else ""
    return f"{finding.rule} in {finding.where()} ({finding.severity.value}: {finding.text}{lapsed})"


def read_scan_policy(reader: FieldReader) -> ScanPolicy:
    """The policy's section `scan`; complaints go to the reader."""
    policy = ScanPolicy(
        stop_at=reader.word("stopAt", StopAt, StopAt.HIGH),
        osv_data=reader.word("osvData", OsvData, OsvData.OPTIONAL),
        exceptions=_exceptions(reader),
        licences=_licences(reader.section("licences")),
    )
    reader.unknown_keys()
    return policy


def scan_policy_json(policy: ScanPolicy) -> dict[str, Any]:
    """As the API shows it and the database keeps it."""
    return {
        "stopAt": policy.stop_at.value,
        "osvData": policy.osv_data.value,
        "exceptions": [
            {
                "name": exception.name,
                "rule": exception.rule,
                "file": exception.file,
                "reason": exception.reason,
                "until": exception.until.isoformat(),
            }
            for exception in policy.exceptions
        ],
        "licences": {"refused": list(policy.licences.refused)},
    }


def _licences(reader: FieldReader) -> LicencePolicy:
    refused = reader.words("refused", ())
    if len(refused) > _MOST_LICENCES or not all(word.strip() and len(word) <= _LONGEST for word in refused):
        reader.complain("refused", f"must be a list of at most {_MOST_LICENCES} licences, none of them empty")
    reader.unknown_keys()
    return LicencePolicy(refused)


def _exceptions(reader: FieldReader) -> tuple[ScanException, ...]:
    given = reader.take("exceptions")
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > _MOST_EXCEPTIONS:
        reader.complain("exceptions", f"must be a list of at most {_MOST_EXCEPTIONS} exceptions")
        return ()
    read = []
    for number, item in enumerate(given):
        section = FieldReader(item, f"{reader.prefix}exceptions.{number}.", reader.errors)
        exception = _exception(section)
        if exception is not None:
            read.append(exception)
    names = [exception.name for exception in read]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.complain("exceptions", f"the name {shortened(name)!r} stands twice")
    return tuple(read)


def _exception(reader: FieldReader) -> ScanException | None:
    texts = {key: _text(reader, key) for key in ("name", "rule", "reason")}
    file = None if reader.absent("file") else _text(reader, "file")
    until = _day(reader)
    reader.unknown_keys()
    if until is None or None in texts.values():
        return None
    return ScanException(str(texts["name"]), str(texts["rule"]), str(texts["reason"]), until, file)


def _text(reader: FieldReader, key: str) -> str | None:
    value = reader.take(key)
    if isinstance(value, str) and len(value.strip()) > 0 and len(value) <= _LONGEST and "\0" not in value:
        return value
    reader.complain(key, f"must be a text of 1 to {_LONGEST} characters")
    return None


def _day(reader: FieldReader) -> date | None:
    value = reader.take("until")
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        day = None
    if day is None:
        reader.complain("until", "must be the last day that it holds, as 2026-12-31")
    return day
