"""Build: the release's command runs in the sandbox, once; what it puts into `output` is what nodes will run.

States of a release: not built -> built (a row of `built_artifacts`), and never anything after that. Several attempts,
of several deployments and orchestrators, may build at once: the first whose outcome is committed makes the row, and the
others take that one's digest and throw their own bytes away. The row, the attestation in it and the stage's outcome are
one transaction; the bytes are on disk before it. Bytes that no row names are garbage (`collecting.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agent import attestations
from agent.manifest import MANIFEST_NAME
from agent.signatures import Digest, PrivateKey, key_id
from app.domain import stages
from app.domain.events import Event
from app.domain.policy import parse_policy
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.db.engine import Raw
from app.infrastructure.sandbox.spec import SandboxOutcome
from app.infrastructure.signing import BuilderKeyUnusable, builder_key
from app.infrastructure.workspaces import Workspace, workspace
from app.orchestrator import outcomes
from app.orchestrator.build_output import keep_output, keep_tree, unpack_source
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.stage_commands import CommandFailed, StageCommand, run_command, tail_of
from app.orchestrator.stage_watch import StageWatch, TookTooLong
from app.orchestrator.verdict import Verdict, report, reported

_SUBJECT = """
select r.id, r.tenant_id, r.module_name, r.version, r.digest, r.signature, r.key_id, r.manifest, d.policy,
       b.digest, b.deployment_id, hotswap_now()
  from deployments d join releases r on r.id = d.release_id
  left join built_artifacts b on b.release_id = r.id
 where d.id = %(deployment_id)s
"""
_INSERT = """
with ours as (
    insert into built_artifacts
           (release_id, tenant_id, digest, size_bytes, tree_digest, attestation, isolation, deployment_id)
    values (%(release_id)s, %(tenant_id)s, %(digest)s, %(size_bytes)s, %(tree_digest)s, %(attestation)s, %(isolation)s,
            %(deployment_id)s)
        on conflict (release_id) do nothing
 returning digest
)
select digest from ours
"""
_WINNER = "select digest, deployment_id from built_artifacts where release_id = %(release_id)s"


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be built. `network` and the other rules are those of the deployment's policy."""

    release_id: UUID
    tenant_id: UUID
    module: str
    version: str
    digest: str
    signature: str
    key_id: str
    manifest: dict[str, Any]
    policy: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Built:
    """What one attempt made; both artifacts are in the store. Times are RFC 3339."""

    digest: Digest
    size_bytes: int
    tree_digest: Digest | None
    outcome: SandboxOutcome
    started: str
    finished: str


def build(orchestrator: Orchestrator, claimed: ClaimedStage) -> str:
    """Build the release, unless it is built already, and report. Returns the message. Raises Abandoned."""
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_SUBJECT, {"deployment_id": claimed.deployment_id}).fetchone()
    *fields, built_digest, built_by, began = row
    source = Source(*fields)
    if built_digest is not None:
        verdict = Verdict(True, f"built before, in deployment {built_by}", details={"reusedFrom": str(built_by)})
        return report(orchestrator, claimed, verdict, built=built_digest)
    try:
        key = builder_key(orchestrator.settings)
        with workspace(orchestrator.settings.workspaces, claimed.stage_id, claimed.attempt) as place:
            made = _make(orchestrator, claimed, source, place, began)
            if isinstance(made, Verdict):
                return report(orchestrator, claimed, made)
    except (BuilderKeyUnusable, CommandFailed, TookTooLong) as failure:
        return report(orchestrator, claimed, Verdict(False, str(failure)))
    return _report_built(orchestrator, claimed, source, made, key)


# --- the work -----------------------------------------------------------------------------------------------------


def _make(
    orchestrator: Orchestrator, claimed: ClaimedStage, source: Source, place: Workspace, began: datetime
) -> Built | Verdict:
    settings = orchestrator.settings
    watch = StageWatch(orchestrator, claimed)
    unpack_source(settings, source.digest, place.tree, watch)
    manifest = (place.tree / MANIFEST_NAME).read_bytes()
    asked = source.manifest["build"]
    outcome = run_command(
        orchestrator,
        claimed,
        place,
        StageCommand(
            tuple(asked["command"]),
            float(asked["timeout"]),
            parse_policy(source.policy).build_network,
            {"HOTSWAP_MODULE": source.module, "HOTSWAP_VERSION": source.version},
        ),
    )
    details = {"isolation": outcome.isolation.as_json()}
    if not outcome.succeeded:
        return Verdict(False, f"the build {outcome.sentence()}", tail_of(place.log), details)
    try:
        digest, size = keep_output(settings, place.tree, asked["output"], manifest, watch)
        tree = keep_tree(settings, place.tree, watch) if source.manifest.get("test") else None
    except (CommandFailed, TookTooLong) as failure:
        return Verdict(False, str(failure), tail_of(place.log), details)
    with orchestrator.database.raw() as connection:
        ended: Any = connection.execute("select hotswap_now()").fetchone()
    return Built(digest, size, tree, outcome, _rfc3339(began), _rfc3339(ended[0]))


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


# --- the outcome --------------------------------------------------------------------------------------------------


def _report_built(
    orchestrator: Orchestrator, claimed: ClaimedStage, source: Source, made: Built, key: PrivateKey
) -> str:
    """One transaction: the row of the first outcome, and this stage's own."""
    isolation = made.outcome.isolation.as_json()
    values = {
        "release_id": source.release_id,
        "tenant_id": source.tenant_id,
        "digest": str(made.digest),
        "size_bytes": made.size_bytes,
        "tree_digest": str(made.tree_digest) if made.tree_digest else None,
        "attestation": attestations.seal(_statement(claimed, source, made, key), key),
        "isolation": json.dumps(isolation),
        "deployment_id": claimed.deployment_id,
    }
    message = f"built {made.digest}, {made.size_bytes} bytes, in {made.outcome.seconds:.1f} s"

    def outcome(connection: Raw, loaded: Loaded) -> Event:
        built, told = str(made.digest), message
        # By the same rule that refuses the report of an attempt which lost its claim: its bytes change nothing either.
        if stages.stale(loaded.state, claimed.stage_id, claimed.attempt) is None:
            ours: Any = connection.execute(_INSERT, values).fetchone()
            if ours is None:
                built, winner = connection.execute(_WINNER, values).fetchone()  # type: ignore[misc,assignment]
                told = f"built at the same time in deployment {winner}, whose outcome came first: {built}"
        return reported(claimed, Verdict(True, told, details={"isolation": isolation, "digest": built}), built)

    outcomes.apply(orchestrator, claimed.deployment_id, outcome)
    return message


def _statement(claimed: ClaimedStage, source: Source, made: Built, key: PrivateKey) -> attestations.Build:
    isolation = {name: _words(value) for name, value in made.outcome.isolation.as_json().items()}
    return attestations.Build(
        module=source.module,
        version=source.version,
        source=Digest.parse(source.digest),
        built=made.digest,
        command=tuple(source.manifest["build"]["command"]),
        output=source.manifest["build"]["output"],
        publisher_signature=source.signature,
        publisher_key=source.key_id,
        builder=f"urn:hotswap:builder:{key_id(key.public_key())}",
        invocation=f"{claimed.deployment_id}/{claimed.stage_id}/{claimed.attempt}",
        started=made.started,
        finished=made.finished,
        isolation=isolation,
    )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value)
