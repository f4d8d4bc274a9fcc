"""Security Scan: the publisher's signature against the keys that the target environment trusts now, the digest of the
stored bytes, and the rules for archives. (Findings in the content are part of a later stage of the product.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.archive import ArchiveInvalid, Limits, inspect
from agent.manifest import ManifestInvalid
from agent.signatures import Digest, KeyInvalid, SignatureInvalid, load_public, verify
from app.domain.errors import NotFound
from app.infrastructure.artifacts import ArtifactStore
from app.orchestrator.context import Orchestrator

_SUBJECT = """
select r.digest, r.signature, r.key_id, r.size_bytes, r.version, r.module_name, d.environment_name,
       array(select k.public_key from publisher_keys k
              where k.tenant_id = r.tenant_id and k.key_id = r.key_id
                and (k.environment_id is null or k.environment_id = d.environment_id))
  from deployments d join releases r on r.id = d.release_id
 where d.id = %(deployment_id)s
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a stage's work ended, for its report."""

    succeeded: bool
    message: str
    output_tail: str | None = None


def archive_limits(orchestrator: Orchestrator) -> Limits:
    settings = orchestrator.settings
    return Limits(
        archive_bytes=settings.archive_bytes,
        unpacked_bytes=settings.archive_unpacked_bytes,
        entries=settings.archive_entries,
        ratio=settings.archive_ratio,
    )


def scan(orchestrator: Orchestrator, deployment_id: UUID) -> Verdict:
    """Look through the deployment's release as it lies in the store."""
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_SUBJECT, {"deployment_id": deployment_id}).fetchone()
    if row is None:
        return Verdict(False, "the release is not known any more")
    digest, signature, key_id, size, version, name, environment, keys = row
    if not keys:
        return Verdict(False, f"{environment} does not trust the publisher's key {key_id}")
    try:
        with ArtifactStore(orchestrator.settings.artifacts_dir).open(digest) as archive:
            actual = Digest.of_file(archive)
            if str(actual) != digest:
                return Verdict(False, f"the stored archive is not what was published: {actual} instead of {digest}")
            for pem in keys:
                verify(load_public(pem.encode()), actual, signature)
            archive.seek(0)
            inspection = inspect(archive, archive_limits(orchestrator))
    except (SignatureInvalid, KeyInvalid) as error:
        return Verdict(False, f"the publisher's signature does not hold: {error}")
    except (ArchiveInvalid, ManifestInvalid) as error:
        return Verdict(False, f"the archive breaks the rules: {error}")
    except NotFound:
        return Verdict(False, f"the archive {digest} is not in the store any more")
    if (inspection.manifest.name, inspection.manifest.version) != (name, version):
        return Verdict(False, "the archive's manifest names another module or version")
    entries = len(inspection.entries)
    return Verdict(True, f"signed by {key_id}, {entries} entries, {size} bytes, digest verified")
