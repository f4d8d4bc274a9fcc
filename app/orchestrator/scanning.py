"""Security Scan, in two steps. The source, beside Build: the publisher's signature against the keys that the target
environment trusts now, the digest of the stored bytes, the rules for archives. What was built, after it: our
attestation, which ties it to that source, digest and rules again. Both are then looked through (`scan_findings.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from threading import Event
from typing import Any
from uuid import UUID

from agent import attestations
from agent.archive import ArchiveInvalid, Inspection, inspect
from agent.attestations import AttestationInvalid, BuilderUnknown
from agent.manifest import ManifestInvalid
from agent.signatures import KeyInvalid, SignatureInvalid, load_public, verify
from app.domain.errors import NotFound
from app.domain.policy import parse_policy
from app.infrastructure.artifacts import ArtifactStore, archive_limits
from app.infrastructure.signing import BuilderKeyUnusable, trusted_builders
from app.orchestrator import scan_findings
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.stage_watch import StageWatch, TookTooLong, watched
from app.orchestrator.verdict import Verdict, report

LONGEST = 900.0
"""Seconds for one step, in which the program in the sandbox has 300 s; the rest is for reading and comparing."""

_SUBJECT = """
select r.digest, r.signature, r.key_id, r.version, r.module_name, d.environment_name,
       array(select k.public_key from publisher_keys k
              where k.tenant_id = r.tenant_id and k.key_id = r.key_id
                and (k.environment_id is null or k.environment_id = d.environment_id)),
       b.digest, b.attestation, r.tenant_id, d.policy, (hotswap_now() at time zone 'utc')::date,
       (select s.details -> 'source' from stages s where s.deployment_id = d.id and s.kind = 'Security Scan')
  from deployments d join releases r on r.id = d.release_id
  left join built_artifacts b on b.release_id = r.id
 where d.id = %(deployment_id)s
"""


class ScanFailed(Exception):
    """What stops a release; one sentence."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scanned; `keys` are the publisher's, as the target environment trusts them, in PEM. `source_found` is
    what step 1 kept of its findings (`Looked.as_json()`)."""

    digest: str
    signature: str
    key_id: str
    version: str
    module: str
    environment: str
    keys: list[str]
    built: str | None
    attestation: str | None
    tenant_id: UUID
    policy: dict[str, Any]
    today: date
    source_found: dict[str, Any] | None


def scan(orchestrator: Orchestrator, claimed: ClaimedStage) -> str:
    """Look through the release as it lies in the store, its source (step 1) or what was built of it (step 2), and
    report. Returns the message. Raises Abandoned, Stopped, OSError, Unavailable."""
    try:
        watch = StageWatch(orchestrator, claimed, LONGEST)
        verdict = watched(watch, lambda end: _scanned(orchestrator, claimed, end))
    except TookTooLong as late:
        verdict = Verdict(False, f"the scan was broken off: {late}")
    return report(orchestrator, claimed, verdict)


def _scanned(orchestrator: Orchestrator, claimed: ClaimedStage, end: Event) -> Verdict:
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_SUBJECT, {"deployment_id": claimed.deployment_id}).fetchone()
    if row is None:
        return Verdict(False, "the release is not known any more")
    subject = Subject(*row)
    source = claimed.step == 1
    try:
        message = _source(orchestrator, subject) if source else _built(orchestrator, subject)
    except ScanFailed as failure:
        return Verdict(False, str(failure))
    digest = subject.digest if source else str(subject.built)
    policy = parse_policy(subject.policy).scan
    looked = scan_findings.look(orchestrator, claimed, subject.tenant_id, digest, policy, subject.today, end)
    details = {"source" if source else "built": looked.as_json()}
    if looked.stops:
        return Verdict(False, looked.sentence(), details=details)
    found = looked.sentence() if source else scan_findings.both(subject.source_found, looked)
    return Verdict(True, f"{message}; {found}", details=details)


def _source(orchestrator: Orchestrator, subject: Subject) -> str:
    if not subject.keys:
        raise ScanFailed(f"{subject.environment} does not trust the publisher's key {subject.key_id}")
    inspection = _inspected(orchestrator, subject, subject.digest)
    try:
        for pem in subject.keys:
            verify(load_public(pem.encode()), inspection.digest, subject.signature)
    except (SignatureInvalid, KeyInvalid) as error:
        raise ScanFailed(f"the publisher's signature does not hold: {error}") from error
    return f"signed by {subject.key_id}, {_measures(inspection)}, digest verified"


def _built(orchestrator: Orchestrator, subject: Subject) -> str:
    if subject.built is None or subject.attestation is None:
        raise ScanFailed("what was built is not known any more")
    inspection = _inspected(orchestrator, subject, subject.built)
    try:
        build = attestations.opened(subject.attestation, trusted_builders(orchestrator.settings))
        attestations.check(
            build, module=subject.module, version=subject.version, source=subject.digest, built=subject.built
        )
    except BuilderKeyUnusable as error:
        raise ScanFailed(str(error)) from error
    except BuilderUnknown as error:
        raise ScanFailed(
            f"what was built is attested by {error.signers}, which this orchestrator does not trust: "
            "put that builder's public key into the folder of HOTSWAP_TRUSTED_BUILDERS_DIR"
        ) from error
    except AttestationInvalid as error:
        raise ScanFailed(f"the attestation of what was built does not hold: {error}") from error
    return f"attested by {build.builder}, {_measures(inspection)}, digest verified"


def _inspected(orchestrator: Orchestrator, subject: Subject, digest: str) -> Inspection:
    """The artifact, read whole: its digest, and the rules."""
    settings = orchestrator.settings
    try:
        with ArtifactStore(settings.artifacts_dir).open(digest) as archive:
            inspection = inspect(archive, archive_limits(settings))
    except (ArchiveInvalid, ManifestInvalid) as error:
        raise ScanFailed(f"the archive breaks the rules: {error}") from error
    except NotFound:
        raise ScanFailed(f"the archive {digest} is not in the store any more") from None
    if str(inspection.digest) != digest:
        raise ScanFailed(f"the stored archive is not what it was: {inspection.digest} instead of {digest}")
    if (inspection.manifest.name, inspection.manifest.version) != (subject.module, subject.version):
        raise ScanFailed("the archive's manifest names another module or version")
    return inspection


def _measures(inspection: Inspection) -> str:
    return f"{len(inspection.entries)} entries, {inspection.archive_bytes} bytes"
