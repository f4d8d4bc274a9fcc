"""What the scanners find in an artifact, and what the policy of today makes of it.

A report is true of the bytes of its digest, so it is made once for each version of the scanners and kept. Everything
that changes without the bytes is judged anew by every deployment: thresholds, exceptions and their days, licences, and
known vulnerabilities.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

from agent.archive import unpack
from agent.signatures import Digest
from app.domain.findings import (
    Finding,
    Judged,
    OsvData,
    ScanPolicy,
    Severity,
    count_of,
    judge,
    passed_summary,
    summary,
)
from app.domain.licences import licence_findings
from app.infrastructure.artifacts import ArtifactStore, archive_limits
from app.infrastructure.osv.folder import OsvUnavailable
from app.infrastructure.osv.lookup import known_vulnerabilities
from app.infrastructure.scanners.looking import look_through
from app.infrastructure.scanners.report import SCANNER_VERSION, Report, ReportInvalid, finding_json, read_report
from app.infrastructure.scanners.report import report_json as as_json
from app.infrastructure.workspaces import workspace
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator

MOST_SHOWN = 100
_INDEX = "osv.index"
_STORED = """
select report from scan_reports
 where tenant_id = %(tenant_id)s and digest = %(digest)s and scanner = %(scanner)s
"""
_KEEP = """
insert into scan_reports (tenant_id, digest, scanner, report)
values (%(tenant_id)s, %(digest)s, %(scanner)s, %(report)s) on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """`judged`, gravest first; `told` says what else a person should know, such as the age of the data."""

    report: Report
    judged: tuple[Judged, ...]
    told: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """An artifact that could not be looked through stops it whatever the policy says."""
        return self.report.failure is not None or any(each.stops for each in self.judged)

    def sentence(self) -> str:
        if self.report.failure is not None:
            return self.report.failure
        return "; ".join((summary(self.judged), *self.told))

    def as_json(self) -> dict[str, Any]:
        """For the stage's details; of many findings the gravest."""
        counts = Counter(each.finding.severity for each in self.judged)
        return {
            "findings": [_shown(each) for each in self.judged[:MOST_SHOWN]],
            "counts": {severity.value: counts[severity] for severity in Severity},
            "stopping": sum(each.stops for each in self.judged),
            "components": len(self.report.components),
            "files": self.report.files,
            "notes": list(self.told),
        }


def both(source: Mapping[str, Any] | None, built: Looked) -> str:
    """One sentence of both steps, when nothing stops: `source` is what was kept of the first (`as_json()`)."""
    total = sum(source["counts"].values()) if source else 0
    excepted = sum(each["exception"] is not None for each in source["findings"]) if source else 0
    return f"the source has {passed_summary(total, excepted)}; what was built has {built.sentence()}"


def listed(details: Mapping[str, Any]) -> Iterator[str]:
    """The findings that a stage's details keep, a line each, for people."""
    for part, name in (("source", "the source"), ("built", "what was built")):
        looked = details.get(part)
        if not isinstance(looked, Mapping) or not looked.get("findings"):
            continue
        total = sum(looked["counts"].values())
        yield f"{name}: {count_of(total)}"
        for found in looked["findings"]:
            finding = Finding(
                Severity(found["severity"]), found["rule"], found["text"], found.get("file"), found.get("line")
            )
            effect = "stops it" if found["stops"] else f"exception {found['exception']}" if found["exception"] else ""
            lapsed = f"the exception {found['lapsedException']} has lapsed" if found["lapsedException"] else ""
            more = ", ".join(word for word in (effect, lapsed) if word)
            named = f"{finding.severity.value} {finding.rule} in {finding.where()}: {finding.text}"
            yield f"  {named}{f' ({more})' if more else ''}"
        if total > len(looked["findings"]):
            yield f"  and {total - len(looked['findings'])} more"


def look(
    orchestrator: Orchestrator,
    claimed: ClaimedStage,
    tenant_id: UUID,
    digest: str,
    policy: ScanPolicy,
    today: date,
    end: Event,
) -> Looked:
    """Look through the artifact, unless that was done before, and judge.

    Once `end` is set it ends early, and what it returns is worth nothing. Raises OSError, Unavailable, and
    LookupCancelled after `end`.
    """
    report = _stored(orchestrator, tenant_id, digest) or _made(orchestrator, claimed, tenant_id, digest, end)
    settings = orchestrator.settings
    known, told = _vulnerabilities(report, settings.osv_data, settings.workspaces, policy, end)
    findings = (*report.findings, *licence_findings(report.components, policy.licences), *known)
    return Looked(report, judge(findings, policy, today), told)


def _stored(orchestrator: Orchestrator, tenant_id: UUID, digest: str) -> Report | None:
    values = {"tenant_id": tenant_id, "digest": digest, "scanner": SCANNER_VERSION}
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_STORED, values).fetchone()
    try:
        return read_report(row[0]) if row else None
    except ReportInvalid:
        # Of an older form than its version says: made anew.
        return None


def _made(
    orchestrator: Orchestrator, claimed: ClaimedStage, tenant_id: UUID, digest: str, end: Event
) -> Report:
    settings = orchestrator.settings
    with workspace(settings.workspaces, claimed.stage_id, claimed.attempt) as place:
        with ArtifactStore(settings.artifacts_dir).open(digest) as archive:
            unpack(archive, place.tree, archive_limits(settings), Digest.parse(digest))
        report = look_through(place.tree, place.folder, cancelled=end)
    if report.failure is None:
        values = {"tenant_id": tenant_id, "digest": digest, "scanner": SCANNER_VERSION}
        with orchestrator.database.raw() as connection:
            connection.execute(_KEEP, {**values, "report": json.dumps(as_json(report))})
    return report


def _vulnerabilities(
    report: Report, folder: Path | None, work_dir: Path, policy: ScanPolicy, end: Event
) -> tuple[Sequence[Finding], tuple[str, ...]]:
    """What is known of the components today, and a word on the data. Without data the policy says what that means."""
    if not report.components:
        return (), ()
    try:
        if folder is None:
            raise OsvUnavailable("no vulnerability data is configured (HOTSWAP_OSV_DATA)")
        work_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        result = known_vulnerabilities(report.components, folder, end, index=work_dir / _INDEX)
    except OsvUnavailable as missing:
        if policy.osv_data is OsvData.REQUIRED:
            return (Finding(Severity.CRITICAL, "osv.missing", f"{missing}, which the policy requires"),), ()
        return (), (str(missing),)
    return result.findings, (result.sentence(),)


def _shown(judged: Judged) -> dict[str, Any]:
    return {
        **finding_json(judged.finding),
        "stops": judged.stops,
        "exception": judged.exception,
        "lapsedException": judged.lapsed,
    }
