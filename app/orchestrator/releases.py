"""Releases: publishing an archive, and finding what was published.

What an archive says is believed in this order: its size, the signature over its bytes by a key that some environment
trusts, and only then its content. The archive is durable under its digest before its row exists.

Publishing a retired release again brings it back: its archive is stored anew, and what was built of it counts where its
bytes are still there; where they are gone it is built and tested anew, as nobody runs what was built before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from agent.archive import ArchiveInvalid, Inspection, inspect
from agent.manifest import ManifestInvalid, to_json
from agent.signatures import Digest, SignatureInvalid, load_public, verify
from app.domain.errors import Conflict, NotFound, Refused, TooLarge
from app.infrastructure.artifacts import ArtifactStore, archive_limits
from app.infrastructure.db.models import BuiltArtifact, Module, PassedTests, PublisherKey, Release
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, begins_with, page_of


@dataclass(frozen=True, slots=True)
class Upload:
    """What a publisher sent. `archive` is a seekable temporary file of the artifact store."""

    archive: IO[bytes]
    signature: str
    key_id: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A release, for people. `created` is False where the same bytes were published before; `retired_at` is None for
    one that can be deployed."""

    id: UUID
    module_name: str
    version: str
    digest: str
    size_bytes: int
    signed_by: str
    created_by: str
    created_at: datetime
    manifest: Mapping[str, Any]
    metadata: Mapping[str, Any]
    provenance: Mapping[str, Any] | None
    retired_at: datetime | None
    created: bool = False


@dataclass(frozen=True, slots=True)
class ModuleSummary:
    """`latest_version` is the one published last; None where nothing was published yet."""

    name: str
    latest_version: str | None
    created_at: datetime


def publish(orchestrator: Orchestrator, requester: Requester, module_name: str, upload: Upload) -> Published:
    """Publish a release: durable when this returns. One that was retired is back then.

    Raises TooLarge, Refused (signature, key, archive, manifest, another name), Conflict (known version, other bytes).
    """
    digest = _digest(orchestrator, upload)
    _verify(orchestrator, requester, upload, digest)
    inspection = _inspect(orchestrator, upload)
    manifest = inspection.manifest
    if manifest.name != module_name:
        raise Refused(f"The manifest's name is {manifest.name!r}, the URL's is {module_name!r}.")
    with orchestrator.database.session() as session:
        _refuse_other_bytes(_find(session, requester, module_name, manifest.version), digest)
    store = ArtifactStore(orchestrator.settings.artifacts_dir)
    store.keep(upload.archive, str(digest))
    with orchestrator.database.session() as session:
        created = _insert(orchestrator, session, requester, upload, inspection)
        row = _find(session, requester, module_name, manifest.version)
        assert row is not None, "it was inserted, or was there"
        _refuse_other_bytes(row, digest)
        if row.retired_at is not None:
            _bring_back(session, store, row)
        return _shown(row, created=created)


def _digest(orchestrator: Orchestrator, upload: Upload) -> Digest:
    upload.archive.seek(0, 2)
    most = orchestrator.settings.archive_bytes
    if upload.archive.tell() > most:
        raise TooLarge(f"The archive is larger than {most} bytes.")
    upload.archive.seek(0)
    return Digest.of_file(upload.archive)  # type: ignore[arg-type]


def _verify(orchestrator: Orchestrator, requester: Requester, upload: Upload, digest: Digest) -> None:
    with orchestrator.database.session() as session:
        pem = session.scalar(
            select(PublisherKey.public_key)
            .where(PublisherKey.tenant_id == requester.tenant_id, PublisherKey.key_id == upload.key_id.lower())
            .limit(1)
        )
    if pem is None:
        raise Refused(f"No environment trusts the key {upload.key_id}: an administrator can, with POST /api/v1/keys.")
    try:
        verify(load_public(pem.encode("ascii")), digest, upload.signature)
    except SignatureInvalid as error:
        raise Refused(f"The signature does not hold: {error}.") from None


def _inspect(orchestrator: Orchestrator, upload: Upload) -> Inspection:
    upload.archive.seek(0)
    try:
        return inspect(upload.archive, archive_limits(orchestrator.settings))  # type: ignore[arg-type]
    except ArchiveInvalid as error:
        raise Refused(f"The archive is refused: {error}") from None
    except ManifestInvalid as error:
        raise Refused(str(error)) from None


def _find(session: Session, requester: Requester, module_name: str, version: str) -> Release | None:
    return session.scalar(
        select(Release)
        .join(Module, Module.id == Release.module_id)
        .where(Module.tenant_id == requester.tenant_id, Module.name == module_name, Release.version == version)
    )


def _refuse_other_bytes(row: Release | None, digest: Digest) -> None:
    if row is not None and row.digest != str(digest):
        raise Conflict(
            f"{row.module_name} {row.version} was published before with other bytes ({row.digest}): a version never"
            " changes, publish a new one."
        )


