"""The environment of modules and hooks: what they are told, and nothing of the agent's own."""

from __future__ import annotations

from agent.config import AgentConfig
from agent.manifest import HookEvent, Manifest
from agent.paths import ModuleFolder
from agent.records import ReleaseRecord


def module_environment(
    config: AgentConfig,
    manifest: Manifest,
    release: ReleaseRecord,
    folder: ModuleFolder,
    event: HookEvent | None = None,
) -> dict[str, str]:
    """PATH, what the manifest and the settings of this environment say, and the HOTSWAP_ variables (API.md).

    The latter win, so that a module cannot be told something else than what is true.
    """
    said = {"PATH": config.path}
    if manifest.run is not None:
        said.update(manifest.run.environment)
    said.update(release.settings)
    said.update(
        HOTSWAP_MODULE=manifest.name,
        HOTSWAP_VERSION=release.version,
        HOTSWAP_PREVIOUS_VERSION=release.previous_version or "",
        HOTSWAP_ENVIRONMENT=release.environment or config.environment,
        HOTSWAP_NODE=config.node_id,
        HOTSWAP_DEPLOYMENT_ID=release.deployment_id or "",
        HOTSWAP_DATA_DIR=str(folder.data),
    )
    if event is not None:
        said["HOTSWAP_EVENT"] = event.value
    return said
