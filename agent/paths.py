"""Where things are on a node: the layout that docs/agent.md shows."""

from __future__ import annotations

from pathlib import Path

from agent.protocol import ModuleKey


class ModuleFolder:
    """One module's folder on the node."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases = root / "releases"
        self.current = root / "current"
        self.shared = root / "shared"
        self.data = root / "data"
        self.log = root / "log"

    def make(self) -> None:
        """Create what is missing of it."""
        for folder in (self.releases, self.shared, self.data, self.log):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)

    def release(self, version: str, digest: str) -> Path:
        """The folder of one release; it exists only when it is complete."""
        return self.releases / f"{version}-{digest.removeprefix('sha256:')}"


class NodeFolders:
    """The node's data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.staging = data_dir / "staging"
        self.modules = data_dir / "modules"
        self.mapped_root = data_dir / "root"

    def module(self, key: ModuleKey) -> ModuleFolder:
        """The folder of one module."""
        return ModuleFolder(self.modules / key.tenant / key.module)