def _insert(
    orchestrator: Orchestrator, session: Session, requester: Requester, upload: Upload, inspection: Inspection
) -> bool:
    """Insert module and release where they are missing. Whether the release was new."""
    manifest = inspection.manifest
    session.execute(
        insert(Module)
        .values(id=orchestrator.new_id(), tenant_id=requester.tenant_id, name=manifest.name)
        .on_conflict_do_nothing()
    )
    module_id = session.execute(
        select(Module.id).where(Module.tenant_id == requester.tenant_id, Module.name == manifest.name)
    ).scalar_one()
    inserted = session.scalar(
        insert(Release)
        .values(
            id=orchestrator.new_id(),
            tenant_id=requester.tenant_id,
            module_id=module_id,
            module_name=manifest.name,
            version=manifest.version,
            digest=str(inspection.digest),
            size_bytes=inspection.archive_bytes,
            manifest=to_json(manifest),
            key_id=upload.key_id.lower(),
            signature=upload.signature.strip(),
            details=dict(upload.metadata),
            provenance=upload.provenance,
            created_by=requester.username,
        )
        .on_conflict_do_nothing()
        .returning(Release.id)
    )
    return inserted is not None


def _bring_back(session: Session, store: ArtifactStore, row: Release) -> None:
    """Take the mark away, under the lock with which it was made, from a release whose archive is in the store."""
    session.refresh(row, with_for_update=True)
    if row.retired_at is None:
        return
    row.retired_at = None
    row.renewed_at = session.execute(select(func.hotswap_now())).scalar_one()
    built = session.get(BuiltArtifact, row.id)
    if built is not None and not _still_there(store, built):
        session.execute(delete(PassedTests).where(PassedTests.release_id == row.id))
        session.delete(built)
    session.flush()


def _still_there(store: ArtifactStore, built: BuiltArtifact) -> bool:
    """Made young as well: what clears the store at this moment leaves them, or they count as gone."""
    needed = [built.digest] if built.tree_digest is None else [built.digest, built.tree_digest]
    return all(store.renew(digest) for digest in needed)


def modules(
    orchestrator: Orchestrator, requester: Requester, beginning: str | None, page: PageRequest
) -> Page[ModuleSummary]:
    """Those whose name has this beginning, in any case; names have small letters only."""
    statement = select(Module.name, _latest_version(), Module.created_at).where(Module.tenant_id == requester.tenant_id)
    if beginning is not None:
        statement = statement.where(begins_with(Module.name, beginning.lower()))
    with orchestrator.database.session() as session:
        found = page_of(session, statement, Module.id, page)
    return Page([ModuleSummary(*row) for row in found.items], found.next_cursor)


def module(orchestrator: Orchestrator, requester: Requester, name: str) -> ModuleSummary:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        row = session.execute(
            select(Module.name, _latest_version(), Module.created_at).where(
                Module.tenant_id == requester.tenant_id, Module.name == name
            )
        ).one_or_none()
    if row is None:
        raise NotFound(f"There is no module {name}.")
    return ModuleSummary(row[0], row[1], row[2])


def _latest_version() -> Any:
    newest = select(Release.version).where(Release.module_id == Module.id).order_by(Release.id.desc()).limit(1)
    return newest.correlate(Module).scalar_subquery()


@dataclass(frozen=True, slots=True)
class ReleaseFilters:
    """None is no filter. `version` and `commit` are beginnings; `branch` is the whole of it."""

    version: str | None = None
    branch: str | None = None
    commit: str | None = None


# As the indexes have them: written out, because a parameter in their place would not match.
_BRANCH: ColumnElement[str] = literal_column("releases.details ->> 'branch'", Text)
_COMMIT: ColumnElement[str] = literal_column("(releases.details ->> 'commit')", Text)


def releases(
    orchestrator: Orchestrator, requester: Requester, name: str, filters: ReleaseFilters, page: PageRequest
) -> Page[Published]:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        module_id = session.scalar(
            select(Module.id).where(Module.tenant_id == requester.tenant_id, Module.name == name)
        )
        if module_id is None:
            raise NotFound(f"There is no module {name}.")
        statement = select(Release).where(Release.module_id == module_id)
        if filters.version is not None:
            statement = statement.where(begins_with(Release.version, filters.version))
        if filters.branch is not None:
            statement = statement.where(_BRANCH.in_([filters.branch]))
        if filters.commit is not None:
            statement = statement.where(begins_with(_COMMIT, filters.commit))
        found = page_of(session, statement, Release.id, page)
    return Page([_shown(row) for row in found.items], found.next_cursor)


def release(orchestrator: Orchestrator, requester: Requester, name: str, version: str) -> Published:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        row = _find(session, requester, name, version)
    if row is None:
        raise NotFound(f"There is no release {version} of {name}.")
    return _shown(row)


def _shown(row: Release, *, created: bool = False) -> Published:
    return Published(
        id=row.id,
        module_name=row.module_name,
        version=row.version,
        digest=row.digest,
        size_bytes=row.size_bytes,
        signed_by=row.key_id,
        created_by=row.created_by,
        created_at=row.created_at,
        manifest=row.manifest,
        metadata=row.details,
        provenance=row.provenance,
        retired_at=row.retired_at,
        created=created,
    )
