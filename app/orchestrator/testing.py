"""Test: the release's own tests, in the sandbox, on the tree that Build left behind (or the source, where nothing is
built). They pass once: later deployments of the release skip them. JUnit XML becomes counts and failing names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.domain import stages
from app.domain.events import Event
from app.domain.policy import parse_policy
from app.domain.tested import TestCounts
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.db.engine import Raw
from app.infrastructure.junit.reading import Reports
from app.infrastructure.sandbox.spec import SandboxOutcome
from app.infrastructure.workspaces import Workspace, workspace
from app.orchestrator import outcomes
from app.orchestrator.build_output import unpack_built, unpack_source
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.stage_commands import CommandFailed, StageCommand, run_command, tail_of
from app.orchestrator.stage_watch import StageWatch, TookTooLong, watched
from app.orchestrator.verdict import Verdict, report, reported
from config.settings import Settings

_SUBJECT = """
select r.id, r.tenant_id, r.module_name, r.version, r.digest, r.manifest, d.policy, b.tree_digest, p.deployment_id
  from deployments d join releases r on r.id = d.release_id
  left join built_artifacts b on b.release_id = r.id
  left join passed_tests p on p.release_id = r.id
 where d.id = %(deployment_id)s
"""
# The first outcome wins; the tree has served its purpose then.
_PASSED = """
with passed as (
    insert into passed_tests (release_id, tenant_id, deployment_id, details)
    values (%(release_id)s, %(tenant_id)s, %(deployment_id)s, %(details)s) on conflict do nothing
)
update built_artifacts set tree_digest = null where release_id = %(release_id)s
"""


@dataclass(frozen=True, slots=True)
class Subject:
    release_id: UUID
    tenant_id: UUID
    module: str
    version: str
    digest: str
    manifest: dict[str, Any]
    policy: dict[str, Any]
    tree_digest: str | None


def run_tests(orchestrator: Orchestrator, claimed: ClaimedStage) -> str:
    """Run the tests, unless they passed before, and report. Returns the message. Raises Abandoned."""
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_SUBJECT, {"deployment_id": claimed.deployment_id}).fetchone()
    *fields, passed_in = row
    subject = Subject(*fields)
    if passed_in is not None:
        return report(
            orchestrator,
            claimed,
            Verdict(True, f"passed before, in deployment {passed_in}", details={"reusedFrom": str(passed_in)}),
        )
    try:
        with workspace(orchestrator.settings.workspaces, claimed.stage_id, claimed.attempt) as place:
            verdict = _test(orchestrator, claimed, subject, place)
    except (CommandFailed, TookTooLong) as failure:
        verdict = Verdict(False, str(failure))
    if not verdict.succeeded:
        return report(orchestrator, claimed, verdict)
    return _report_passed(orchestrator, claimed, subject, verdict)


def _test(orchestrator: Orchestrator, claimed: ClaimedStage, subject: Subject, place: Workspace) -> Verdict:
    watch = StageWatch(orchestrator, claimed)
    _unpack(orchestrator.settings, subject, place.tree, watch)
    asked = subject.manifest["test"]
    reports = Reports(place.tree, asked.get("report"), place.folder / "reports")
    watched(watch, reports.clear)
    outcome = run_command(
        orchestrator,
        claimed,
        place,
        StageCommand(
            tuple(asked["command"]),
            float(asked["timeout"]),
            parse_policy(subject.policy).build_network,
            {"HOTSWAP_MODULE": subject.module, "HOTSWAP_VERSION": subject.version},
        ),
    )
    answer = watched(watch, reports.read)
    return _verdict(outcome, answer.counts, list(answer.complaints), tail_of(place.log))


def _unpack(settings: Settings, subject: Subject, tree: Path, watch: StageWatch) -> None:
    if subject.tree_digest is None:
        unpack_source(settings, subject.digest, tree, watch)
    else:
        unpack_built(settings, subject.tree_digest, tree, watch)


def _verdict(outcome: SandboxOutcome, counts: TestCounts | None, complaints: list[str], tail: str) -> Verdict:
    details = {
        "isolation": outcome.isolation.as_json(),
        "tests": counts.as_json() if counts else None,
        "unreadableReports": complaints,
    }
    told = (f"; {counts.sentence()}" if counts else "") + _unreadable(complaints)
    if not outcome.succeeded:
        return Verdict(False, f"the tests {outcome.sentence()}{told}", tail, details)
    if counts and counts.failed:
        return Verdict(False, f"the command ended with 0, but its report has failures{told}", tail, details)
    return Verdict(True, f"passed in {outcome.seconds:.1f} s{told}", None, details)


def _unreadable(complaints: list[str]) -> str:
    if not complaints:
        return ""
    more = f", and {len(complaints) - 1} more" if len(complaints) > 1 else ""
    return f"; not counted: {complaints[0]}{more}"


def _report_passed(orchestrator: Orchestrator, claimed: ClaimedStage, subject: Subject, verdict: Verdict) -> str:
    """One transaction: that they passed, and this stage's outcome."""
    values = {
        "release_id": subject.release_id,
        "tenant_id": subject.tenant_id,
        "deployment_id": claimed.deployment_id,
        "details": json.dumps(dict(verdict.details or {})),
    }

    def outcome(connection: Raw, loaded: Loaded) -> Event:
        # By the same rule that refuses the report of an attempt which lost its claim.
        if stages.stale(loaded.state, claimed.stage_id, claimed.attempt) is None:
            connection.execute(_PASSED, values)
        return reported(claimed, verdict)

    outcomes.apply(orchestrator, claimed.deployment_id, outcome)
    return verdict.message
