"""What is known of the nodes of a lane at this moment: the facts that `decide()` plans with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.manifest.versions import VersionInvalid, VersionRange
from app.domain.deployment import Deployment, DeploymentKind, Version
from app.domain.events import NodeFact
from app.domain.policy import Policy
from app.infrastructure.db.deployment_store import SQL
from app.infrastructure.db.engine import Raw


@dataclass(frozen=True, slots=True)
class Scope:
    """Which nodes, and what is wanted there: the release, or what `targets` says by node id (None: no release)."""

    module_id: UUID
    module_name: str
    environment_id: UUID
    release: Version
    kind: DeploymentKind
    policy: Policy
    targets: Mapping[str, Version | None] | None = None

    @classmethod
    def of(cls, state: Deployment, module_id: UUID, module_name: str, environment_id: UUID, targets: Any) -> Scope:
        wanted = read_targets(targets)
        return cls(module_id, module_name, environment_id, state.release, state.kind, state.policy, wanted)


def manifest_and_facts(connection: Raw, scope: Scope) -> tuple[dict[str, Any] | None, tuple[NodeFact, ...]]:
    """The release's manifest, and every node that the deployment concerns: those the manifest's placement matches, or
    those that `targets` names. One round trip."""
    release = scope.release
    with connection.pipeline():
        known = connection.execute(
            SQL["release_manifest"],
            {"module_id": scope.module_id, "version": release.version, "digest": release.digest},
        )
        nodes = connection.execute(
            SQL["nodes_of_environment"],
            {"environment_id": scope.environment_id, "module_id": scope.module_id, "module_name": scope.module_name},
        )
        row: Any = known.fetchone()
        manifest: dict[str, Any] | None = row[0] if row else None
        return manifest, _facts(scope, (manifest or {}).get("placement") or {}, nodes.fetchall())


def _facts(scope: Scope, placement: Mapping[str, str], rows: list[Any]) -> tuple[NodeFact, ...]:
    facts = []
    for row in rows:
        node_id, name, labels, drained, silent, digest, version, wanted_digest, wanted_version, decided = row
        if scope.targets is not None:
            if str(node_id) not in scope.targets:
                continue
        elif not all(labels.get(key) == value for key, value in placement.items()):
            continue
        available = silent <= scope.policy.unavailable_after.total_seconds()
        facts.append(
            NodeFact(
                node_id=node_id,
                name=name,
                available=available,
                active=Version(digest, version or "") if digest else None,
                desired=Version(wanted_digest, wanted_version or "") if wanted_digest else None,
                wanted=_wanted(scope, node_id),
                drained=drained,
                decided=decided,
                why=None if available else f"not heard from for {round(silent)} s",
            )
        )
    return tuple(facts)


def _wanted(scope: Scope, node_id: UUID) -> Version | None:
    if scope.targets is None:
        return scope.release
    return scope.targets[str(node_id)]


def read_targets(stored: Mapping[str, Any] | None) -> dict[str, Version | None] | None:
    """The column `deployments.targets` as values."""
    if stored is None:
        return None
    return {
        node_id: Version(target["digest"], target["version"]) if target else None for node_id, target in stored.items()
    }


def unmet_requirement(connection: Raw, environment_id: UUID, manifest: dict[str, Any] | None) -> str | None:
    """The sentence that names the first module which `requires` asks for and the environment does not run, or None."""
    requires: dict[str, str] = (manifest or {}).get("requires") or {}
    if not requires:
        return None
    rows: list[Any] = connection.execute(
        SQL["versions_of_environment"], {"environment_id": environment_id, "names": list(requires)}
    ).fetchall()
    for name, text in requires.items():
        running = [version for module, version, _count in rows if module == name]
        if not running:
            return f"requires {name} {text}, which does not run in this environment"
        try:
            wrong = [version for version in running if not VersionRange.parse(text).allows(version)]
        except VersionInvalid as error:
            return f"requires {name}: {error}"
        if wrong:
            return f"requires {name} {text}, but {', '.join(sorted(wrong))} runs in this environment"
    return None
