"""What is known of a release beyond its archive: what was built of it and where, our attestation, tests, its SBOM."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.domain.errors import NotFound
from app.infrastructure.scanners.report import read_report
from app.infrastructure.scanners.sbom import cyclonedx
from app.orchestrator.context import Orchestrator
from app.orchestrator.releases import Published

_EVIDENCE = """
select b.digest, b.size_bytes, b.attestation, b.isolation, b.deployment_id, b.built_at,
       p.deployment_id, p.passed_at, p.details
  from releases r left join built_artifacts b on b.release_id = r.id left join passed_tests p on p.release_id = r.id
 where r.id = %(release_id)s
"""
_REPORT = """
select s.report from releases r
  left join built_artifacts b on b.release_id = r.id
  join scan_reports s on s.tenant_id = r.tenant_id and s.digest = coalesce(b.digest, r.digest)
 where r.id = %(release_id)s order by s.scanned_at desc limit 1
"""


@dataclass(frozen=True, slots=True)
class BuiltView:
    """`attestation` is a DSSE envelope, `deployment_id` the run that made it."""

    digest: str
    size_bytes: int
    attestation: dict[str, Any]
    isolation: dict[str, Any]
    deployment_id: UUID
    built_at: datetime


@dataclass(frozen=True, slots=True)
class TestedView:
    """`tests` are counts and names, where the module writes a report."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    deployment_id: UUID
    passed_at: datetime
    tests: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """None for what has not happened (yet, or because the manifest does not ask for it)."""

    built: BuiltView | None
    tested: TestedView | None


def evidence(orchestrator: Orchestrator, release: Published) -> Evidence:
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_EVIDENCE, {"release_id": release.id}).fetchone()
    digest, size, attestation, isolation, built_in, built_at, tested_in, passed_at, details = row
    return Evidence(
        BuiltView(digest, size, json.loads(attestation), isolation, built_in, built_at) if digest else None,
        TestedView(tested_in, passed_at, details.get("tests")) if tested_in else None,
    )


def built(orchestrator: Orchestrator, release: Published) -> BuiltView:
    """Raises NotFound for a release that was not built (yet)."""
    found = evidence(orchestrator, release).built
    if found is None:
        raise NotFound(f"Nothing was built of {release.module_name} {release.version}.")
    return found


def bill_of_materials(orchestrator: Orchestrator, release: Published) -> dict[str, Any]:
    """CycloneDX, of what was built, or of the archive where nothing is built. Raises NotFound before its first scan."""
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_REPORT, {"release_id": release.id}).fetchone()
    if row is None:
        raise NotFound(f"{release.module_name} {release.version} was not looked through yet: no deployment scanned it.")
    return cyclonedx(read_report(row[0]).components, release.module_name, release.version)
