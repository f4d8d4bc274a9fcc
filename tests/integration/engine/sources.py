"""Releases with a build, published for real: packed, signed, in the store, with a key that the environment trusts."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from uuid6 import uuid7

from agent.archive import inspect
from agent.archive.packing import pack_bytes
from agent.manifest import to_json
from agent.signatures import PrivateKey, generate, key_id, private_pem, public_pem, sign
from app.domain.deployment import StageKind
from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.db.models import DEFAULT_TENANT
from app.orchestrator import claims, stages
from app.orchestrator.claims import ClaimedStage
from tests.integration.engine.conftest import Lab

BUILD, SCAN, TEST, DEPLOY = StageKind.BUILD, StageKind.SCAN, StageKind.TEST, StageKind.DEPLOY
RUN = {"command": ["python3", "server.py"]}
COPY = 'mkdir dist && cp server.py dist/ && echo "built $HOTSWAP_MODULE $HOTSWAP_VERSION" | tee dist/about'


@dataclass
class Works:
    """A lab whose orchestrator can build: it has a builder's key, and trusts a publisher's."""

    lab: Lab
    folder: Path
    publisher: PrivateKey = field(default_factory=generate)
    builder: PrivateKey = field(default_factory=generate)

    def __post_init__(self) -> None:
        settings = self.lab.orchestrator.settings
        assert settings.attestation_key is not None
        settings.attestation_key.write_bytes(private_pem(self.builder))
        ArtifactStore(settings.artifacts_dir).prepare()
        public = self.publisher.public_key()
        self.lab.sql(
            "insert into publisher_keys (id, tenant_id, key_id, name, public_key, created_by)"
            " values (%s, %s, %s, 'publisher', %s, 'test')",
            uuid7(), DEFAULT_TENANT, key_id(public), public_pem(public).decode(),
        )  # fmt: skip

    def publish(
        self,
        version: str = "1.0.0",
        build: str | None = COPY,
        test: str | None = None,
        files: Mapping[str, str] | None = None,
        *,
        output: str = "dist",
        timeout: float = 60,
        **tests: Any,
    ) -> str:
        """Returns the source's digest. `build` and `test` are lines for a shell."""
        source = self.folder / f"source-{version}"
        source.mkdir()
        manifest: dict[str, Any] = {"name": "greeter", "version": version, "kind": "process", "run": RUN}
        if build is not None:
            manifest["build"] = {"command": ["sh", "-c", build], "output": output, "timeout": timeout}
        if test is not None:
            manifest["test"] = {"command": ["sh", "-c", test], "timeout": timeout, **tests}
        for name, text in {"hotswap.yaml": yaml.safe_dump(manifest), "server.py": "serve()\n", **(files or {})}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        archive = pack_bytes(source)
        inspection = inspect(io.BytesIO(archive))
        store = ArtifactStore(self.lab.orchestrator.settings.artifacts_dir)
        with store.incoming() as file:
            file.write(archive)
            store.keep(file, str(inspection.digest))
        self.lab.sql(
            "insert into modules (id, tenant_id, name) values (%s, %s, 'greeter') on conflict do nothing",
            uuid7(), DEFAULT_TENANT,
        )  # fmt: skip
        self.lab.sql(
            "insert into releases (id, tenant_id, module_id, module_name, version, digest, size_bytes, manifest,"
            " key_id, signature, created_by)"
            " select %s, tenant_id, id, name, %s, %s, %s, %s::jsonb, %s, %s, 'test' from modules",
            uuid7(), version, str(inspection.digest), len(archive), json.dumps(to_json(inspection.manifest)),
            key_id(self.publisher.public_key()), sign(self.publisher, inspection.digest),
        )  # fmt: skip
        return str(inspection.digest)

    def claim(self, deployment: Any, kind: StageKind) -> ClaimedStage:
        claimed = claims.claim_stage(
            self.lab.orchestrator, self.lab.executor, deployment, self.lab.stage(deployment, kind)
        )
        assert claimed is not None, f"{kind} is not claimable"
        return claimed

    def execute(self, deployment: Any, kind: StageKind) -> str | None:
        """As a worker does: claim, work, report. No stage before Deploy talks to nodes."""
        nodes: Any = None
        return stages.execute(
            self.lab.orchestrator, nodes, self.lab.executor, deployment, self.lab.stage(deployment, kind)
        )

    def stage(self, deployment: Any, kind: StageKind) -> dict[str, Any]:
        names = ("status", "message", "output_tail", "details", "attempt", "claimable", "losses")
        rows = self.lab.sql(
            f"select {', '.join(names)} from stages where deployment_id = %s and kind = %s", deployment, kind.value
        )
        return dict(zip(names, rows[0], strict=True))

    def digest(self, deployment: Any) -> str:
        return str(self.lab.sql("select digest from deployments where id = %s", deployment)[0][0])

    def left_behind(self) -> list[str]:
        folder = self.lab.orchestrator.settings.workspaces
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
